"""Steps that are left out because they are not finite: as if they had never been, and no more."""

from __future__ import annotations

import pytest
import torch
from lane_runs import GROUPS, SideBySide, settings
from torch import Tensor

from runner.assemble.lanes import refusal
from runner.assemble.run import Run, assemble
from runner.foundation.errors import Misconfigured
from runner.training.ready import Compiled, Traced
from runner.training.state import State

OPTIMIZERS = [option for option in GROUPS["optimizer"]
              if not refusal(settings(f"optimizer={option}"))]  # fmt: skip
QUICK = {"momentum", "adam", "nadam"}  # in place, by t, with a number for each tensor
SOME = [pytest.param(each, marks=[] if each in QUICK else pytest.mark.slow)
        for each in OPTIMIZERS]  # fmt: skip
SKIP = "trainer.on_nonfinite=skip_step"
RICH = ["normalization=batch", "averaging=ema", "regularizer=l2", "clipping=norm",
        "schedule=constant"]  # fmt: skip
BAD = {"nan": torch.nan, "infinity": torch.inf}


class Fed:
    """A run whose steps are given their batches."""

    def __init__(self, *overrides: str, ready: type[Traced] | None = None):
        self.run: Run = assemble(settings(*RICH, *overrides))
        self.state: State = self.run.state()
        self.made = ready and ready(self.state)
        self.step = self.run.stepping(self.state, self.made)
        self.batch = self.run.batches()

    def take(self, at: int, poison: float | None = None, measure: bool = False) -> Tensor:
        """Make a step on the batch of this number, perhaps with a number of it changed."""
        x, y = self.batch(at)
        if poison is not None:
            x = x.index_fill(0, torch.tensor([1]), poison)
        return self.step(x, y, 1.0, measure).loss

    def numbers(self) -> dict[str, bytes]:
        """Return what the step changes but for its counts."""
        tensors = self.state.tensors()
        tensors.pop("skips", None)
        return {name: each.detach().numpy().tobytes() for name, each in tensors.items()}


@pytest.mark.parametrize("ready", [None, Traced], ids=["plain", "traced"])
@pytest.mark.parametrize("optimizer", SOME)
def test_a_step_left_out_is_as_if_it_had_never_been(optimizer, ready):
    """F22: bit by bit: weights, slots, statistics, averages, and the t of the next update."""
    choice = f"optimizer={optimizer}"
    ours, theirs = Fed(choice, SKIP, ready=ready), Fed(choice)
    for at in range(6):
        if at in (0, 3, 4):
            before = ours.numbers()
            assert ours.take(at, BAD["nan" if at else "infinity"], measure=at == 3).isnan()
            assert ours.numbers() == before
        ours.take(at)
        theirs.take(at)
        assert ours.numbers() == theirs.numbers()
    assert [ours.state.skipped, ours.state.unmoved, ours.state.step] == [3, 0, 9]
    assert ours.made is None or not ours.made.refusal


@pytest.mark.parametrize("optimizer", SOME)
def test_a_sound_run_has_the_bits_it_has_anyway(optimizer):
    """Plain and traced; a compiler may fuse another step in another way."""
    ours, theirs = (
        Fed(f"optimizer={optimizer}", *each, "dropout=inverted", "dropout.keep=0.8", ready=Traced)
        for each in ([SKIP], [])
    )
    for at in range(6):
        assert torch.equal(ours.take(at, measure=at == 4), theirs.take(at, measure=at == 4))
    assert ours.numbers() == theirs.numbers()
    assert torch.equal(ours.state.gradient_norm, theirs.state.gradient_norm)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # of torch's compiler
def test_a_compiled_step_leaves_out_as_well(tmp_path):
    ours = Fed(SKIP)
    ours.made = Compiled(ours.state, tmp_path)
    ours.step = ours.run.stepping(ours.state, ours.made, whole=True)
    for at in range(4):
        before = ours.numbers()
        loss = ours.take(at, torch.nan if at == 2 else None)
        assert loss.isfinite() == (at != 2)
        assert (ours.numbers() == before) == (at == 2)
    assert not ours.made.refusal
    assert not ours.made.failure
    assert ours.state.skipped == 1


def test_steps_in_a_row_are_counted():
    ours = Fed(SKIP)
    counts = []
    for at, poison in enumerate([None, torch.nan, torch.nan, None, torch.inf]):
        ours.take(at, poison)
        counts.append([ours.state.skipped, ours.state.unmoved])
    assert counts == [[0, 0], [1, 1], [2, 2], [2, 0], [3, 1]]


def test_an_infinite_gradient_is_left_out_though_the_loss_is_finite():
    """F22."""
    ours = Fed(SKIP)
    own, steep = ours.run.loss, torch.zeros(())

    def loss(outputs: Tensor, y: Tensor) -> Tensor:
        nothing = (outputs - outputs.detach()).sum(1)
        return own(outputs, y) + steep * (nothing + (steep == 0)).sqrt()

    ours.run.loss = loss
    ours.step = ours.run.stepping(ours.state)
    assert ours.take(0).isfinite()
    steep.fill_(1.0)
    weights = [each.clone() for each in ours.run.model.parameters()]
    outputs = ours.run.model(ours.batch(1)[0])
    assert loss(outputs, ours.batch(1)[1]).isfinite().all()
    assert ours.take(1).isnan()
    assert all(map(torch.equal, ours.run.model.parameters(), weights))


@pytest.mark.parametrize("optimizer", SOME)
def test_a_lane_leaves_out_steps_of_its_own(optimizer):
    """F22, F24: the others have every bit they have beside a sound one; it, what it has alone."""
    given = [settings(*RICH, SKIP, f"optimizer={optimizer}", f"seed={seed}") for seed in (0, 1, 2)]
    sick, well = SideBySide(given, traced=True), SideBySide(given, traced=True)
    batch = sick.batch

    def poisoned(at: int) -> tuple[Tensor, Tensor]:
        x, y = batch(at)
        if at in (0, 2):
            x = x.clone()
            x[1, 3] = torch.nan
        return x, y

    sick.batch = poisoned
    sick.train(5)
    well.train(5)
    for at in (0, 2):
        ours, theirs = sick.trained().lane(at), well.trained().lane(at)
        assert torch.equal(ours.losses, theirs.losses)
        for name, tensor in theirs.state.items():
            assert torch.equal(ours.state[name], tensor), name
    assert sick.trained().losses[1].isfinite().tolist() == [False, True, False, True, True]
    assert sick.lanes.skips.tolist() == [[0, 0], [2, 0], [0, 0]]
    alone = Fed(f"optimizer={optimizer}", "seed=1")
    for at in (1, 3, 4):
        alone.take(at)
    ours = sick.trained().lane(1)
    for name, tensor in alone.run.model.state_dict().items():
        if name.endswith((".layer.bias", "running_mean")):
            continue  # in front of batch norm there is no gradient but rounding
        torch.testing.assert_close(ours.state[name], tensor, rtol=1e-6, atol=1e-9)


def test_counts_go_with_their_lanes():
    given = [settings(SKIP, f"seed={seed}") for seed in (0, 1, 2)]
    ours = SideBySide(given)
    ours.lanes.skips.copy_(torch.tensor([[0, 0], [4, 1], [7, 2]]))
    ours.kept([2, 1])
    assert ours.lanes.skips.tolist() == [[7, 2], [4, 1]]
    ours.train(1)
    assert ours.lanes.skips.tolist() == [[7, 0], [4, 0]]


@pytest.mark.parametrize("optimizer", ["lbfgs", "newton", "backtracking"])
def test_an_update_that_cannot_be_taken_back_is_refused(optimizer):
    with pytest.raises(Misconfigured, match=r"trainer.on_nonfinite: optimizer .* use stop or roll"):
        assemble(settings(SKIP, f"optimizer={optimizer}", "sampler=full_batch"))
