"""Fixed features, then a linear layer: f = W phi(x) + b, linear in what is learned.

What a feature map draws is a buffer, part of the model but not of what is trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from runner.components.architecture.unit import Unit
from runner.foundation.ranges import Count, Positive


def polynomial(
    inputs: Sequence[int], outputs: int, unit: Unit, *, degree: Count, bias: bool
) -> nn.Module:
    """Return w_1 x + w_2 x^2 + ... + w_degree x^degree + b of a single input."""
    if prod(inputs) != 1:
        raise ValueError(
            f"powers are of a single input, and a sample has {prod(inputs)}; "
            "architecture=quadratic takes any number"
        )
    return nn.Sequential(nn.Flatten(), Powers(degree), nn.Linear(degree, outputs, bias))


def quadratic(inputs: Sequence[int], outputs: int, unit: Unit, *, bias: bool) -> nn.Module:
    """Return a linear layer on all x_i and all products x_i x_j, i <= j."""
    width = prod(inputs)
    features = width + width * (width + 1) // 2
    return nn.Sequential(nn.Flatten(), Products(width), nn.Linear(features, outputs, bias))


def random_fourier(
    inputs: Sequence[int],
    outputs: int,
    unit: Unit,
    *,
    features: Count,
    scale: Positive,
    bias: bool,
) -> nn.Module:
    """Return a linear layer on random cosines: a kernel machine (Rahimi and Recht 2007).

    The mean of phi_k(x) phi_k(y) over the features approaches exp(-|x - y|^2 / (2 D scale^2)) as
    they grow in number. D is the number of inputs: with standardized inputs |x - y|^2 grows as D
    does, so that one scale suits many data sets.
    """
    width = prod(inputs)
    cosines = Cosines(width, features, scale * math.sqrt(width))
    return nn.Sequential(nn.Flatten(), cosines, nn.Linear(features, outputs, bias))


def rbf(
    inputs: Sequence[int],
    outputs: int,
    unit: Unit,
    *,
    features: Count,
    scale: Positive,
    bias: bool,
) -> nn.Module:
    """Return a linear layer on bells exp(-|x - c_k|^2 / (2 D scale^2)).

    The centers c_k are drawn from N(0, I), where standardized inputs lie; D is the number of
    inputs.
    """
    width = prod(inputs)
    bells = Bells(width, features, scale * math.sqrt(width))
    return nn.Sequential(nn.Flatten(), bells, nn.Linear(features, outputs, bias))


class Powers(nn.Module):
    """Map (B, 1) to its powers 1 to `degree`: (B, degree)."""

    def __init__(self, degree: int):
        super().__init__()
        self.degree = degree

    def forward(self, x: Tensor) -> Tensor:
        """Return the powers, side by side."""
        return torch.cat([x**power for power in range(1, self.degree + 1)], -1)

    def extra_repr(self) -> str:
        """Return the settings for `print(model)`."""
        return f"degree={self.degree}"


class Products(nn.Module):
    """Map (B, D) to (B, D + D (D + 1) / 2): the inputs and their products."""

    rows: Tensor
    columns: Tensor

    def __init__(self, width: int):
        super().__init__()
        rows, columns = torch.triu_indices(width, width)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x_i for all i, then x_i x_j for all i <= j."""
        return torch.cat([x, x[:, self.rows] * x[:, self.columns]], -1)


class Cosines(nn.Module):
    """Map (B, D) to sqrt(2) cos(F x + p): (B, m), F ~ N(0, 1 / scale^2), p ~ U(0, 2 pi).

    Each feature has a mean square of 1, as standardized inputs have.
    """

    frequencies: Tensor
    phases: Tensor

    def __init__(self, width: int, features: int, scale: float):
        super().__init__()
        self.register_buffer("frequencies", torch.randn(features, width) / scale)
        self.register_buffer("phases", torch.rand(features) * 2 * math.pi)

    def forward(self, x: Tensor) -> Tensor:
        """Return the cosines."""
        return math.sqrt(2) * torch.cos(nn.functional.linear(x, self.frequencies, self.phases))

    def extra_repr(self) -> str:
        """Return the settings for `print(model)`."""
        return "{1} -> {0}".format(*self.frequencies.shape)


class Bells(nn.Module):
    """Map (B, D) to exp(-|x - c|^2 / (2 scale^2)) for m centers c ~ N(0, I): (B, m)."""

    centers: Tensor

    def __init__(self, width: int, features: int, scale: float):
        super().__init__()
        self.scale = scale
        self.register_buffer("centers", torch.randn(features, width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the bells, |x - c|^2 multiplied out so that no (B, m, D) is held."""
        lengths = x.square().sum(-1, keepdim=True) + self.centers.square().sum(-1)  # (B, m)
        squares = lengths - 2 * nn.functional.linear(x, self.centers)
        return torch.exp(-squares / (2 * self.scale**2))

    def extra_repr(self) -> str:
        """Return the settings for `print(model)`."""
        return "{1} -> {0}, scale={2:g}".format(*self.centers.shape, self.scale)
