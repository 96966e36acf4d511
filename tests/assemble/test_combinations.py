"""Every activation x initializer x normalization x position, on an mlp and a cnn, takes a step.

Or it is refused by a rule that stands in the table below. Run with -s to see both counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from itertools import product
from math import prod
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from runner.assemble.initialize import initialize
from runner.assemble.model import named
from runner.assemble.unit import activation_gain, brick
from runner.components.initializer import Trial
from runner.config import build, check_node, maker
from runner.foundation import options, rng
from runner.foundation.errors import Misconfigured
from runner.training.evaluation import evaluating
from runner.training.step import collecting

GROUPS = options.groups([options.own_folder()])
ARCHITECTURES = {
    "mlp": ((6,), {"hidden": [16, 16]}),
    "cnn": ((1, 8, 8), {"channels": [8, 16]}),
}
POSITIONS = ("before", "after")
ROWS, CLASSES = 12, 3


class Combination(NamedTuple):
    """The names of five choices."""

    architecture: str
    normalization: str
    position: str
    activation: str
    initializer: str


class Rule(NamedTuple):
    """Which combinations are refused, and with what words."""

    refuses: Callable[[Combination], bool]
    message: str


RULES = {
    "instance norm of a flat layer is constant 0": Rule(
        lambda of: of.architecture == "mlp" and of.normalization == "instance",
        r"groups of a single number .* constant 0; use fewer groups or another normalization",
    ),
    "weight norm acts on weights and has no place": Rule(
        lambda of: of.normalization == "weight" and of.position == "after",
        r"stands nowhere; leave normalization\.position=before",
    ),
    "weight norm divides by the length of rows": Rule(  # both layers are wider than their input
        lambda of: of.normalization == "weight" and of.initializer in ("zeros", "identity"),
        r"a row of zeros; use normalization=none or another initializer",
    ),
    "fixup shrinks residual branches": Rule(
        lambda of: of.initializer == "fixup",
        r"no residual branches; use architecture=resnet or another initializer",
    ),
    "no gradient that could be balanced passes a sign": Rule(
        lambda of: of.initializer == "data_dependent" and of.activation == "sign",
        r"no gradient reaches the layer .* use another activation, initializer\.rounds=0",
    ),
}


def combinations(*places: tuple[str, str, str]) -> list[Combination]:
    """Return all of an architecture with a normalization in its position."""
    choices = product(GROUPS["activation"], GROUPS["initializer"])
    return [Combination(*place, *each) for place, each in product(places, choices)]


PLACES = list(product(ARCHITECTURES, GROUPS["normalization"], POSITIONS))


def refusing(combination: Combination) -> list[str]:
    return [rule for rule, (refuses, _) in RULES.items() if refuses(combination)]


@cache
def node(group, option, position=None):
    changes = {} if position is None else {"position": position}
    if group == "architecture":
        changes = ARCHITECTURES[option][1]
    return check_node(options.node(group, option) | changes, group, group)


@cache
def gain(activation):
    return activation_gain(build(node("activation", activation)))


@cache
def rows(architecture):
    generator = torch.Generator().manual_seed(0)
    shape, _ = ARCHITECTURES[architecture]
    return torch.randn(ROWS, *shape, generator=generator), torch.arange(ROWS) % CLASSES


def minimized(model, x, y):
    return F.cross_entropy(model(x), y)


def assembled(of: Combination):
    """Return a model as a run assembles it; only the gain is not computed anew each time."""
    x, y = rows(of.architecture)
    norm = build(node("normalization", of.normalization, of.position))
    unit = brick(maker(node("activation", of.activation)), norm, nn.Identity, named)
    unit.gains[None] = gain(of.activation)
    model = build(node("architecture", of.architecture), tuple(x.shape[1:]), CLASSES, unit)
    initializer = build(node("initializer", of.initializer))
    with evaluating(model, gradients=True):
        initialize(model, initializer, rng.generator(0, "any"), Trial(x, y, minimized))
    return model.train()


def losses(model, x, y):
    """Take a step of gradient descent; return the loss before and after it."""
    collecting(model, x)()
    parameters = list(model.parameters())
    before = minimized(model, x, y)
    gradients = torch.autograd.grad(before, parameters)
    with torch.no_grad():
        torch._foreach_sub_(parameters, gradients, alpha=1e-3)
        return torch.stack([before, minimized(model, x, y)])


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "normalization", "position"), PLACES)
def test_every_combination_takes_a_step_or_is_refused_by_a_rule(
    architecture, normalization, position
):
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # constructors draw before initializers do
        for combination in combinations((architecture, normalization, position)):
            rules = refusing(combination)
            if not rules:
                taken = losses(assembled(combination), *rows(architecture))
                assert taken.isfinite().all(), combination
                continue
            with pytest.raises((Misconfigured, ValueError)) as caught:
                assembled(combination)
            said = [rule for rule in rules if re.search(RULES[rule].message, str(caught.value))]
            assert said, (combination, str(caught.value))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_refuses_what_no_other_does(rule):
    alone = [each for each in combinations(*PLACES) if refusing(each) == [rule]]
    assert alone  # and the test above hears its words there


def test_both_counts():
    everything = combinations(*PLACES)
    groups = ("activation", "initializer", "normalization")
    sizes = [len(ARCHITECTURES), len(POSITIONS), *(len(GROUPS[group]) for group in groups)]
    assert len(everything) == len(set(everything)) == prod(sizes) >= 10_000
    refused = sum(bool(refusing(each)) for each in everything)
    print(f"\n{len(everything)} combinations: {len(everything) - refused} train, {refused} refused")
