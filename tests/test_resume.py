"""A run that was cut anywhere and resumed is, bit for bit, the run that was never cut."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from resuming import (
    Killed,
    begin,
    composed,
    cut,
    differences,
    grouped,
    points,
    quickened,
    recorded_once,
    resume,
    started,
    terminal,
)

from runner.assemble.run import Run, optimizer_of
from runner.execution import launch as launching
from runner.foundation import options
from runner.foundation.errors import Interrupted, InUse, Unwritable
from runner.foundation.files import locked, read_json
from runner.recording import directory
from runner.recording.recorder import Recorder
from runner.training import checkpoints

# 1079 training rows: 8 steps in an epoch, 32 in the run; rows at 7, 8, 14, 16, 21, 24, 28, 32.
COMMON = ("architecture.hidden=[16]", "trainer.batch_size=128", "trainer.epochs=4",
          "trainer.log_every=7steps", "threads=1", "device=cpu")  # fmt: skip
PLAIN = (*COMMON, "compile=false")
RICH = (*COMMON, "compile=trace", "normalization=batch", "dropout=inverted",
        "dropout.keep=0.8", "stopping=early", "schedule=cosine", "schedule.warmup=6steps",
        "regularizer=l2", "clipping=norm", "clipping.norm.limit=0.5", "augmentation=flip_crop",
        "augmentation.flip_crop.padding=1", "hooks=weight_norm",
        "hooks.weight_norm.every=5steps")  # fmt: skip
STOPS = (*PLAIN, "stopping=early", "stopping.patience=1", "stopping.min_delta=1")  # at step 16
TOTAL, STOPPED = 32, 16
KINDS = {"plain": PLAIN, "rich": RICH}
OPTIMIZERS = list(options.groups([options.own_folder()])["optimizer"])
EVERYWHERE = ("momentum", "adam", "lbfgs")  # fused kernels, slots of ours, an object of torch's
CUTS = ([-1], [3], [7], [8], [9], [11], [14], [31], [32], [5, 7, 18], [-1, -4, 3, 32])
LATER = ([8], [32], [5, 7, 18])  # for the other optimizers, in the slow tier


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with quickened():
        yield


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    return recorded_once(tmp_path_factory)


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
                quick = optimizer == "adam" or (cuts == [11] and kind == "plain")
                name = f"{optimizer}-{kind}-{'+'.join(map(str, cuts))}"
                marks = [] if quick else [pytest.mark.slow]
                yield pytest.param(optimizer, kind, cuts, id=name, marks=marks)


@pytest.mark.parametrize(("optimizer", "kind", "cuts"), list(cuttings()))
def test_a_cut_run_is_the_uncut_run(tmp_path, uncut, optimizer, kind, cuts):
    """F02, F11: a negative cut is a kill, after which all but the last checkpoint is lost.

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
    """F02, F11: convolutions, a regression in float64, no validation in bfloat16."""
    with cut(abs(cuts[0]), kill=cuts[0] < 0):
        begin(overrides, tmp_path)
    for each in cuts[1:]:
        with cut(each):
            resume(overrides, started(tmp_path))
    assert differences(resume(overrides, started(tmp_path)), uncut(overrides)) == []


@pytest.mark.parametrize("after", [1, 2])
def test_a_cut_after_the_best_epoch(tmp_path, uncut, after):
    """F11: training at such a rate gets worse, so that the best weights are old ones."""
    overrides = (*RICH, "optimizer=sgd", "optimizer.lr=30")
    best = uncut(overrides)["summary"]["best"]["step"]
    assert best < TOTAL
    with cut(best + after):
        begin(overrides, tmp_path)
    folder = resume(overrides, started(tmp_path))
    assert differences(folder, uncut(overrides)) == []


@pytest.mark.parametrize("at", [15, STOPPED])
def test_a_cut_around_an_early_stop(tmp_path, uncut, at):
    """F11: one step before; a run that has decided to stop has stopped, whatever cuts it then."""
    assert uncut(STOPS)["status"] == ["finished", STOPPED, 0]
    with cut(at):
        begin(STOPS, tmp_path)
    folder = resume(STOPS, started(tmp_path))
    assert differences(folder, uncut(STOPS)) == []


CLOCKED = (*PLAIN, "trainer.minutes=1e-9", "stopping=gradient_norm")  # at step 1, not a row's


@pytest.mark.parametrize("overrides", [PLAIN, STOPS, CLOCKED], ids=["plain", "stops", "clocked"])
@pytest.mark.parametrize("point", ["finish", "close"])
def test_a_death_between_the_last_step_and_the_end(tmp_path, uncut, overrides, point):
    """F02: before the summary is written, or after."""
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


@pytest.mark.parametrize("torn", [False, True], ids=["whole rows", "half a row"])
@pytest.mark.parametrize(("at", "beyond"), [(10, 10), (13, 10), (14, 14), (17, 16), (31, 30)])
def test_rows_written_after_the_last_checkpoint_come_once(tmp_path, uncut, at, beyond, torn):
    """F39: rows and points are written before the checkpoint that knows of them, half ones too."""
    with cut(at, kill=True):
        begin(SAVING, tmp_path)
    folder = started(tmp_path)
    newest = checkpoints.listed(folder / directory.CHECKPOINTS)[0]
    assert newest.name.startswith(f"step-{at - at % 5}-")
    assert directory.status(folder)["step"] == at - at % 5
    steps = [row["step"] for row in directory.read_rows(folder / directory.METRICS)]
    assert steps[-1] == max(step for step, *_ in points(folder)) == beyond
    if torn:
        for log in (*folder.glob("*.jsonl"), *folder.glob("events.out.tfevents.*")):
            log.write_bytes(log.read_bytes() + log.read_bytes()[-60:-20])
    resume(SAVING, folder)
    assert differences(folder, uncut(SAVING)) == []
    scalars = [(step, tag) for step, tag, value in points(folder) if value is not None]
    assert len(set(scalars)) == len(scalars)
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1


# What the signal comes in, and the step that is ended then; of a save beside training any may be.
PLACES = {
    "a step": (Recorder, "record", lambda given: given[1].step == 11, 11),
    "a validation": (Run, "evaluate", lambda given: True, 8),
    "a save": (checkpoints, "write_atomic", lambda given: "step-10-" in given[0].name, None),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("place", PLACES)
def test_a_signal_saves_and_leaves(tmp_path, uncut, place, number):
    """F11, F12: the step is ended and saved, the status is true, the message says how to go on."""
    owner, name, due, step = PLACES[place]
    call, sent = getattr(owner, name), list[int]()

    def interrupted(*given: Any) -> Any:
        if due(given) and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
        return call(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        with pytest.raises(Interrupted) as caught:
            begin(SAVING, tmp_path)
    folder = started(tmp_path)
    status = directory.status(folder)
    assert status["step"] == step or (step is None and status["step"] >= 10)
    assert caught.value.exit_code == 128 + number
    said = f"saved step {status['step']}; continue with: runner resume {folder}"
    assert str(caught.value) == said
    assert [status["state"], status["exit_code"]] == ["interrupted", 128 + number]
    assert not (folder / directory.ERROR).exists()
    assert not list(folder.rglob("*.tmp"))
    assert differences(resume(SAVING, folder), uncut(SAVING)) == []


def damaged(path: Path, kind: str) -> None:
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes({
        "flipped": data[:half] + bytes([data[half] ^ 1]) + data[half + 1:],
        "truncated": data[:half],
        "empty": b"",
    }[kind])  # fmt: skip


DAMAGES = {"flipped": "content hash differs (", "truncated": "size ", "empty": "not a checkpoint: "}


@pytest.mark.parametrize("kind", DAMAGES)
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
    assert f"warning: {newest.name}: {DAMAGES[kind]}" in text
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
    assert all(f"{path.name}: size " in done.err for path in found)
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
    own = {"started": None, "sizes": None}
    assert {**resumed, **own} == {**never, **own}


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
    """F07, F08: the first save fails before training, exit 8; a later one is tried again."""
    write, calls = checkpoints.write_atomic, []

    def full(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == nth:
            raise Unwritable(f"{path}: cannot write: No space left on device")
        write(path, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "write_atomic", full)
        if nth > 1:
            assert differences(begin(SAVING, tmp_path), uncut(SAVING)) == []
            return
        with pytest.raises(Unwritable) as caught:
            begin(SAVING, tmp_path)
    assert caught.value.exit_code == 8
    folder = started(tmp_path)
    assert directory.status(folder)["exit_code"] == 8
    assert (folder / directory.METRICS).read_bytes() == b""
    assert checkpoints.listed(folder / directory.CHECKPOINTS) == []


def test_a_checkpoint_for_another_model_is_unusable(tmp_path, runner):
    """B56: the record was edited, and the change allowed; exit 5 and no traceback."""
    with cut(11):
        begin(PLAIN, tmp_path)
    folder = started(tmp_path)
    path = folder / directory.CONFIG
    path.write_text(path.read_text().replace("- 16", "- 24"))
    done = runner("resume", str(folder), "resume.allow=[architecture.hidden]")
    assert done.code == 5
    assert "Traceback" not in done.out + done.err
    assert "the checkpoint is for architecture.hidden=[16], the configuration has [24]" in done.err
