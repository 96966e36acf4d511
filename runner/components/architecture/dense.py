"""Dense networks: one linear map, several of them, and the multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod
from typing import Annotated

from torch import nn

from runner.components.architecture.residual import Residual
from runner.components.architecture.unit import Unit
from runner.foundation.options import Option
from runner.foundation.ranges import Count


def linear(inputs: Sequence[int], outputs: int, unit: Unit, *, bias: bool) -> nn.Module:
    """Return f = W x + b, one template row of W for each class."""
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(inputs), outputs, bias))


def deep_linear(
    inputs: Sequence[int], outputs: int, unit: Unit, *, hidden: list[Count], bias: bool
) -> nn.Module:
    """Return linear layers without activation between them: W_n ... W_2 W_1 x, one linear map.

    The run's normalization and dropout stand between the layers, where it has any.
    """
    widths = _widths(inputs, hidden)
    units = [unit(nn.Linear(*ends, bias), "identity") for ends in pairwise(widths)]
    return nn.Sequential(nn.Flatten(), *units, nn.Linear(widths[-1], outputs, bias))


def mlp(
    inputs: Sequence[int],
    outputs: int,
    unit: Unit,
    *,
    hidden: list[Count],
    activations: list[Annotated[str, Option("activation")]] | None,
    residual: bool,
    bias: bool,
) -> nn.Module:
    """Return a multilayer perceptron: units of the `hidden` widths, then a linear layer.

    `activations` names one for each hidden layer; null takes the run's own everywhere. With
    `residual`, each two hidden layers of equal width are a block with a skip around it:
    x + f_2(f_1(x)), f_2 without activation unless one is named; where the width changes, the skip
    is a linear map W x.
    """
    widths = _widths(inputs, hidden)
    if residual:
        _refuse_unequal(hidden)
    names = _names(hidden, activations, residual)
    layers = [unit(nn.Linear(*ends, bias), name)
              for ends, name in zip(pairwise(widths), names, strict=True)]  # fmt: skip
    if residual:
        layers = _blocks(layers, widths)
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(widths[-1], outputs, bias))


def _widths(inputs: Sequence[int], hidden: list[int]) -> list[int]:
    if not hidden:
        raise ValueError(
            "hidden=[] leaves no hidden layer; name a width or more, such as "
            "architecture.hidden=[128], or write architecture=linear"
        )
    return [prod(inputs), *hidden]


def _names(
    hidden: list[int], activations: list[str] | None, residual: bool
) -> Sequence[str | None]:
    """Return the name of each hidden layer's activation, None for the run's own."""
    if activations is None:
        return [None, "identity"] * (len(hidden) // 2) if residual else [None] * len(hidden)
    if len(activations) != len(hidden):
        raise ValueError(
            f"activations names {len(activations)} for {len(hidden)} hidden layers; name one for "
            "each, or write architecture.activations=null for the run's own everywhere"
        )
    return activations


def _blocks(layers: list[nn.Module], widths: list[int]) -> list[nn.Module]:
    """Return residual blocks of two layers each."""
    hidden = widths[1:]
    return [
        Residual(
            nn.Sequential(*layers[at : at + 2]),
            nn.Identity() if widths[at] == width else nn.Linear(widths[at], width, bias=False),
        )
        for at, width in enumerate(hidden)
        if at % 2 == 0
    ]


def _refuse_unequal(hidden: list[int]) -> None:
    if len(hidden) % 2:
        raise ValueError(
            f"residual blocks are of two layers each, and hidden has {len(hidden)}; name an even "
            "number of widths, or write architecture.residual=false"
        )
    for at in range(0, len(hidden), 2):
        if hidden[at] != hidden[at + 1]:
            raise ValueError(
                f"a residual block has two layers of equal width; layers {at + 1} and {at + 2} of "
                f"hidden are {hidden[at]} and {hidden[at + 1]} wide"
            )
