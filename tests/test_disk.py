"""Full, read-only and vanished disks, two processes at one run, and outputs that nobody reads."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
from resuming import differences, record

from runner import cli
from runner.execution.saving import Saving
from runner.foundation.files import held
from runner.recording import directory
from runner.recording.logs import Log
from runner.recording.recorder import Recorder
from runner.training import checkpoints

# 1079 training rows: 8 steps in an epoch, 32 in the run; rows at 7, 8, 14, 16, 21, 24, 28, 32.
WORDS = ("architecture.hidden=[16]", "trainer.batch_size=128", "trainer.epochs=4",
         "trainer.log_every=7steps", "trainer.save_every=5steps", "threads=1",
         "device=cpu")  # fmt: skip
TOTAL = 32
# 67 steps in an epoch, 134 in the run, with a row each: logs of more than a block of a disk.
ROWS = ("architecture.hidden=[16]", "trainer.batch_size=16", "trainer.epochs=2", "threads=1",
        "trainer.log_every=1steps", "trainer.save_every=20steps", "device=cpu")  # fmt: skip
Act = Callable[[], Any]


def trained(words: tuple[str, ...], root: Path) -> dict[str, Any]:
    assert cli.run([*words, f"output_root={root}"]) == 0
    return record(the_run(root))


@pytest.fixture(scope="module")
def uncut(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the record of the run that met nothing."""
    return trained(WORDS, tmp_path_factory.mktemp("uncut"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the record of the run of many rows that met nothing."""
    return trained(ROWS, tmp_path_factory.mktemp("rows"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of one megabyte."""
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "none") as folder:
        yield folder


@contextlib.contextmanager
def mounted(folder: Path, *words: str) -> Iterator[Path]:
    """Mount something; only root may, and not in every container."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", *words, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}; the tests by RLIMIT_FSIZE stand in")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, room: int = 0) -> None:
    """Leave so much room on a disk."""
    with (disk / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(disk / "filler", (disk / "filler").stat().st_size - room)


def empty(disk: Path) -> None:
    (disk / "filler").unlink()


@contextlib.contextmanager
def limited(size: int) -> Iterator[None]:
    """Let no file be larger: a full disk for who may not mount one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Act], None]:
    """Let something happen after a step, once what that step says is recorded.

    Every save before it has come to its end, and one after it has not begun.
    """
    save = Saving.save

    def saved(self: Saving, *given: Any) -> None:
        save(self, *given)
        futures.wait([self._pending])

    monkeypatch.setattr(Saving, "save", saved)
    before = Recorder.record
    acts: dict[int, Act] = {}

    def recorded(self: Recorder, state: Any, row: dict[str, Any]) -> None:
        before(self, state, row)
        if state.step in acts:
            acts.pop(state.step)()

    monkeypatch.setattr(Recorder, "record", recorded)
    return acts.__setitem__


def the_run(root: Path) -> Path:
    (folder,) = (path.parent for path in root.glob("*/*/checkpoints"))
    return folder


def steps(folder: Path) -> list[int]:
    found = checkpoints.listed(folder / directory.CHECKPOINTS)
    return [int(path.name.split("-")[1]) for path in found]


def temporary(folder: Path) -> list[Path]:
    return list(folder.rglob("*.tmp"))


def warnings(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("warning: ")]


# ---- full -------------------------------------------------------------------------------------


def test_a_disk_that_is_full_for_a_while_costs_nothing(disk, at, runner, rows):
    """F07: training goes on, the next save tries again, and the record is the uncut one."""
    seen = []

    def full() -> None:
        fill(disk)
        seen.append(steps(the_run(disk)))

    def look() -> None:
        seen.extend([steps(the_run(disk)), temporary(disk)])
        checkpoints.load(the_run(disk) / directory.CHECKPOINTS, pytest.fail)

    at(50, full)
    at(90, look)
    at(110, lambda: empty(disk))
    done = runner(*ROWS, f"output_root={disk}")
    assert (done.code, done.err) == (0, "")
    assert seen == [[40, 20], [40, 20], []]
    said = warnings(done.out)
    saves = [line for line in said if "checkpoints/step-" in line]
    pattern = r"warning: disk full writing (\S+) \(need \d+ kB, free 0\); training goes on, and .*"
    assert [re.search(r"step-(\d+)-", re.fullmatch(pattern, each)[1])[1] for each in saves] == [
        "60",
        "80",
        "100",
    ]
    late = [line for line in said if "it waits in memory" in line]
    logs = ("metrics.jsonl", "timing.jsonl", "tfevents", "run.log")
    assert sorted(sum(name in line for line in late) for name in logs) == [1, 1, 1, 1]
    assert [each for each in said if each not in saves + late] == []
    assert differences(the_run(disk), rows) == []
    assert "test" in (the_run(disk) / directory.LOG).read_text()


def test_a_disk_that_stays_full_leaves_the_last_checkpoint(disk, at, runner, rows):
    """F07: results are printed, what is missing is named, exit 8; room, and it goes on."""
    at(50, lambda: fill(disk))
    done = runner(*ROWS, f"output_root={disk}")
    folder = the_run(disk)
    assert done.code == 8
    assert "Traceback" not in done.out + done.err
    assert re.search(r"^test +\d", done.out, re.MULTILINE)
    title, *reasons = done.err.splitlines()
    assert title.startswith("runner: the run came to its end, but not all of its record could be")
    assert all(each.startswith(f"  disk full writing {folder}/") for each in reasons)
    for name in ("metrics.jsonl", "timing.jsonl", "tfevents", "step-134-", "summary.json"):
        assert any(name in each for each in reasons), name
    assert steps(folder) == [40, 20]
    assert temporary(disk) == []
    empty(disk)
    assert runner("resume", str(folder)).code == 0
    assert differences(folder, rows) == []


def test_a_limit_on_files_that_stays_is_in_the_status(at, runner, tmp_path, uncut):
    """F07: without a disk of one's own; small files can be written, and say so."""
    with contextlib.ExitStack() as limit:
        at(12, lambda: limit.enter_context(limited(6_000)))
        done = runner(*WORDS, f"output_root={tmp_path}")
    folder = the_run(tmp_path)
    assert done.code == 8
    assert re.search(r"^test +\d", done.out, re.MULTILINE)
    pattern = r"file size limit reached writing \S+/step-32-\S+ \(need \d+ kB, limit 6\.0 kB\)"
    assert re.search(pattern, done.err)
    status = directory.status(folder)
    assert [status["state"], status["exit_code"]] == ["failed", 8]
    assert "file size limit reached" in status["message"]
    assert steps(folder) == [10, 5]
    assert temporary(folder) == []
    assert runner("resume", str(folder)).code == 0
    assert differences(folder, uncut) == []


@pytest.mark.parametrize("room", [0, 4096, 12_288, 20_480, 32_768])
def test_a_disk_that_is_full_at_the_first_save_is_told_before_training(disk, at, runner, room):
    """F08: whatever the first thing is that does not fit."""
    at(1, lambda: pytest.fail("it trains"))
    fill(disk, room)
    done = runner(*WORDS, f"output_root={disk}", "tensorboard=false")
    assert done.code == 8
    assert "Traceback" not in done.out + done.err
    assert re.fullmatch(rf"runner: disk full writing {disk}/\S+( \(.*free .*\))?\n", done.err)
    assert temporary(disk) == []
    assert not list(disk.glob("*/*/checkpoints/*"))
    metrics = list(disk.glob("*/*/metrics.jsonl"))
    assert [path.read_bytes() for path in metrics] in ([], [b""])
    told = [directory.status(path.parent)["state"] for path in disk.glob("*/*/status.json")]
    assert told in ([], ["failed"]) or not os.statvfs(disk).f_bavail


def test_a_limit_at_the_first_save_is_told_before_training(at, runner, tmp_path):
    """F08: without a disk of one's own."""
    at(1, lambda: pytest.fail("it trains"))
    with limited(6_000):
        done = runner(*WORDS, f"output_root={tmp_path}")
    assert done.code == 8
    assert re.match(r"runner: file size limit reached writing \S+/step-0-\S+ \(need", done.err)
    assert directory.status(the_run(tmp_path))["exit_code"] == 8
    assert temporary(tmp_path) == []


def test_a_disk_that_is_full_for_tensorboard_alone(at, runner, tmp_path, uncut, monkeypatch):
    """F09: one warning, training completes, exit 8, the last checkpoint is there."""
    opened: list[Recorder] = []
    begin = Recorder.start
    monkeypatch.setattr(
        Recorder, "start", lambda self, *given: (opened.append(self), begin(self, *given))
    )

    def full() -> None:
        opened[0].events.log.close()
        opened[0].events.log = Log(Path("/dev/full"))

    at(9, full)
    done = runner(*WORDS, f"output_root={tmp_path}")
    opened[0].events.log.close()
    assert done.code == 8
    assert "disk full writing /dev/full" in done.err
    (warning,) = warnings(done.out)
    assert "disk full writing /dev/full" in warning
    assert steps(the_run(tmp_path))[0] == TOTAL
    assert set(differences(the_run(tmp_path), uncut)) == {"points", "status"}


def test_a_signal_on_a_full_disk_says_what_was_not_saved(disk, at, runner, uncut):
    """F07, F11: exit 143 all the same, and the run goes on from the checkpoint before."""

    def ended() -> None:
        fill(disk)
        os.kill(os.getpid(), signal.SIGTERM)

    at(12, ended)
    done = runner(*WORDS, f"output_root={disk}")
    folder = the_run(disk)
    assert done.code == 143
    unsaved = r"runner: step 12 could not be saved: disk full writing \S+step-12-\S+ \(.*\)"
    pattern = rf"{unsaved}; step 10 is kept; continue with: runner resume {folder}"
    assert re.fullmatch(pattern, done.err.strip())
    empty(disk)
    assert runner("resume", str(folder)).code == 0
    assert differences(folder, uncut) == []


# ---- gone or read-only ------------------------------------------------------------------------


@pytest.mark.parametrize("step", [3, 12, 31, 32])
def test_a_run_directory_that_vanishes_is_named(at, runner, tmp_path, step):
    """F10: exit 8 and the path, whenever it happens."""
    at(step, lambda: shutil.rmtree(the_run(tmp_path)))
    done = runner(*WORDS, f"output_root={tmp_path}")
    assert done.code == 8
    assert "Traceback" not in done.out + done.err
    assert f"{tmp_path}/default/" in done.err
    assert ": cannot write: No such file or directory" in done.err
    assert not list(tmp_path.glob("default/*"))


def test_a_run_directory_that_becomes_read_only_is_named(at, runner, tmp_path, uncut):
    """F10: results are printed, what could not be written is named; afterwards it goes on."""
    with contextlib.ExitStack() as stack:

        def lock() -> None:
            folder = the_run(tmp_path)
            stack.enter_context(mounted(folder, "--bind", str(folder)))
            remount = ["mount", "-o", "remount,ro,bind", str(folder)]
            subprocess.run(remount, check=True)

        at(12, lock)
        done = runner(*WORDS, f"output_root={tmp_path}")
        folder = the_run(tmp_path)
        assert done.code == 8
        assert "Traceback" not in done.out + done.err
        assert re.search(r"^test +\d", done.out, re.MULTILINE)
        assert re.search(rf"{folder}/\S+step-32-\S+: cannot write: Read-only file system", done.err)
        again = runner("resume", str(folder))
        assert again.code == 8
        assert again.err == f"runner: {folder}/.lock: cannot write: Read-only file system\n"
    assert runner("resume", str(folder)).code == 0
    assert differences(folder, uncut) == []


def test_a_root_that_is_read_only_is_named(disk, runner):
    """F10: before anything is trained."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    done = runner(*WORDS, f"output_root={disk}")
    assert done.code == 8
    assert done.err.startswith(f"runner: {disk}/default")
    assert done.err.endswith(": cannot write: Read-only file system\n")


# ---- signals and what they leave --------------------------------------------------------------


def test_a_signal_while_a_checkpoint_is_written_completes_it(runner, tmp_path, uncut, monkeypatch):
    """F13: its file is whole under its name, or not there."""
    original = os.fsync
    met: list[list[Path]] = []

    def fsync(descriptor: int) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if "/.step-15-" in name and not met:
            met.append(temporary(tmp_path))
            os.kill(os.getpid(), signal.SIGTERM)
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    done = runner(*WORDS, f"output_root={tmp_path}")
    folder = the_run(tmp_path)
    assert done.code == 143
    assert len(met[0]) == 1
    assert temporary(folder) == []
    assert steps(folder)[0] >= 15
    for path in checkpoints.listed(folder / directory.CHECKPOINTS):
        checkpoints.read(path)
    assert runner("resume", str(folder)).code == 0
    assert differences(folder, uncut) == []


def test_what_a_killed_process_left_is_cleaned_by_who_goes_on(at, runner, tmp_path, uncut):
    """F40: our own temporary files go and are named, foreign files stay."""
    at(12, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert runner(*WORDS, f"output_root={tmp_path}").code == 143
    folder = the_run(tmp_path)
    own = [".status.json.7.tmp", ".summary.json.7.tmp", "checkpoints/.step-9-00aa.pt.7.tmp"]
    foreign = [".mine.tmp", "notes.txt", "checkpoints/best.pt", "checkpoints/.mine.tmp"]
    for name in (*own, *foreign):
        (folder / name).write_bytes(b"half")
    done = runner("resume", str(folder))
    assert (done.code, done.err) == (0, "")
    assert warnings(done.out) == [
        f"warning: {Path(name).name}: left by a save that was cut; removed" for name in sorted(own)
    ]
    assert [(folder / name).exists() for name in own] == [False] * 3
    assert [(folder / name).read_bytes() for name in foreign] == [b"half"] * 4
    assert differences(folder, uncut) == []


# ---- two processes ----------------------------------------------------------------------------

ENDLESS = tuple(word.replace("epochs=4", "epochs=100000") for word in WORDS)


@contextlib.contextmanager
def runs(*words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command in a process that does not outlive the test."""
    command = [sys.executable, "-m", "runner", *words]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(condition: Act) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("waited a minute for nothing")


@pytest.mark.slow
def test_a_second_process_leaves_the_first_alone(tmp_path, runner):
    """F14, F46: it says who is at work; of two that resume at once, one goes on."""
    with runs(*ENDLESS, f"output_root={tmp_path}") as first:
        wait_for(lambda: list(tmp_path.glob("*/*/checkpoints/step-?0-*")) or first.poll())
        folder = the_run(tmp_path)
        done = runner("resume", str(folder))
        pattern = (
            rf"runner: {folder}: in use by pid {first.pid} on host \S+, started [-\d]+ [:\d]+\n"
        )
        assert done.code == 7
        assert re.fullmatch(pattern, done.err)
        now = steps(folder)[0]
        wait_for(lambda: steps(folder)[0] > now or first.poll())
        first.send_signal(signal.SIGTERM)
        assert first.wait(30) == 143
    before = directory.status(folder)["step"]
    with runs("resume", str(folder)) as one, runs("resume", str(folder)) as other:
        wait_for(lambda: one.poll() is not None or other.poll() is not None)
        loser, winner = (one, other) if one.poll() is not None else (other, one)
        assert loser.returncode == 7
        assert f"in use by pid {winner.pid} on host" in loser.stderr.read()
        wait_for(lambda: steps(folder)[0] > before or winner.poll())
        winner.send_signal(signal.SIGTERM)
        assert winner.wait(30) == 143
    assert not held(folder)
    rows = [row["step"] for row in directory.read_rows(folder / directory.METRICS)]
    assert rows == sorted(set(rows))
    checkpoints.load(folder / directory.CHECKPOINTS, pytest.fail)


# ---- outputs ----------------------------------------------------------------------------------


@contextlib.contextmanager
def output(monkeypatch: pytest.MonkeyPatch, descriptor: int, encoding: str) -> Iterator[None]:
    """Let this be the standard output."""
    with open(descriptor, "w", encoding=encoding) as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        yield


def test_a_run_goes_on_when_nobody_reads(tmp_path, monkeypatch, uncut):
    """F45: `runner | head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    with output(monkeypatch, writing, "utf-8"):
        assert cli.run([*WORDS, f"output_root={tmp_path}"]) == 0
    assert differences(the_run(tmp_path), uncut) == []
    assert "test" in (the_run(tmp_path) / directory.LOG).read_text()


def test_a_run_whose_output_is_full_is_whole_and_says_so(tmp_path, monkeypatch, capsys, uncut):
    """F45, F07: `runner > FILE` on a full disk."""
    with output(monkeypatch, os.open("/dev/full", os.O_WRONLY), "utf-8"):
        assert cli.run([*WORDS, f"output_root={tmp_path}"]) == 8
    text = "runner: standard output: cannot write: No space left on device\n"
    assert capsys.readouterr().err == text
    assert differences(the_run(tmp_path), uncut) == []


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_terminal_of_twenty_columns(tmp_path, monkeypatch, uncut, encoding):
    """F45: and of few letters; the bar, the tables and the lines."""
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("TERM", "xterm")
    master, slave = pty.openpty()
    read: list[bytes] = []

    def drain() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(master, 4096):
                read.append(data)

    reader = threading.Thread(target=drain)
    reader.start()
    with output(monkeypatch, slave, encoding):
        code = cli.run([*WORDS, "summary=true", f"output_root={tmp_path}"])
    reader.join(10)
    os.close(master)
    assert code == 0
    assert b"".join(read).decode(encoding)
    assert differences(the_run(tmp_path), uncut) == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["[/red]=1"], 2),
        (["optimizer=[/red]é✓"], 2),
        (["name='[/red]'"], 2),
        (["resume", "[/red]é✓"], 2),
        (["list", "[/red]é"], 2),
        (["runs", "[/red]é"], 0),
        (["show", f"dataset.root=[/red]{os.fsdecode(bytes([233]))}"], 2),
    ],
)
def test_names_are_printed_as_they_are_as_far_as_letters_go(monkeypatch, words, code):
    """F45: a name with brackets, with letters the output lacks, with bytes that are no text."""
    said = io.BytesIO()
    with io.TextIOWrapper(said, encoding="ascii") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        assert cli.run(words) == code
        text = said.getvalue().decode("ascii")
    assert "Traceback" not in text
    assert code == 0 or "[/red]" in text


@pytest.mark.parametrize("verb", ["list", "show", "--help"])
def test_a_list_that_nobody_reads_ends_quietly(verb):
    """F45: exit 0 and no complaint, however much had been printed."""
    command = f"{sys.executable} -m runner {verb} | true; echo ${{PIPESTATUS[0]}}"
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60,
                          check=False, env={**os.environ, "PYTHONPATH": str(root)})  # fmt: skip
    assert (done.stdout, done.stderr) == ("0\n", "")
