"""A lane is the run that it would be alone: every option that a training step meets, in float64."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
import torch
from lane_runs import GROUPS, SideBySide, alone, assert_same, chosen, node, settings
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from runner.assemble.lanes import groups, refusal
from runner.assemble.run import assemble
from runner.config import parameters_of
from runner.training.evaluation import measure, measure_lanes
from runner.training.state import Outcome

FEW, SOME, STEPS, MANY = 5, 8, 12, 100

OPTIMIZERS = [option for option in GROUPS["optimizer"]
              if not refusal(settings(f"optimizer={option}"))]  # fmt: skip
NORMALIZATIONS = [option for option in GROUPS["normalization"]
                  if not refusal(settings(f"normalization={option}"))]  # fmt: skip
PAIRS = list(product(OPTIMIZERS, NORMALIZATIONS))
QUICK = [pair for pair in PAIRS if pair[0] == "adam" or pair[1] in ("none", "batch")]
# A bias in front of a norm over samples or pixels has no gradient but rounding, and these
# optimizers make a step of any size. It changes no loss, and only means that are taken off again.
SIGNS = {"adagrad", "lion", "rprop", "rprop_torch"}
CENTERING = {"batch", "batch_whitening", "instance"}
STACKED = ("activation", "averaging", "clipping", "dropout", "loss", "output", "regularizer")
CASES = [(group, option) for group in STACKED for option in GROUPS[group]
         if not refusal(settings(f"{group}={option}"))]  # fmt: skip


def bias_or_mean(name: str) -> bool:
    return name.endswith((".layer.bias", "running_mean"))


def hold(optimizer: str, normalization: str, steps: int, traced: bool) -> None:
    """Train two lanes that differ in seed and learning rate, and alone, if traced, each of them."""
    common = [*chosen("normalization", normalization), f"optimizer={optimizer}"]
    lr = settings(*common).optimizer.arguments["lr"]
    given = [settings(*common, f"seed={seed}", f"optimizer.lr={factor * lr:.9f}")
             for seed, factor in ((0, 1.0), (5, 0.4))]  # fmt: skip
    ours = SideBySide(given, traced).train(steps).trained()
    by_rounding = optimizer in SIGNS and normalization in CENTERING
    for at, each in list(enumerate(given))[0 if traced else 1 :]:
        theirs = alone(each, steps)
        assert theirs.losses[0] != theirs.losses[-1]
        assert_same(ours.lane(at), theirs, skip=bias_or_mean if by_rounding else None)


@pytest.mark.parametrize(("optimizer", "normalization"), QUICK, ids=map("-".join, QUICK))
def test_losses_and_statistics_are_those_of_a_solo_run(optimizer, normalization):
    hold(optimizer, normalization, STEPS, traced=False)


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "normalization"), PAIRS, ids=map("-".join, PAIRS))
def test_losses_stay_those_of_a_solo_run(optimizer, normalization):
    hold(optimizer, normalization, MANY, traced=True)


def test_every_pair_is_met():
    refused = len(GROUPS["optimizer"]) - len(OPTIMIZERS)
    assert refused == len({"backtracking", "lbfgs", "newton"})
    assert set(GROUPS["normalization"]) - set(NORMALIZATIONS) == {"full_data"}
    assert len(PAIRS) >= 18 * 8
    assert len(CASES) >= 40


@pytest.mark.parametrize(("group", "option"), CASES, ids=map("=".join, CASES))
def test_an_option_does_to_a_lane_what_it_does_to_a_solo_run(group, option):
    samples_apart = option == "jacobian"
    common = [*chosen(group, option), f"normalization={'layer' if samples_apart else 'batch'}"]
    given = [settings(*common, f"seed={seed}") for seed in (0, 1, 5)]
    ours = SideBySide(given).train(FEW).trained()
    for at, each in enumerate(given):
        assert_same(ours.lane(at), alone(each, FEW))


ELSEWHERE = {  # lanes that differ in what happens outside the step, or share something special
    "initializers": [["initializer=orthogonal"], ["initializer=normal"], ["initializer=lsuv"]],
    "schedules": [["schedule=cosine"], ["schedule=linear"], ["schedule=constant"]],
    "augmentation": [["augmentation=noise", f"seed={seed}"] for seed in (0, 3)],
    "a mixing augmentation": [["augmentation=mixup", f"seed={seed}"] for seed in (0, 3)],
    "draws with replacement": [["sampler=with_replacement", f"seed={seed}"] for seed in (0, 3)],
    "features drawn by the seed": [["architecture=random_fourier", f"seed={seed}"]
                                   for seed in (0, 3)],
    "centers among the rows": [["architecture=rbf", f"seed={seed}"] for seed in (0, 3)],
    "a residual network": [["dataset=digits", "dataset.subset=120", "architecture=resnet",
                            "normalization=batch", f"seed={seed}"] for seed in (0, 3)],
    "attention": [["dataset=digits", "dataset.subset=120", "architecture=vit", "dropout=inverted",
                   f"seed={seed}"] for seed in (0, 3)],
    "regression": [["dataset=diabetes", "loss=huber", f"loss.delta={each}"] for each in (0.5, 1.5)],
    "weights of classes": [["dataset.balance=3.0", f"seed={seed}"] for seed in (0, 3)],
    "an uneven last batch": [["trainer.drop_last=false", f"seed={seed}"] for seed in (0, 3)],
}  # fmt: skip


@pytest.mark.parametrize("case", ELSEWHERE)
def test_what_lies_outside_the_step_is_the_lanes_own(case):
    given = [settings(*each) for each in ELSEWHERE[case]]
    assert [(each.members, each.refusal) for each in groups(given)] == [([*range(len(given))], "")]
    ours = SideBySide(given).train(FEW).trained()
    for at, each in enumerate(given):
        assert_same(ours.lane(at), alone(each, FEW))


@pytest.mark.parametrize("option", GROUPS["metrics"])
def test_metrics_of_lanes_are_those_of_each(option):
    few = ["metrics.top_k.k=2"] if option == "top_k" else []
    metrics = assemble(settings(f"metrics={option}", *few)).metrics
    generator = torch.Generator().manual_seed(0)

    def outcome(rows: int) -> Outcome:
        outputs = torch.randn(3, rows, 3, generator=generator)
        return Outcome(torch.randn(3, generator=generator), outputs,
                       torch.randint(3, (3, rows), generator=generator))  # fmt: skip

    outcomes = [outcome(20), outcome(7)]
    for at, measured in enumerate(measure_lanes(outcomes, metrics)):
        own = [Outcome(*(each[at] for each in outcome)) for outcome in outcomes]
        assert measured == pytest.approx(measure(own, metrics)[0], rel=1e-6)


# ---- numbers ----------------------------------------------------------------------------------

BASES = {  # values at which a number matters in few steps, for those that are off or out of reach
    ("loss", "cross_entropy", "eps"): 0.05,
    ("loss", "cross_entropy", "alpha"): 0.1,
    ("optimizer", "lion", "lr"): 0.001,
    ("optimizer", "rprop", "largest"): 0.011,
    ("optimizer", "rprop_torch", "largest"): 0.011,
}
NUMBERED = ("averaging", "clipping", "dropout", "loss", "optimizer", "regularizer")
STRUCTURE = {("regularizer", "jacobian", "strength"): "it keeps its noise in an object"}


def has_float(kind: object) -> bool:
    return kind is float or any(has_float(each) for each in get_args(kind))


def numbers() -> list[tuple[str, str, str, int | None]]:
    """Return group, option, argument and place in a tuple of every number of these groups."""
    found: list[tuple[str, str, str, int | None]] = []
    for group in NUMBERED:
        for option in GROUPS[group]:
            content = node(group, option)
            own = content if "_target_" in content else next(iter(content.values()), None)
            if own is None or refusal(settings(f"{group}={option}")):
                continue
            for name, parameter in parameters_of(own["_target_"]).items():
                if has_float(parameter.annotation):
                    pair = isinstance(own[name], list)
                    found += [(group, option, name, at) for at in ((0, 1) if pair else (None,))]
    return found


ALL_NUMBERS = numbers()


def three(group: str, option: str, name: str, place: int | None) -> list[str]:
    """Return three values for one number, as overrides."""
    one = settings(*chosen(group, option))
    choice = getattr(one, group)
    own = next(iter(choice.values())) if isinstance(choice, dict) else choice
    value = BASES.get((group, option, name), own.arguments[name])
    if place is not None:
        pairs = [[*value[:place], 1 - factor * (1 - value[place]), *value[place + 1:]]
                 for factor in (1.0, 1.7, 3.0)]  # fmt: skip
        return [f"{own.key}.{name}={[round(each, 9) for each in pair]}" for pair in pairs]
    near_one = 0.5 < value < 1
    values = [1 - f * (1 - value) if near_one else f * value for f in (1.0, 1.2, 1.6)]
    return [f"{own.key}.{name}={each:.12f}" for each in values]


@pytest.mark.parametrize("number", ALL_NUMBERS, ids=lambda each: ".".join(map(str, each)))
def test_every_number_is_a_lanes_own_or_splits_groups(number):
    group, option, name, _ = number
    common = [*chosen(group, option)]
    given = [settings(*common, each) for each in three(*number)]
    found = groups(given)
    if (group, option, name) in STRUCTURE:
        assert [each.members for each in found] == [[0], [1], [2]]
        return
    assert [each.members for each in found] == [[0, 1, 2]]
    ours = SideBySide(given).train(SOME).trained()
    ends = [torch.cat([each[at].flatten() for each in ours.state.values()]) for at in range(3)]
    assert not torch.equal(ends[0], ends[1]), "the number matters"
    assert not torch.equal(ends[1], ends[2]), "the number matters"
    for at, each in enumerate(given):
        assert_same(ours.lane(at), alone(each, SOME))


def test_numbers_are_met():
    assert {(group, option, name) for group, option, name, _ in ALL_NUMBERS} >= set(STRUCTURE)
    assert len(ALL_NUMBERS) >= 60


SINGLE = [*(chosen("clipping", option) for option in GROUPS["clipping"]),
          chosen("loss", "huber"), chosen("loss", "hinge"), ["loss.alpha=0.1"],
          ["regularizer=elastic"], ["dropout=inverted"], ["averaging=ema"]]  # fmt: skip


class Widths(TorchDispatchMode):
    """Note how many numbers the largest tensor of float64 has."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor) and each.dtype is torch.float64:
                self.most = max(self.most, each.numel())
        return result


@pytest.mark.parametrize("overrides", SINGLE, ids=" ".join)
def test_numbers_in_double_precision_leave_tensors_in_single(overrides):
    given = [settings("precision=float32", *overrides, f"seed={seed}") for seed in (0, 1)]
    side = SideBySide(given).train(1)
    with Widths() as widths:
        side.train(1)
    assert 0 < widths.most < 20  # numbers of both lanes, and sums of whole tensors


@pytest.mark.parametrize("normalization", ["none", "batch"])
def test_mixed_precision_is_that_of_runs_alone(normalization):
    common = ["precision=bfloat16", f"normalization={normalization}"]
    given = [settings(*common, f"seed={seed}") for seed in (0, 1)]
    ours = SideBySide(given, traced=True).train(SOME).trained()
    for at, each in enumerate(given):
        theirs = alone(each, SOME)
        torch.testing.assert_close(ours.lane(at).losses, theirs.losses, rtol=0.03, atol=0.01)
