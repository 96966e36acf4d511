"""Training that diverged says at which step, and where in it, and keeps all that was sound."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from poison import Change, batches, changed, factors, losses
from resuming import (
    begin,
    composed,
    differences,
    flat,
    points,
    quickened,
    record,
    resume,
    started,
)

from runner.assemble.speed import settled
from runner.components.schedule import Schedule
from runner.execution import replay
from runner.execution.hooks import advancing
from runner.foundation.errors import Diverged, UnusableCheckpoint
from runner.recording import directory
from runner.training import checkpoints

# 8 steps in an epoch, 32 in the run; rows at 5, 8, 10, 15, 16, 20, 24, 25, 30, 32.
PLAIN = ("architecture.hidden=[16]", "trainer.batch_size=128", "trainer.epochs=4",
         "trainer.log_every=5steps", "trainer.save_every=6steps", "threads=1", "device=cpu",
         "schedule=constant")  # fmt: skip
ROWS = [5, 8, 10, 15, 16, 20, 24, 25]  # before the window of step 28


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with quickened():
        yield


def instead(*overrides: str) -> tuple[str, ...]:
    """Return the plain run with these overrides."""
    keys = {each.partition("=")[0] for each in overrides}
    return (*(each for each in PLAIN if each.partition("=")[0] not in keys), *overrides)


def ended(root: Path, *changes: Change, overrides: tuple[str, ...] = ()) -> tuple[Path, str]:
    """Return the directory of a run that diverged, and what it said."""
    with changed(*changes), pytest.raises(Diverged) as caught:
        begin(instead(*overrides), root)
    assert caught.value.exit_code == 4
    folder = started(root)
    status = directory.status(folder)
    assert [status["state"], status["exit_code"]] == ["diverged", 4]
    assert status["message"] == str(caught.value)
    return folder, str(caught.value)


def explosion(run):
    """Let the weights of step 27 be so large that the next outputs overflow."""
    factors({27}, 1e22)(run)


BETWEEN = "the training loss became {} between steps 26 and 30: first at step 28, "
GAVE = " the first number that is not finite"
CASES = {
    "batch": (batches(28), "nan", "where the batch itself held"),
    "layer": (explosion, "nan", "where layer '2' (Linear) of the network gave"),
    "loss": (losses(28), "infinite", "where the loss itself, of sound outputs, gave"),
    "gradient": (losses(27, gradient=True), "nan",
                 "after step 27, where the gradient of '2.bias' gave"),
    "update": (factors({27}, 1e60), "nan",
               "after step 27, where the update of '1.layer.weight' gave"),
}  # fmt: skip


@pytest.mark.parametrize("compile_", ["trace", "false"])
@pytest.mark.parametrize("name", CASES)
def test_the_first_bad_step_is_named_and_what_went_wrong_in_it(tmp_path, name, compile_):
    """F21, F22: a nan in the data, weights that explode, a loss, a gradient, an update."""
    change, value, where = CASES[name]
    folder, said = ended(tmp_path, change, overrides=(f"compile={compile_}",))
    assert said.startswith(f"{BETWEEN.format(value)}{where}{GAVE}; ")
    rows = list(directory.read_rows(folder / directory.METRICS))
    assert [row["step"] for row in rows] == ROWS
    assert all(math.isfinite(row["train/loss"]) for row in rows)
    assert {step for step, tag, _ in points(folder) if tag == "train/loss"} == set(ROWS)
    newest, older = checkpoints.listed(folder / directory.CHECKPOINTS)
    kept = checkpoints.read(newest)
    assert kept["step"] == directory.status(folder)["step"] == 24
    assert checkpoints.read(older)["step"] == 18
    assert all(each.isfinite().all() for each in kept["state"]["model"].values())
    assert 0 < kept["state"]["best"]["step"] <= 24
    assert not (folder / directory.SUMMARY).exists()
    assert not (folder / directory.ERROR).exists()


def test_what_was_sound_goes_on_from_there(tmp_path):
    """F21: the checkpoint that stays is one to resume from, once the cause is gone."""
    folder, _ = ended(tmp_path / "sick", batches(28))
    whole = record(begin(PLAIN, tmp_path / "sound"))
    assert differences(resume(PLAIN, folder), whole) == []


def watching(run):
    """Let the learning rate explode once three evaluations were seen, in update 25."""
    run.schedule = Schedule(
        lambda step, state: 1e22 if state["seen"] == 3 else 1.0,
        init=lambda: {"seen": 0},
        observe=lambda state, row, objective: {"seen": state["seen"] + 1},
        watches="objective",
    )


def test_the_replay_sees_what_the_schedule_saw(tmp_path):
    """F21: from step 20 on there is an evaluation on the way, without which nothing explodes."""
    _, said = ended(tmp_path, watching, overrides=("trainer.save_every=20steps",))
    assert f"at step 26, where layer '2' (Linear) of the network gave{GAVE}" in said


RICH = ("normalization=batch", "dropout=inverted", "dropout.keep=0.8", "regularizer=l2",
        "clipping=norm", "averaging=ema", "trainer.accumulate=2", "optimizer=adam",
        "schedule=plateau", "schedule.patience=1", "augmentation=flip_crop")  # fmt: skip


TORCH = ("optimizer=sgd", "optimizer._target_=torch.optim.Adam")


@pytest.mark.parametrize("overrides", [RICH, TORCH], ids=["rich", "torch"])
def test_a_replay_comes_to_the_same_bits(tmp_path, overrides):
    overrides = instead(*overrides)
    folder = begin(overrides, tmp_path)
    newest, older = map(checkpoints.read, checkpoints.listed(folder / directory.CHECKPOINTS))
    assert [newest["step"], older["step"]] == [32, 30]
    run = settled(composed(overrides)[0], print)
    run.begun.state.unpack(older["state"])
    assert replay._brought(run, run.begun.state, advancing(run, run.begun.step), 32, 60.0)
    again, parts = run.begun.state.pack(), ("model", "slots", "averages", "schedule")
    assert flat({part: again[part] for part in parts}) == flat(
        {part: newest["state"][part] for part in parts}
    )


@pytest.mark.parametrize("layer", [0, 1])
def test_the_first_of_several_layers_is_named(tmp_path, layer):
    """F21: those behind it have such numbers too."""

    def change(run):
        linear = [each for each in run.model.modules() if isinstance(each, torch.nn.Linear)]
        with torch.no_grad():
            linear[layer].weight.fill_(2e38)

    _, said = ended(tmp_path, change, overrides=("architecture.hidden=[8,8]",))
    name = ["1.layer", "2.layer"][layer]
    assert f"first at step 1, where layer '{name}' (Linear) of the network gave{GAVE}" in said


def test_a_replay_that_takes_too_long_is_left(tmp_path, monkeypatch):
    """F21: then the step alone is told."""
    monkeypatch.setattr(replay, "TRIED", 0.0)
    monkeypatch.setattr(replay, "LIMIT", 0.0)
    _, said = ended(tmp_path, batches(28))
    assert said.startswith(f"{BETWEEN.format('nan')[:-2]}; ")


@pytest.mark.parametrize("broken", ["_before", "found", "advancing"])
def test_a_replay_that_fails_hides_nothing(tmp_path, monkeypatch, broken):
    """F21: what is told is the divergence."""

    def fail(*given):
        raise RuntimeError("of the replay")

    monkeypatch.setattr(replay, broken, fail)
    folder, said = ended(tmp_path, batches(28))
    assert said.startswith(f"{BETWEEN.format('nan')[:-2]}; ")
    assert not (folder / directory.ERROR).exists()


@pytest.mark.parametrize("bad", [1, 2])
def test_without_the_newest_checkpoints_it_takes_longer(tmp_path, monkeypatch, bad):
    """F21: a damaged one is passed over; where none is whole, the replay begins at the start."""
    original, read = checkpoints.read, []

    def damaged(path, size=None):
        read.append(path)
        if len(read) > bad:
            return original(path, size)
        raise UnusableCheckpoint(path.name)

    monkeypatch.setattr(checkpoints, "read", damaged)
    _, said = ended(tmp_path, explosion)
    assert f"first at step 28, where layer '2' (Linear) of the network gave{GAVE}" in said
    assert len(read) == min(bad + 1, 2)


@pytest.mark.parametrize(("step", "saved"), [(24, 18), (32, 30)])
def test_weights_that_are_not_finite_are_never_saved(tmp_path, step, saved):
    """F21: no loss has shown it yet, at an ordinary save and at the last one."""
    folder, said = ended(tmp_path, factors({step}, 1e60))
    assert said.startswith(
        f"the weights '1.layer.weight' became nan or infinite at step {step}, "
        f"where the update of '1.layer.weight' gave{GAVE}"
    )
    newest = checkpoints.read(checkpoints.listed(folder / directory.CHECKPOINTS)[0])
    assert newest["step"] == saved
    assert all(each.isfinite().all() for each in newest["state"]["model"].values())


def test_a_gradient_at_a_row_is_told_at_once(tmp_path):
    """F22: with a finite loss, before the next one shows what it did to the weights."""
    folder, said = ended(tmp_path, losses(25, gradient=True))
    assert said.startswith(
        f"the gradient became nan at step 25, where the gradient of '2.bias' gave{GAVE}"
    )
    assert [row["step"] for row in directory.read_rows(folder / directory.METRICS)] == ROWS[:-1]
