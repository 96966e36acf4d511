"""Processes that die at any moment of a run, and others that go on from what they left."""

from __future__ import annotations

import functools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import crashing
import pytest
from nursery import Child, nursery
from resuming import (
    begin,
    composed,
    differences,
    launching,
    quickened,
    record,
    started,
    terminal,
)

from runner.recording import directory
from runner.training import checkpoints

pytestmark = pytest.mark.slow
Birth = Callable[..., Child]

# 1079 training rows: 8 steps in an epoch; saves after 0, 5, 10 ... steps.
RICH = ("architecture.hidden=[8]", "trainer.batch_size=128", "trainer.epochs=3", "threads=1",
        "trainer.log_every=3steps", "trainer.save_every=5steps", "device=cpu", "compile=false",
        "normalization=batch", "dropout=inverted", "dropout.keep=0.8", "averaging=ema",
        "augmentation=noise", "optimizer=adam", "stopping=early")  # fmt: skip
TOTAL = 24
LONG = tuple(each.replace("epochs=3", "epochs=600").replace("=5steps", "=25steps") for each in RICH)
LONG = (*LONG, "stopping.patience=10000")


@pytest.fixture(scope="module")
def birth() -> Iterator[Birth]:
    """Return what begins a process; what it is to train is composed already."""
    with nursery(f"import resuming; resuming.composed({RICH!r})") as begin:
        yield begin


@pytest.fixture(scope="module")
def uncut(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """Return the record of the uninterrupted run of a configuration, trained once."""

    @functools.cache
    def run(overrides: tuple[str, ...]) -> dict[str, Any]:
        with quickened():
            return record(begin(overrides, tmp_path_factory.mktemp("uncut")))

    return run


def words(overrides: tuple[str, ...], folder: Path) -> list[str]:
    """Return a command line that goes on where the one before it died."""
    return [*overrides, f"run_dir={folder}", "resume=auto"]


def train(root: Path, *points: Any) -> str:
    """Return code that trains in a new directory, with points at which it notes or dies."""
    return f"""
import pathlib, crashing, resuming
with crashing.pointed(crashing.Points{points!r}):
    resuming.begin({RICH!r}, pathlib.Path({str(root)!r}))
"""


def points_of(birth: Birth, root: Path, save: int) -> list[str]:
    """Return what the n-th save calls, in order."""
    notes = root / "notes"
    child = birth(root / "output", train(root / "noted", 0, 0, str(notes)))
    assert child.wait(60) == 0, child.output.read_text()
    passed = [line.split(" ", 2) for line in notes.read_text().splitlines()]
    return [name for number, _, name in passed if int(number) == save]


@pytest.mark.parametrize("save", [1, 3])
def test_a_death_at_every_point_of_a_save(
    tmp_path: Path, birth: Birth, uncut: Any, save: int
) -> None:
    """F01: of the first save, before which there is nothing, and of one with two before it."""
    names = points_of(birth, tmp_path, save)
    assert {"fsync", "half", "replace", "open"} <= {name.split()[0] for name in names}
    assert any(name.startswith("unlink step-0-") for name in names) == (save == 3)
    for point, name in enumerate(names, 1):
        root = tmp_path / f"run{point}"
        child = birth(tmp_path / "output", train(root, save, point))
        assert child.wait(60) == crashing.EXIT, (name, child.output.read_text())
        folder = started(root)
        kept = [path.name for path in checkpoints.listed(folder / directory.CHECKPOINTS)]
        left = [path.name for path in folder.rglob(".*.tmp")]
        said = resumed(birth, folder, bool(kept))
        assert all(f"{each}: left by" in said for each in left), (name, left, said)
        assert not list(folder.rglob("*.tmp"))
        if kept:
            step = int(kept[0].split("-")[1])
            assert step in ([0] if save == 1 else [5, 10])
            assert f"resuming at step {step} of {TOTAL}\n" in said
        else:
            assert (save, "resuming" in said) == (1, False)
        assert differences(folder, uncut(RICH)) == [], name


def resumed(birth: Birth, folder: Path, kept: bool) -> str:
    """Go on from what is kept, or by the same command from the start; return what is said."""
    if not kept:
        child = birth(folder.parent / "output", words=words(RICH, folder))
        assert child.wait(60) == 0, child.output.read_text()
        return child.output.read_text()
    shown = terminal()
    with quickened():
        launching.resume(composed(RICH)[0], folder, shown)
    return shown.console.file.getvalue()


HOOK = """
import time
from {module} import {owner}
call = {owner}.{name}
def here(*given, **named):
    if {when}:
        print("HERE", flush=True)
        time.sleep(20)
    return call(*given, **named)
{owner}.{name} = here
"""
STEP = HOOK.format(module="runner.recording.recorder", owner="Recorder", name="record",
                   when="given[1].step == 13")  # fmt: skip
SAVE = HOOK.format(module="runner.training", owner="checkpoints", name="write_atomic",
                   when="'step-10-' in given[0].name")  # fmt: skip


@pytest.mark.parametrize(("code", "kept"), [(STEP, 10), (SAVE, 5)], ids=["in a step", "in a save"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_signal_leaves_at_once(
    tmp_path: Path, birth: Birth, uncut: Any, code: str, kept: int, number: int
) -> None:
    """F12: the older checkpoint is valid, and the resumed run is the uncut one."""
    folder = tmp_path / "run"
    child = birth(tmp_path / "output", code, words(RICH, folder))
    child.says("HERE")
    for _ in range(2):
        child.send(number)
        time.sleep(0.2)
    began = time.monotonic()
    assert child.wait(10) == 128 + number
    assert time.monotonic() - began < 5
    assert "Traceback" not in child.output.read_text()
    assert checkpoints.load(folder / directory.CHECKPOINTS, pytest.fail)["step"] == kept
    resumed = birth(tmp_path / "output", words=words(RICH, folder))
    assert resumed.wait(60) == 0, resumed.output.read_text()
    assert differences(folder, uncut(RICH)) == []


def newest_step(folder: Path) -> int:
    steps = [int(path.name.split("-")[1]) for path in folder.glob("checkpoints/step-*.pt")]
    return max(steps, default=-1)


def process(overrides: tuple[str, ...], folder: Path) -> subprocess.Popen[str]:
    """Start a command line as a user does, in a process that shares nothing with this one."""
    command = [sys.executable, "-m", "runner", *words(overrides, folder)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )


@pytest.mark.parametrize(("number", "code", "times"), [(signal.SIGKILL, -9, 10),
                                                       (signal.SIGTERM, 143, 2)])  # fmt: skip
def test_a_chain_of_deaths(tmp_path: Path, uncut: Any, number: int, code: int, times: int) -> None:
    """F02, F11: each process dies at a random step; the last one comes to the uncut end."""
    folder, draw = tmp_path / "run", random.Random(times)
    for _ in range(times):
        after = newest_step(folder) + draw.choice((1, 26, 51))
        with process(LONG, folder) as child:
            until = time.monotonic() + 60
            while newest_step(folder) < after:
                assert child.poll() is None, child.communicate()
                assert time.monotonic() < until, "no new checkpoint in a minute"
                time.sleep(0.001)
            time.sleep(draw.uniform(0, 0.02))
            child.send_signal(number)
            _, complaint = child.communicate(timeout=30)
        assert child.returncode == code
        assert "Traceback" not in complaint
        killed = number == signal.SIGKILL
        assert directory.status(folder)["state"] == ("running" if killed else "interrupted")
    with process(LONG, folder) as child:
        _, complaint = child.communicate(timeout=120)
    assert (child.returncode, complaint) == (0, "")
    assert differences(folder, uncut(LONG)) == []
