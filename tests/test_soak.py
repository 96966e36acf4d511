"""The soak: killed again and again, a run and a sweep come to what they come to anyway."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOAK = ROOT / "scripts/soak"
# Breaks the runner, then soaks: the command that follows is killed and gone on with all the same.
BROKEN = """
import runpy, sys
sys.path[:0] = [{root!r}, {scripts!r}]
{fault}
sys.argv = ["soak", *{words!r}]
runpy.run_path({soak!r}, run_name="__main__")
"""
FAULTS = {
    "from runner.training.state import State\n"
    "unpack = State.unpack\n"
    "def forgetful(self, packed):\n"
    "    averages = [each.clone() for part in self.averages.values() for each in part]\n"
    "    unpack(self, packed)\n"
    "    for mine, old in zip([e for p in self.averages.values() for e in p], averages):\n"
    "        mine.copy_(old)\n"
    "State.unpack = forgetful": "other lines than those of the uncut run",
    "from runner.recording import logs\n"
    "logs.os.truncate = lambda path, length: None": "other lines than those of the uncut run",
    "from runner.training.state import State\n"
    "pack = State.pack\n"
    "State.pack = lambda self: pack(self) | {'seen': pack(self)['seen'] + RESUMED}\n"
    "from runner.cli import resume\n"
    "run, RESUMED = resume.run, 0\n"
    "def late(options):\n"
    "    global RESUMED\n"
    "    RESUMED = 1\n"
    "    return run(options)\n"
    "resume.run = late": "checkpoint differs in 1 of",
    "from runner.training import checkpoints\n"
    "checkpoints.write_atomic = lambda path, data: path.write_bytes(data)\n"
    "import time\n"
    "checkpoints.Path.write_bytes = lambda path, data: [path.open('wb').close(), time.sleep(0.05),"
    " open(path, 'wb').write(data)]": "/checkpoints: step-",
}


def soak(*words: str) -> subprocess.CompletedProcess[str]:
    return started(str(SOAK), *words)


def started(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--kills", "5"), ("--kills", "2", "--fresh")], ids=" ".join)
def test_a_run_that_is_killed_loses_nothing(words: tuple[str, ...]) -> None:
    """F02: SIGKILL at random moments, a chain of resumes, then everything is compared."""
    done = soak(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(rf"\b{words[1]} SIGKILL\n", done.stdout)
    assert re.search(r"zero lost; equal to the uncut one, \d+ times\n$", done.stdout)


@pytest.mark.slow
def test_a_sweep_that_is_killed_loses_nothing() -> None:
    """F35: jobs as lanes, the coordinator killed with its workers and without, the same again."""
    done = soak("--kills", "3", "--sweep")
    assert done.returncode == 0, done.stdout + done.stderr
    kills = re.findall(r"(\d+) SIGKILL(?:, workers spared)?\n", done.stdout)
    assert sum(map(int, kills)) == 3
    assert "zero lost" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "words"), FAULTS.items(), ids=["averages", "logs", "counter", "half a file"]
)
def test_what_is_lost_is_told(tmp_path: Path, fault: str, words: str) -> None:
    script = tmp_path / "broken.py"
    script.write_text(
        BROKEN.format(root=str(ROOT), scripts=str(SOAK.parent), fault=fault, soak=str(SOAK),
                      words=["--kills", "10"])
    )  # fmt: skip
    done = started(str(script))
    assert done.returncode == 1, done.stdout + done.stderr
    assert words in done.stdout
    assert "it printed last:" in done.stdout


@pytest.mark.parametrize("words", ["--kills 0", "--kills", "--nope"])
def test_a_mistake_is_refused_in_a_line(words: str) -> None:
    done = soak(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"soak: .*\n", done.stderr)
