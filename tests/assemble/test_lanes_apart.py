"""A lane does not depend on the others: not on how many, who, in which order, nor how they fare."""

from __future__ import annotations

import math
import shutil

import pytest
import torch
from lane_runs import CNN, GROUPS, SideBySide, chosen, settings

from runner.assemble.lanes import refusal, together
from runner.assemble.speed import COMPILERS
from runner.foundation import remembered
from runner.training.ready import Compiled

STEPS = 30
RUNS = {
    "mlp": ["normalization=batch", "dropout=inverted", "optimizer=adam", "optimizer.lr=0.01",
            "regularizer=l2", "clipping=norm", "averaging=ema"],
    "cnn": [*CNN, "normalization=batch", "optimizer=momentum"],
}  # fmt: skip


def given(run: str, seeds: list[int]):
    """Return runs of these seeds, each with a learning rate of its own."""
    common = ["precision=float32", *RUNS[run]]
    return [settings(*common, f"seed={seed}", f"optimizer.lr={0.01 + seed / 100}")
            for seed in seeds]  # fmt: skip


def bits(side: SideBySide, at: int) -> dict[str, torch.Tensor]:
    """Return losses, weights, statistics and slots of a lane."""
    tensors = {name: each[at].clone() for name, each in side.lanes.tensors().items()}
    return {**tensors, "losses": torch.stack(side.losses, 1)[at]}


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert tensor.isfinite().all()
        assert torch.equal(ours[name], tensor), name


def traced(run: str, seeds: list[int]) -> SideBySide:
    return SideBySide(given(run, seeds), traced=True)


COMPANIES = [[0, 1, 2], [2, 0, 3, 4, 5], [*range(1, 8), 0], [*range(5, 21), 0]]


@pytest.mark.parametrize("run", RUNS)
def test_company_and_place_change_no_bit(run):
    alone = bits(traced(run, [0, 1]).train(STEPS), 0)
    for seeds in COMPANIES:
        side = traced(run, seeds).train(STEPS)
        assert_equal(bits(side, seeds.index(0)), alone)


@pytest.mark.parametrize("run", RUNS)
def test_a_silent_companion_changes_no_bit(run):
    alone = bits(traced(run, [0]).train(STEPS), 0)
    assert_equal(alone, bits(traced(run, [0, 1]).train(STEPS), 0))


@pytest.mark.parametrize("run", RUNS)
def test_lanes_that_go_change_no_bit(run):
    whole = traced(run, [0, 1]).train(STEPS)
    side = traced(run, [2, 1, 3, 0, 4]).train(STEPS // 3)
    side.kept([3, 1])
    side.train(STEPS // 3)
    side.kept([0, 0])
    side.train(STEPS - 2 * (STEPS // 3))
    assert_equal(bits(side, 0), bits(whole, 0))


@pytest.mark.parametrize("lr", [math.inf, math.nan])
@pytest.mark.parametrize("run", RUNS)
def test_a_lane_without_numbers_changes_no_bit(run, lr):
    whole, side = traced(run, [0, 1, 2]), traced(run, [0, 1, 2])
    side.lanes.numbers["optimizer.lr"][1] = lr
    whole.train(STEPS)
    side.train(STEPS)
    assert not side.losses[-1][1].isfinite() or run == "mlp"  # a norm may bring it back
    assert not torch.equal(bits(side, 1)["weights.0"], bits(whole, 1)["weights.0"])
    for at in (0, 2):
        assert_equal(bits(side, at), bits(whole, at))


IMAGES = ["dataset=digits", "dataset.subset=120"]
CHOICES = {
    **{f"{group}={option}": chosen(group, option)
       for group in ("optimizer", "normalization", "regularizer", "clipping", "loss", "activation")
       for option in GROUPS[group] if not refusal(settings(f"{group}={option}"))},
    **{f"cnn, {each}": [*CNN, f"normalization={each}"] for each in ("layer", "batch_whitening")},
    "a wide cnn": [*CNN, "architecture.channels=[16,32]", "normalization=batch"],
    "a residual network": [*IMAGES, "architecture=resnet", "normalization=batch"],
    "attention": [*IMAGES, "architecture=vit", "dropout=inverted"],
    "centers": ["architecture=rbf"],
    "a wide mlp": ["dataset=digits", "architecture.hidden=[128,65]", "normalization=batch"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES)
def test_company_changes_no_bit_of_any_choice(choice):
    layer = ["normalization=layer"] if choice == "regularizer=jacobian" else []

    def trained(seeds: list[int]) -> SideBySide:
        common = ["precision=float32", *CHOICES[choice], *layer]
        return SideBySide([settings(*common, f"seed={seed}") for seed in seeds]).train(4)

    alone = bits(trained([0, 1]), 0)
    for seeds in ([2, 0, 3], [*range(1, 10), 0, *range(10, 17)]):
        assert_equal(bits(trained(seeds), seeds.index(0)), alone)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")  # of torch's compiler
@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C++ compiler")
def test_company_changes_no_bit_of_compiled_lanes():
    def compiled(seeds, lr=None):
        stack = together(given("mlp", seeds), fixed=8)
        side = SideBySide([], stack=stack)
        ready = Compiled(stack.lanes, remembered.kernels())
        side.step, side.ready = stack.step(ready, whole=True), ready
        if lr is not None:
            stack.lanes.numbers["optimizer.lr"][1] = lr
        side.train(STEPS)
        assert not ready.failure
        return side

    few = bits(compiled([0, 1]), 0)
    assert_equal(bits(compiled([4, 3, 0, 2, 5, 6, 7, 8]), 2), few)
    assert_equal(bits(compiled([0, 3], lr=math.nan), 0), few)
