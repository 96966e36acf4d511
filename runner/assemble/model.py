"""From settings to an initialized model: construction, output function, initialization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from runner.assemble.initialize import initialize
from runner.assemble.settings import Settings
from runner.assemble.unit import ModuleMaker, brick
from runner.components.initializer import Trial
from runner.config import Node, build, check_node, maker
from runner.foundation import options, rng
from runner.foundation.errors import naming


def construct(settings: Settings, inputs: Sequence[int], outputs: int, last: nn.Module) -> Any:
    """Build the model on the CPU, leaving the global generator untouched; count its units.

    `last` is the output function, put behind the network unless it is the identity.
    """
    with torch.random.fork_rng(devices=[]), naming("architecture"):
        torch.default_generator.manual_seed(rng.derive(settings.seed, "construction"))
        unit = brick(
            maker(settings.activation),
            build(settings.normalization),
            maker(settings.dropout),
            named,
        )
        network: nn.Module = build(settings.architecture, tuple(inputs), outputs, unit)
        unit.refuse_missing()
    model = network if isinstance(last, nn.Identity) else nn.Sequential(network, last)
    return model, unit.count


def named(activation: str) -> ModuleMaker:
    """Return the maker of an activation that an architecture names for one of its layers."""
    return maker(activation_node(activation))


def activation_node(option: str) -> Node:
    """Check an option of `conf/activation` as it stands in its file."""
    return check_node(options.node("activation", option), f"activation={option}", "activation")


def fill(
    settings: Settings,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    minimized: Callable[[nn.Module, Tensor, Tensor], Tensor],
) -> None:
    """Initialize the model; a batch of training rows serves rules that go by the data."""
    generator = rng.generator(settings.seed, "initialization")
    with naming("initializer"):
        initialize(model, build(settings.initializer), generator, Trial(x, y, minimized))
