"""Every activation x initializer x normalization x position, on an mlp and a cnn, takes a step.

Or it is refused by a rule that stands in the table below. Run with -s to see both counts.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from runner.assemble.initialize import initialize
from runner.assemble.model import named
from runner.assemble.unit import brick
from runner.components.initializer import Trial
from runner.config import build, check_node, maker
from runner.foundation import options, rng
from runner.foundation.errors import Misconfigured
from runner.training.evaluation import evaluating

GROUPS = options.groups([options.own_folder()])
ARCHITECTURES = {
    "mlp": ((6,), {"hidden": [8, 8]}),
    "cnn": ((1, 8, 8), {"channels": [4, 8]}),
}
ROWS, CLASSES = 12, 3

# A rule: which combinations it refuses, and what it says.
RULES = {
    "fixup needs residual branches": (
        lambda architecture, activation, initializer, normalization: initializer == "fixup",
        r"fixup",
    ),
    "instance norm of a flat layer is constant 0": (
        lambda architecture, activation, initializer, normalization: (
            architecture == "mlp" and normalization == "instance"
        ),
        r"constant 0",
    ),
}


def node(group, option, **changes):
    return check_node(options.node(group, option) | changes, group, group)


def rows(shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(ROWS, *shape, generator=generator), torch.arange(ROWS) % CLASSES


def minimized(model, x, y):
    return F.cross_entropy(model(x), y)


def assembled(architecture, activation, initializer, normalization):
    """Return a model as a run assembles it, with batches of 12 rows."""
    shape, sizes = ARCHITECTURES[architecture]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        unit = brick(maker(activation), build(normalization), nn.Identity, named)
        model = build(node("architecture", architecture, **sizes), shape, CLASSES, unit)
    x, y = rows(shape)
    with evaluating(model, gradients=True):
        initialize(model, build(initializer), rng.generator(0, "any"), Trial(x, y, minimized))
    return model.train(), x, y


def collect(model, x):
    """Show the whole data to layers that normalize by it, as a training step does."""
    for layer in (each for each in model.modules() if hasattr(each, "collecting")):
        layer.collecting = True
    with torch.no_grad():
        model(x)
    for layer in (each for each in model.modules() if hasattr(each, "collecting")):
        layer.collecting = False


def step(model, x, y):
    collect(model, x)
    parameters = list(model.parameters())
    loss = minimized(model, x, y)
    gradients = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter -= 1e-3 * gradient
        return torch.stack([loss, minimized(model, x, y)])


@pytest.mark.slow
@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("normalization", GROUPS["normalization"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_combination_takes_a_step_or_is_refused_by_a_rule(
    architecture, normalization, position
):
    counted: Counter[str] = Counter()
    torch.set_num_threads(1)
    placed = node("normalization", normalization, position=position)
    activations = {option: node("activation", option) for option in GROUPS["activation"]}
    initializers = {option: node("initializer", option) for option in GROUPS["initializer"]}
    for activation, initializer in product(activations, initializers):
        combination = architecture, activation, initializer, normalization
        refusing = [message for refuses, message in RULES.values() if refuses(*combination)]
        attempt = partial(
            assembled, architecture, activations[activation], initializers[initializer], placed
        )
        if refusing:
            with pytest.raises((Misconfigured, ValueError)) as caught:
                attempt()
            assert any(re.search(message, str(caught.value)) for message in refusing), combination
        else:
            assert step(*attempt()).isfinite().all(), combination
        counted["refused" if refusing else "trained"] += 1
    assert sum(counted.values()) == len(activations) * len(initializers) >= 200
    print(f"\n{architecture} {normalization} {position}: {dict(counted)}", end="")
