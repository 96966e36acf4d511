"""The unit: a bare layer becomes a normalized, activated, dropped-out one."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from runner.components.normalization import Normalization
from runner.foundation.errors import Misconfigured, RunnerError

ModuleMaker = Callable[[], nn.Module]


class Brick(nn.Sequential):
    """A layer with what follows it; `gain` is that of its activation, for the initializer."""

    def __init__(self, parts: dict[str, nn.Module], gain: float):
        super().__init__(OrderedDict(parts))
        self.gain = gain


def brick(
    activation: ModuleMaker,
    normalization: Normalization,
    dropout: ModuleMaker,
    named: Callable[[str], ModuleMaker],
) -> Units:
    """Return `unit(layer, activation=None)`: layer, normalization, activation, dropout.

    Absent parts are left out; the normalization stands before or after the activation, in the
    units it names. `named` gives the activation that an architecture names for a single layer.
    """
    return Units(activation, normalization, dropout, named)


class Units:
    """Make units and count them, from 0."""

    def __init__(
        self,
        activation: ModuleMaker,
        normalization: Normalization,
        dropout: ModuleMaker,
        named: Callable[[str], ModuleMaker],
    ):
        self.activation, self.normalization = activation, normalization
        self.dropout, self.named = dropout, named
        self.count = 0
        self.gains: dict[str | None, float] = {}

    def __call__(self, layer: nn.Module, activation: str | None = None) -> nn.Module:
        """Return the unit of a layer, wider than the layer says where its activation is maxout."""
        make = self.activation if activation is None else self.named(activation)
        if activation not in self.gains:
            self.gains[activation] = activation_gain(make())
        active = make()
        wide = widened(layer, getattr(active, "pieces", 1))
        position = self.normalization.position
        norm = self._normalization(wide if position == "before" else layer)
        self.count += 1
        parts = {
            "layer": wide,
            **({"normalization": norm} if position == "before" else {}),
            "activation": active,
            **({"normalization": norm} if position == "after" else {}),
            "dropout": self.dropout(),
        }
        present = {name: part for name, part in parts.items() if type(part) is not nn.Identity}
        return Brick(present, self.gains[activation])

    def _normalization(self, layer: nn.Module) -> nn.Module:
        make, _, layers = self.normalization
        if layers != "all" and self.count not in layers:
            return nn.Identity()
        try:
            return make(layer)
        except RunnerError:
            raise
        except ValueError as error:
            raise Misconfigured(f"normalization: unit {self.count}, {layer}: {error}") from error

    def refuse_missing(self) -> None:
        """Raise `Misconfigured` if the normalization names a unit that was never made."""
        layers = self.normalization.layers
        missing = [number for number in layers if number not in range(self.count)]
        if layers != "all" and missing:
            units = f"units 0 to {self.count - 1}" if self.count else "no units"
            raise Misconfigured(
                f"normalization.layers: no unit {missing[0]}; the model has {units}"
            )


def widened(layer: nn.Module, pieces: int) -> nn.Module:
    """Return the layer, or one with `pieces` times its outputs, for an activation that needs it."""
    if pieces == 1:
        return layer
    if isinstance(layer, nn.Linear):
        bias = layer.bias is not None
        return nn.Linear(layer.in_features, pieces * layer.out_features, bias)
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        kind: Any = type(layer)
        return kind(
            layer.in_channels,
            pieces * layer.out_channels,
            layer.kernel_size,
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
            layer.bias is not None,
            layer.padding_mode,
        )
    raise ValueError(f"no activation of several pieces can stand behind a {type(layer).__name__}")


def _applied(activation: nn.Module, z: torch.Tensor) -> torch.Tensor:
    """Return f(z); raises ValueError for a module that is no function of single numbers."""
    try:
        values: torch.Tensor = activation(z[:, None])[:, 0]
    except (TypeError, RuntimeError) as error:
        name, reason = type(activation).__name__, str(error).partition("\n")[0]
        raise ValueError(f"{name} is no activation, a function of single numbers: {reason}") from (
            error
        )
    return values


def activation_gain(activation: nn.Module) -> float:
    """Return 1 / sqrt(E f(z)^2) for z ~ N(0, 1): what keeps the second moment through a layer.

    relu 1.4142, tanh 1.5925, gelu 1.5335. By the trapezoid rule on [-12, 12], where the density
    is negligible beyond; 1 for an activation that gives 0 everywhere. For the largest of k pieces
    f is the identity and z has the density of the maximum of k numbers, k phi(z) Phi(z)^(k-1).
    """
    z = torch.linspace(-12, 12, 240_001, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    pieces = getattr(activation, "pieces", 1)
    density = density * pieces * torch.special.ndtr(z) ** (pieces - 1)
    with torch.no_grad():
        values = z if pieces > 1 else _applied(activation.double(), z)
        moment = torch.trapezoid(values.square() * density, z)
    return 1 / math.sqrt(moment) if moment > 0 else 1.0
