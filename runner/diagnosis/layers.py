"""The layers of a network that are looked at: those with weights, each with its activation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

WEIGHTED = (nn.Linear, nn.modules.conv._ConvNd)
REACH = 10.0  # where an activation has reached its tails
FLAT = 0.02  # of the largest slope: tanh beyond +-0.99


class Layer(NamedTuple):
    """A layer with weights, and the activation of its unit if it has one."""

    name: str
    layer: nn.Module
    activation: nn.Module | None

    @property
    def weight(self) -> Tensor:
        """Return its weights, units first."""
        weight = self.layer.weight
        assert isinstance(weight, Tensor), "such are the layers that are looked at"
        return weight

    @property
    def axis(self) -> int:
        """Return the axis of its units: features stand last, channels second."""
        return -1 if isinstance(self.layer, nn.Linear) else 1


def layers(model: nn.Module) -> list[Layer]:
    """Return the layers of a model in the order of construction."""
    return list(_layers(model))


def _layers(model: nn.Module) -> Iterator[Layer]:
    inside: set[nn.Module] = set()
    for name, module in model.named_modules():
        parts = dict(module.named_children())
        if isinstance(parts.get("layer"), WEIGHTED):  # a unit
            layer = parts["layer"]
            inside.add(layer)
            yield Layer(name or "layer", layer, parts.get("activation"))
        elif isinstance(module, WEIGHTED) and module not in inside:
            yield Layer(name, module, None)


class Tails(NamedTuple):
    """What an activation is like far from 0: its largest slope, and which tails are flat."""

    slope: float
    left: bool
    right: bool

    @property
    def squashes(self) -> bool:
        """Tell whether both tails are flat, so that a unit can saturate."""
        return self.left and self.right

    @property
    def rectifies(self) -> bool:
        """Tell whether one tail is flat, so that a unit can be off."""
        return self.left and not self.right


def tails(activation: nn.Module) -> Tails:
    """Find out by its slopes on [-10, 10]; what does not go element by element has none."""
    z = torch.linspace(-REACH, REACH, 401)[:, None]
    if (parameter := next(activation.parameters(), None)) is not None:
        z = z.to(parameter)
    found = slopes(activation, z)
    if found is None:
        return Tails(1.0, False, False)
    largest = float(found.abs().max()) or 1.0
    left, right = (bool(found[at].abs() < FLAT * largest) for at in (0, -1))
    return Tails(largest, left, right)


def slopes(activation: nn.Module, z: Tensor) -> Tensor | None:
    """Return f'(z) element by element, or None where f is no function of single numbers."""
    with torch.enable_grad():
        given = z.detach().requires_grad_()
        try:
            a = activation(given)
            if a.shape != z.shape:
                return None
            if not a.requires_grad:  # constant, or cut from the graph
                return torch.zeros_like(z)
            return torch.autograd.grad(a.sum(), given)[0]
        except (RuntimeError, IndexError, ValueError):
            return None
