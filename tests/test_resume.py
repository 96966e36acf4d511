"""A run that was cut anywhere and resumed is, bit for bit, the run that was never cut."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn import datasets
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from runner import compose, config
from runner.assemble.run import optimizer_of
from runner.assemble.settings import Settings
from runner.components.schedule import Schedule
from runner.execution import execute
from runner.execution import launch as launching
from runner.foundation import options
from runner.foundation.errors import Interrupted, InUse, Unwritable
from runner.foundation.files import locked, read_json
from runner.recording import directory, recorder
from runner.recording.console import Terminal
from runner.recording.recorder import Recorder
from runner.training import checkpoints

# 1079 training rows: 8 steps in an epoch, 32 in the run; rows at 7, 8, 14, 16, 21, 24, 28, 32.
PLAIN = ("architecture.hidden=[16]", "trainer.batch_size=128", "trainer.epochs=4",
         "trainer.log_every=7steps", "threads=1", "device=cpu")  # fmt: skip
RICH = (*PLAIN, "normalization=batch", "dropout=inverted", "dropout.keep=0.8", "stopping=early",
        "schedule=cosine", "schedule.warmup=6steps", "regularizer=l2", "clipping=norm",
        "clipping.norm.limit=0.5", "augmentation=flip_crop", "augmentation.flip_crop.padding=1",
        "hooks=weight_norm", "hooks.weight_norm.every=5steps")  # fmt: skip
STOPS = (*PLAIN, "stopping=early", "stopping.patience=1", "stopping.min_delta=1")  # at step 16
TOTAL, STOPPED = 32, 16
KINDS = {"plain": PLAIN, "rich": RICH}
OPTIMIZERS = list(options.groups([options.own_folder()])["optimizer"])
EVERYWHERE = ("momentum", "adam", "lbfgs")  # fused kernels, slots of ours, an object of torch's
CUTS = ([-1], [3], [7], [8], [9], [11], [14], [31], [32], [5, 7, 18], [-1, -4, 3, 32])
LATER = ([8], [32], [5, 7, 18])  # for the other optimizers, in the slow tier


class Killed(BaseException):
    """Stand for the death of a process: nothing is saved."""


class Cut:
    """Stand for the signals that wait: the loop looks at `number` once after each step."""

    def __init__(self, after: int, kill: bool = False):
        self.after, self.kill, self.looks = after, kill, 0

    @property
    def number(self) -> int:
        """Return 0 until it is time to leave."""
        self.looks += 1
        if self.kill and self.looks == self.after:
            raise Killed
        return signal.SIGTERM if self.looks >= self.after else 0


@contextlib.contextmanager
def cut(after: int, kill: bool = False) -> Iterator[None]:
    """Cut a run so many steps after it began, or began again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "deferred", lambda: contextlib.nullcontext(Cut(after, kill)))
        with pytest.raises(Killed if kill else Interrupted):
            yield


@functools.cache
def composed(overrides: tuple[str, ...]) -> tuple[Settings, Any]:
    several = [name for name, kind in get_type_hints(Settings).items() if get_origin(kind) is dict]
    composition = compose.compose(overrides, several=several)
    return config.check(composition.config, Settings), composition


def terminal() -> Terminal:
    return Terminal(Console(file=io.StringIO(), width=200))


def begin(overrides: tuple[str, ...], root: Path) -> Path:
    settings, composition = composed(overrides)
    run = launching.settled(replace(settings, output_root=str(root)), terminal().line)
    request = launching.Request(composition.record, composition.choices, list(overrides))
    return launching.launch(run, request, terminal())


def started(root: Path) -> Path:
    (folder,) = directory.runs(root)
    return folder


def resume(overrides: tuple[str, ...], folder: Path) -> Path:
    """Resume as another process would, whose generators stand elsewhere."""
    torch.manual_seed(random.randrange(2**32))
    np.random.seed(random.randrange(2**32))
    launching.resume(composed(overrides)[0], folder, terminal())
    return folder


def flat(content: Any, path: str = "") -> dict[str, Any]:
    """Return every leaf under its path, tensors as bytes."""
    if isinstance(content, torch.Tensor):
        return {path: (content.dtype, content.shape, content.numpy().tobytes())}
    if isinstance(content, dict | list):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        nested = [flat(each, f"{path}/{key}") for key, each in pairs]
        return {key: each for part in nested for key, each in part.items()}
    return {path: content}


def points(folder: Path) -> list[tuple[int, str, float | None]]:
    """Return every point that TensorBoard reads, in its order."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                scalar = value.simple_value if value.HasField("simple_value") else None
                found.append((event.step, value.tag, scalar))
    return found


def record(folder: Path) -> dict[str, Any]:
    """Return what two equal runs have in common: all that no clock decides."""
    newest = checkpoints.read(checkpoints.listed(folder / directory.CHECKPOINTS)[0])
    summary = read_json(folder / directory.SUMMARY)
    status = directory.status(folder)
    return {
        "state": flat(newest["state"]),
        "metrics": (folder / directory.METRICS).read_bytes(),
        "timing": [row["step"] for row in directory.read_rows(folder / directory.TIMING)],
        "points": points(folder),
        "summary": {key: each for key, each in summary.items()
                    if key not in ("seconds", "samples_per_second")},
        "status": [status.get(key) for key in ("state", "step", "exit_code")],
    }  # fmt: skip


def differences(folder: Path, other: dict[str, Any]) -> list[str]:
    return [part for part, content in record(folder).items() if content != other[part]]


@contextlib.contextmanager
def quickened() -> Iterator[None]:
    """Spare hundreds of runs what is the same for all: waits for the disk, versions, data."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(recorder, "here", functools.cache(recorder.here))
        patch.setattr(datasets, "load_digits", functools.cache(datasets.load_digits))
        yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with quickened():
        yield


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    """Return the record of the uninterrupted run of a configuration, trained once."""

    @functools.cache
    def run(overrides: tuple[str, ...]) -> dict[str, Any]:
        return record(begin(overrides, tmp_path_factory.mktemp("uncut")))

    return run


def case(kind: str, optimizer: str) -> tuple[str, ...]:
    """Return a kind of run with this optimizer, as much of it as the optimizer takes."""
    overrides = (*KINDS[kind], f"optimizer={optimizer}")
    if optimizer_of(composed(overrides)[0].optimizer).needs == "gradient":
        return overrides
    # It clips no gradient, and one of them solves a system as large as the model.
    small = [each.replace("hidden=[16]", "hidden=[4]") for each in overrides]
    return tuple(each for each in small if not each.startswith("clipping"))


def cuttings() -> Iterator[Any]:
    """Yield optimizers, kinds of runs and cuts: everywhere for some, in the middle for each."""
    for optimizer in OPTIMIZERS:
        everywhere = optimizer in EVERYWHERE
        for kind in KINDS:
            for cuts in CUTS if everywhere else ([11], *LATER):
                quick = kind == "rich" and (everywhere or cuts == [11])
                name = f"{optimizer}-{kind}-{'+'.join(map(str, cuts))}"
                marks = [] if quick else [pytest.mark.slow]
                yield pytest.param(optimizer, kind, cuts, id=name, marks=marks)


@pytest.mark.parametrize(("optimizer", "kind", "cuts"), list(cuttings()))
def test_a_cut_run_is_the_uncut_run(tmp_path, uncut, optimizer, kind, cuts):
    """A negative cut is a kill, after which all but the last checkpoint is lost.

    Cuts: before the first saved step, inside a logging window (in the warm-up too), at a logged
    row, at the last step of an epoch, at the first of the next, one before the end, at the end.
    """
    overrides = case(kind, optimizer)
    first, *others = cuts
    with cut(abs(first), kill=first < 0):
        begin(overrides, tmp_path)
    folder = started(tmp_path)
    for each in others:
        done = read_json(folder / directory.STATUS)["step"]
        with cut(abs(each) - (done if each == TOTAL else 0), kill=each < 0):
            resume(overrides, folder)
    resume(overrides, folder)
    assert differences(folder, uncut(overrides)) == []
    assert uncut(overrides)["status"] == ["finished", TOTAL, 0]


@pytest.mark.slow
def test_the_cases_are_not_all_alike(uncut):
    """Equality would mean little if runs of unlike settings were equal too."""
    records = {(kind, each): uncut(case(kind, each)) for kind in KINDS for each in OPTIMIZERS}
    alike = [group for group in grouped(records) if len(group) > 1]
    assert alike == [[(kind, "gd"), (kind, "sgd")] for kind in KINDS]  # but for their sampler
    assert all(b"weights/norm" in records["rich", each]["metrics"] for each in OPTIMIZERS)


def grouped(records: dict[Any, dict[str, Any]]) -> list[list[Any]]:
    """Return the names of records with the same metrics, together."""
    groups: dict[bytes, list[Any]] = {}
    for name, each in records.items():
        groups.setdefault(each["metrics"], []).append(name)
    return list(groups.values())


CNN = (*PLAIN[1:], "architecture=cnn", "architecture.channels=[4,8]", "trainer.drop_last=false")
REGRESSION = ("dataset=diabetes", "loss=mse", "architecture.hidden=[16]", "trainer.batch_size=32",
              "trainer.steps=32", "trainer.epochs=null", "trainer.log_every=7steps", "threads=1",
              "precision=float64", "device=cpu", "tensorboard=false")  # fmt: skip
NO_VALIDATION = (*PLAIN, "dataset.valid=0", "precision=bfloat16", "trainer.evaluate_every=20%")


@pytest.mark.parametrize("cuts", [[-12], [11], [5, 7, 9]], ids=str)
@pytest.mark.parametrize(
    "overrides", [CNN, REGRESSION, NO_VALIDATION], ids=["cnn", "regression", "no validation"]
)
def test_another_kind_of_run(tmp_path, uncut, overrides, cuts):
    with cut(abs(cuts[0]), kill=cuts[0] < 0):
        begin(overrides, tmp_path)
    for each in cuts[1:]:
        with cut(each):
            resume(overrides, started(tmp_path))
    assert differences(resume(overrides, started(tmp_path)), uncut(overrides)) == []


@pytest.mark.parametrize("after", [1, 2])
def test_a_cut_after_the_best_epoch(tmp_path, uncut, after):
    """The objective cannot get better than in the first epoch: the best weights are old ones."""
    overrides = (*RICH, "optimizer=sgd", "optimizer.lr=30")
    best = uncut(overrides)["summary"]["best"]["step"]
    assert best < TOTAL
    with cut(best + after):
        begin(overrides, tmp_path)
    folder = resume(overrides, started(tmp_path))
    assert differences(folder, uncut(overrides)) == []


@pytest.mark.parametrize("at", [15, STOPPED])
def test_a_cut_around_an_early_stop(tmp_path, uncut, at):
    """A run that has decided to stop has stopped, whatever cuts it then."""
    assert uncut(STOPS)["status"] == ["finished", STOPPED, 0]
    with cut(at):
        begin(STOPS, tmp_path)
    folder = resume(STOPS, started(tmp_path))
    assert differences(folder, uncut(STOPS)) == []


CLOCKED = (*PLAIN, "trainer.minutes=1e-9", "stopping=gradient_norm")  # at step 1, not a row's


@pytest.mark.parametrize("overrides", [PLAIN, STOPS, CLOCKED], ids=["plain", "stops", "clocked"])
@pytest.mark.parametrize("point", ["finish", "close"])
def test_a_death_between_the_last_step_and_the_end(tmp_path, uncut, overrides, point):
    before = getattr(Recorder, point)

    def die(*given: Any) -> None:
        before(*given)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, point, die)
        with pytest.raises(Killed):
            begin(overrides, tmp_path)
    folder = resume(overrides, started(tmp_path))
    assert differences(folder, uncut(overrides)) == []


SAVING = (*RICH, "trainer.save_every=5steps")


@pytest.mark.parametrize("at", [10, 13, 14, 17, 31])
def test_rows_written_after_the_last_checkpoint_come_once(tmp_path, uncut, at):
    """F39: logs are flushed at each row, checkpoints are older when the process dies."""
    with cut(at, kill=True):
        begin(SAVING, tmp_path)
    folder = started(tmp_path)
    newest = checkpoints.listed(folder / directory.CHECKPOINTS)[0]
    assert newest.name.startswith(f"step-{at - at % 5}-")
    assert directory.status(folder)["step"] == at - at % 5
    resume(SAVING, folder)
    assert differences(folder, uncut(SAVING)) == []
    scalars = [(step, tag) for step, tag, value in points(folder) if value is not None]
    assert len(set(scalars)) == len(scalars)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves(tmp_path, uncut, number):
    """F11, F12: the step is ended and saved, the status is true, the message says how to go on."""
    write = Recorder.record

    def interrupted(self: Recorder, state: Any, row: dict[str, Any]) -> None:
        write(self, state, row)
        if state.step == 11:
            os.kill(os.getpid(), number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "record", interrupted)
        with pytest.raises(Interrupted) as caught:
            begin(RICH, tmp_path)
    folder = started(tmp_path)
    assert caught.value.exit_code == 128 + number
    assert str(caught.value) == f"saved step 11; continue with: runner resume {folder}"
    status = directory.status(folder)
    assert [status["state"], status["step"]] == ["interrupted", 11]
    assert status["exit_code"] == 128 + number
    assert not (folder / directory.ERROR).exists()
    assert differences(resume(RICH, folder), uncut(RICH)) == []


def damaged(path: Path, kind: str) -> None:
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes({
        "flipped": data[:half] + bytes([data[half] ^ 1]) + data[half + 1:],
        "truncated": data[:half],
        "empty": b"",
    }[kind])  # fmt: skip


@pytest.mark.parametrize("kind", ["flipped", "truncated", "empty"])
def test_a_damaged_checkpoint_costs_steps_and_nothing_else(tmp_path, uncut, kind):
    """F03, F04, F06, F40: the one before it stands in; a stale temporary file is ignored."""
    with cut(17, kill=True):
        begin(SAVING, tmp_path)
    folder = started(tmp_path)
    newest, older = checkpoints.listed(folder / directory.CHECKPOINTS)
    damaged(newest, kind)
    newest.with_name(".step-20-0123456789abcdef.pt.77.tmp").write_bytes(b"half")
    shown = terminal()
    launching.resume(composed(SAVING)[0], folder, shown)
    text = shown.console.file.getvalue()
    assert f"warning: {newest.name}: content hash differs" in text
    assert "using step 10" in text
    assert "resuming at step 10 of 32" in text
    assert older.name.startswith("step-10-")
    assert differences(folder, uncut(SAVING)) == []


def snapshot(folder: Path) -> dict[Path, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_when_no_checkpoint_is_left_nothing_is_touched(tmp_path, runner):
    """F05: exit 5, each one with its reason."""
    with cut(11):
        begin(SAVING, tmp_path)
    folder = started(tmp_path)
    found = checkpoints.listed(folder / directory.CHECKPOINTS)
    for path in found:
        damaged(path, "truncated")
    before = snapshot(folder)
    done = runner("resume", str(folder))
    assert done.code == 5
    assert "Traceback" not in done.out + done.err
    assert all(f"{path.name}: content hash differs" in done.err for path in found)
    after = snapshot(folder)
    assert {path for path in before if before[path] != after[path]} <= {folder / ".lock"}


def test_a_finished_run_is_left_alone(tmp_path, runner):
    """F16."""
    folder = begin(PLAIN, tmp_path)
    before = snapshot(folder)
    done = runner("resume", str(folder))
    assert (done.code, done.err) == (0, "")
    assert "already finished (step 32" in done.out
    assert snapshot(folder) == before


def test_a_run_in_use_is_left_alone(tmp_path, runner):
    """F14, F46."""
    with cut(11):
        begin(PLAIN, tmp_path)
    folder = started(tmp_path)
    with locked(folder):
        before = snapshot(folder)
        with pytest.raises(InUse, match=f"in use by pid {os.getpid()} on host"):
            resume(PLAIN, folder)
        done = runner("resume", str(folder))
        assert done.code == 7
        assert f"in use by pid {os.getpid()} on host" in done.err
        assert snapshot(folder) == before
    resume(PLAIN, folder)


def test_the_status_of_a_resumed_run_is_that_of_an_uncut_one(tmp_path):
    """A finished run speaks of no signal, no step to continue from and no error."""
    never = directory.status(begin(PLAIN, tmp_path / "uncut"))
    with cut(11):
        begin(PLAIN, tmp_path / "cut")
    resumed = directory.status(resume(PLAIN, started(tmp_path / "cut")))
    assert {**resumed, "started": None} == {**never, "started": None}


def test_a_resumed_run_says_what_it_does_while_it_runs(tmp_path, monkeypatch):
    with cut(11):
        begin(PLAIN, tmp_path)
    folder = started(tmp_path)
    seen = []
    monkeypatch.setattr(
        Recorder, "start", lambda self, *_: seen.append(directory.status(folder)["state"])
    )
    monkeypatch.setattr(Recorder, "record", lambda *_: None)
    resume(PLAIN, folder)
    assert seen == ["running"]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_full_disk_loses_nothing(tmp_path, uncut, nth):
    """F07, F08: the n-th save fails; exit 8, what was saved before it stands, and it goes on."""
    write, calls = checkpoints.write_atomic, []

    def full(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == nth:
            raise Unwritable(f"{path}: cannot write: No space left on device")
        write(path, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "write_atomic", full)
        with pytest.raises(Unwritable) as caught:
            begin(SAVING, tmp_path)
    assert caught.value.exit_code == 8
    folder = started(tmp_path)
    assert directory.status(folder)["exit_code"] == 8
    if nth == 1:  # before any training
        assert (folder / directory.METRICS).read_bytes() == b""
        assert checkpoints.listed(folder / directory.CHECKPOINTS) == []
        return
    checkpoints.load(folder / directory.CHECKPOINTS, pytest.fail)
    assert differences(resume(SAVING, folder), uncut(SAVING)) == []


# ---- every key of a checkpoint matters --------------------------------------------------------

MUTATED = (*SAVING, "optimizer=adam", "optimizer.lr=0.01", "stopping.patience=3",
           "stopping.min_delta=1", "averaging=ema", "averaging.decay=0.5")  # fmt: skip
SAVED, DIED = 20, 23  # rows of 21 are in the logs that the checkpoint does not know of
PARTS = ["step", "seen", "ended", "model", "slots", "averages", "schedule", "stopping", "best",
         "window"]  # fmt: skip


@pytest.fixture
def watching(monkeypatch):
    """Give every run a schedule that remembers: after two evaluations it ruins the training.

    Best weights matter only where training gets worse.
    """
    settled = launching.settled
    schedule = Schedule(
        at=lambda step, state: 1.0 if state["seen"] < 2 else 1000.0,
        init=lambda: {"seen": 0},
        observe=lambda state, row, metric: {"seen": state["seen"] + 1},
    )

    def scheduled(settings: Settings, say: Any) -> Any:
        run = settled(settings, say)
        run.schedule = schedule
        run.begun[0].schedule = schedule.init()
        return run

    monkeypatch.setattr(launching, "settled", scheduled)


@pytest.fixture
def died(tmp_path, watching):
    """Return the uncut record, the directory of a run that died, and its checkpoint."""
    whole = record(begin(MUTATED, tmp_path / "uncut"))
    with cut(DIED, kill=True):
        begin(MUTATED, tmp_path / "died")
    folder = started(tmp_path / "died")
    content = checkpoints.load(folder / directory.CHECKPOINTS, pytest.fail)
    state = content["state"]
    assert content["step"] == state["step"] == SAVED
    assert state["best"]["step"] == whole["summary"]["best"]["step"] == 16
    assert [len(state["window"]), state["stopping"]["waited"], state["schedule"]] == [
        4,
        1,
        {"seen": 2},
    ]
    return whole, folder, content


def rewrite(folder: Path, content: Any) -> None:
    """Put this in the place of every checkpoint of a folder, under a name that fits."""
    for path in checkpoints.listed(folder):
        path.unlink()
    buffer = io.BytesIO()
    torch.save(content, buffer)
    short = hashlib.sha256(buffer.getvalue()).hexdigest()[:16]
    (folder / f"step-{content.get('step', 0)}-{short}.pt").write_bytes(buffer.getvalue())


def noticed(died: tuple[dict[str, Any], Path, Any], content: Any) -> str:
    """Resume a copy of the run from a rewritten checkpoint; return what gave the change away."""
    whole, folder, _ = died
    copy = folder.parent / "copy"
    shutil.copytree(folder, copy)
    try:
        rewrite(copy / directory.CHECKPOINTS, content)
        try:
            resume(MUTATED, copy)
        except Exception as error:
            return f"refused: {type(error).__name__}"
        said = f"resuming at step {SAVED} of {TOTAL}\n" in (copy / directory.LOG).read_text()
        return ", ".join(differences(copy, whole) + ([] if said else ["log"]))
    finally:
        shutil.rmtree(copy)


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything that a checkpoint holds, parts before what is in them."""
    if isinstance(content, dict | list):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        for key, each in pairs:
            yield (*path, key)
            yield from places(each, (*path, key))


def reset(value: Any) -> Any:
    """Return what stands at the beginning of a run."""
    if isinstance(value, torch.Tensor):
        return torch.zeros_like(value)
    if isinstance(value, float):
        return math.inf
    return 0 if isinstance(value, int) else type(value)()


def changed(content: Any, path: tuple[Any, ...], drop: bool) -> Any:
    """Return a copy in which one place is dropped or reset."""
    key, *rest = path
    copy = dict(content) if isinstance(content, dict) else list(content)
    if rest:
        copy[key] = changed(content[key], tuple(rest), drop)
    elif drop:
        del copy[key]
    else:
        copy[key] = reset(content[key])
    return copy


def unnoticed(died: tuple[dict[str, Any], Path, Any], under: tuple[str, ...]) -> list[str]:
    """Return every change under a part of the checkpoint that makes no difference."""
    content = died[2]
    missed, tried = [], 0
    for path in places(content):
        if path[: len(under)] != under:
            continue
        for drop in (True, False):
            rewritten = changed(content, path, drop)
            if flat(rewritten) == flat(content):
                continue  # a reset of what has its first value still
            tried += 1
            if not noticed(died, rewritten):
                missed.append(f"{'without' if drop else 'reset'} {'.'.join(map(str, path))}")
    assert tried
    return missed


def test_a_rewritten_checkpoint_that_says_the_same_changes_nothing(died):
    """The control: what the mutations below give away is the mutation and not the rewriting."""
    assert set(died[2]) == {"format", "step", "state", "logs", "seconds"}
    assert set(died[2]["state"]) == set(PARTS)
    assert noticed(died, died[2]) == ""


@pytest.mark.parametrize("part", PARTS)
def test_no_part_of_the_state_can_be_lost(died, part):
    assert unnoticed(died, ("state", part)) == []


@pytest.mark.parametrize("part", ["format", "step", "logs", "seconds"])
def test_nothing_beside_the_state_can_be_lost(died, part):
    assert unnoticed(died, (part,)) == []


def test_a_checkpoint_for_another_model_is_unusable(tmp_path, runner):
    """B56: the record was edited; exit 5 and no traceback."""
    with cut(11):
        begin(PLAIN, tmp_path)
    folder = started(tmp_path)
    path = folder / directory.CONFIG
    path.write_text(path.read_text().replace("- 16", "- 24"))
    done = runner("resume", str(folder))
    assert done.code == 5
    assert "Traceback" not in done.out + done.err


# ---- processes --------------------------------------------------------------------------------

LONG = (*RICH, "trainer.save_every=25steps", "stopping.patience=1000")
LONG = tuple(each.replace("epochs=4", "epochs=80") for each in LONG)


def wait_for(condition: Any, process: subprocess.Popen[Any]) -> None:
    for _ in range(6000):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    pytest.fail("waited a minute for nothing")


def newest_step(root: Path) -> int:
    steps = [int(path.name.split("-")[1]) for path in root.glob("*/*/checkpoints/step-*.pt")]
    return max(steps, default=-1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "times"), [(signal.SIGKILL, -9, 3), (signal.SIGTERM, 143, 1)]
)
def test_processes_that_are_ended(tmp_path, uncut, number, code, times):
    """F02, F11: each process dies after new checkpoints; the next one goes on."""
    command = [sys.executable, "-m", "runner"]
    words = [*LONG, f"output_root={tmp_path}"]
    for _ in range(times):
        before = newest_step(tmp_path)
        with subprocess.Popen(
            [*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            wait_for(lambda before=before: newest_step(tmp_path) > before + 50, process)
            process.send_signal(number)
            _, complaint = process.communicate(timeout=30)
        assert process.returncode == code
        assert "Traceback" not in complaint
        words = ["resume", str(started(tmp_path))]
    folder = started(tmp_path)
    killed = number == signal.SIGKILL
    assert directory.status(folder)["state"] == ("running" if killed else "interrupted")
    done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=120,
                          check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert differences(folder, uncut(LONG)) == []
