"""The fuzz: what nobody should write is refused, and faults in the runner would be found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
FUZZ = ROOT / "scripts/fuzz"
BROKEN = """
import runpy, sys
sys.path[:0] = [{root!r}, {scripts!r}]
{fault}
sys.argv = ["fuzz", *{words!r}]
runpy.run_path({fuzz!r}, run_name="__main__")
"""
# What is broken, what is tried, what must be found.
FAULTS = [
    (
        "from runner.compose import composer\n"
        "read = composer.words.once_each\n"
        "def hasty(parsed, problems):\n"
        "    assert not any('=-' in each.input_line for each in parsed)\n"
        "    read(parsed, problems)\n"
        "composer.words.once_each = hasty",
        ["overrides", "--count", "300"],
        ["exit 1, AssertionError at runner/compose/composer.py:", "  runner show "],
    ),
    (
        "from runner.compose import composer\n"
        "read = composer.words.once_each\n"
        "composer.words.once_each = lambda *each: [open('left', 'w').close(), read(*each)]",
        ["overrides", "--count", "20"],
        ["did more than read: open 'left' for writing"],
    ),
    (
        "from runner.training import checkpoints\n"
        "checkpoints._hash = lambda data: 'f' * 16",
        ["checkpoints", "--count", "80"],
        ["another result than that of the whole run", "  runner resume "],
    ),
    (
        "from runner.components.dataset import images\n"
        "read = images.read_idx\n"
        "images.read_idx = lambda path: read(path).flip(0)",
        ["data", "--count", "40"],
        ["the data is not what the idx files say"],
    ),
]  # fmt: skip


def started(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "count"), [("overrides", 300), ("checkpoints", 50), ("data", 50)]
)
def test_nothing_brings_the_runner_out_of_its_way(target: str, count: int) -> None:
    """B01, F04, F05, F06, F31, F41, F42: whatever is given is refused in words, or is right."""
    done = started(str(FUZZ), target, "--count", str(count))
    assert done.returncode == 0, done.stdout + done.stderr
    *_, summary, last = done.stdout.splitlines()
    assert last == "no fault"
    assert f" {count} tried: " in summary


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "words", "found"), FAULTS, ids=["code", "files", "hashes", "data"]
)
def test_a_fault_is_found_and_can_be_repeated(
    tmp_path: Path, fault: str, words: list[str], found: list[str]
) -> None:
    script = tmp_path / "broken.py"
    script.write_text(
        BROKEN.format(root=str(ROOT), scripts=str(FUZZ.parent), fault=fault, fuzz=str(FUZZ),
                      words=words)
    )  # fmt: skip
    done = started(str(script))
    assert done.returncode == 1, done.stdout + done.stderr
    for text in found:
        assert text in done.stdout


@pytest.mark.parametrize("words", ["", "nothing", "data --count 0"])
def test_a_mistake_is_refused_in_a_line(words: str) -> None:
    done = started(str(FUZZ), *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("fuzz: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def fuzzing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Return a module of the fuzz by its name."""
    import importlib

    monkeypatch.syspath_prepend(ROOT / "scripts")
    return lambda name: importlib.import_module(f"fuzzing.{name}")


@pytest.mark.parametrize(
    ("edit", "left"),
    [
        (("flip", 1, 0), b"acc"),
        (("flip", 9, 1), b"aba"),
        (("cut", 2), b"ab"),
        (("drop", 0, 2), b"c"),
        (("double", 1, 1), b"abbc"),
        (("insert", 1, 0, b"x"), b"axbc"),
        (("overwrite", 1, 0, b"x"), b"axc"),
        (("splice", 1, 64), b"aEF"),
        (("instead", 0, 0, b"PK"), b"PK"),
    ],
)
def test_what_happens_to_bytes(fuzzing, edit: tuple[Any, ...], left: bytes) -> None:
    damage = fuzzing("damage")
    assert damage.edited(b"abc", b"DEF", [damage.Edit(*edit)]) == left


@pytest.mark.skipif(shutil.which("bash") is None, reason="the command line is bash's")
def test_a_command_can_be_pasted_whatever_it_holds(fuzzing) -> None:
    words = ["a b", "'", '"', "$x", "\\", "\n", "\x1b[0m", "é", "\u202e", "\udc80", "*", ""]
    line = fuzzing("campaign").command(*words)
    script = f"runner() {{ printf '%s\\0' \"$@\"; }}; {line}"
    out = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    assert out.decode("utf-8", "surrogateescape").split("\0")[:-1] == words
