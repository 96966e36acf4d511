"""The unit: a bare layer becomes a normalized, activated, dropped-out one."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn

ModuleMaker = Callable[[], nn.Module]


class Brick(nn.Sequential):
    """A layer with what follows it; `gain` is that of its activation, for the initializer."""

    def __init__(self, parts: dict[str, nn.Module], gain: float):
        super().__init__(OrderedDict(parts))
        self.gain = gain


def brick(
    activation: ModuleMaker, normalization: Callable[[nn.Module], nn.Module], dropout: ModuleMaker
) -> Callable[[nn.Module], nn.Module]:
    """Return `unit(layer)`: layer, normalization, activation, dropout; absent parts left out."""
    gain = activation_gain(activation())

    def unit(layer: nn.Module) -> nn.Module:
        parts = {
            "layer": layer,
            "normalization": normalization(layer),
            "activation": activation(),
            "dropout": dropout(),
        }
        present = {name: part for name, part in parts.items() if type(part) is not nn.Identity}
        return Brick(present, gain)

    return unit


def activation_gain(activation: nn.Module) -> float:
    """Return 1 / sqrt(E f(z)^2) for z ~ N(0, 1): what keeps the second moment through a layer.

    relu 1.4142, tanh 1.5925, gelu 1.5335. By the trapezoid rule on [-12, 12], where the density
    is negligible beyond; 1 for an activation that gives 0 everywhere.
    """
    z = torch.linspace(-12, 12, 240_001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    with torch.no_grad():
        moment = torch.trapezoid(activation.double()(z[:, None])[:, 0].square() * density, z)
    return 1 / math.sqrt(moment) if moment > 0 else 1.0
