"""Initializers: `(weight, activation_gain, generator) -> None`, filling the weight in place.

A weight is (Dout, Din) or (Dout, Din, kernel ...); the fan-in is Din times the kernel's size.
`activation_gain` belongs to the activation that follows the layer, 1 / sqrt(E f(z)^2) with
z ~ N(0, 1), and is 1 where none follows.
"""

from __future__ import annotations

from math import sqrt
from typing import Literal

from torch import Generator, Tensor

from runner.foundation.ranges import NonNegative, Positive


def normal(
    weight: Tensor, activation_gain: float, generator: Generator, *, std: NonNegative
) -> None:
    """Draw from N(0, std^2)."""
    weight.normal_(0, std, generator=generator)


def xavier_fan_in(weight: Tensor, activation_gain: float, generator: Generator) -> None:
    """Draw from N(0, 1 / fan_in): the "Xavier" of three of the lectures (LeCun et al. 1998)."""
    weight.normal_(0, sqrt(1 / fans(weight)[0]), generator=generator)


def glorot_normal(weight: Tensor, activation_gain: float, generator: Generator) -> None:
    """Draw from N(0, 2 / (fan_in + fan_out)) (Glorot and Bengio 2010), torch's "xavier"."""
    weight.normal_(0, sqrt(2 / sum(fans(weight))), generator=generator)


def kaiming_normal(
    weight: Tensor,
    activation_gain: float,
    generator: Generator,
    *,
    gain: Positive | Literal["auto"],
) -> None:
    """Draw from N(0, gain^2 / fan_in); the gain of ReLU is sqrt 2 (He et al. 2015, eq. 10)."""
    scale = activation_gain if gain == "auto" else gain
    weight.normal_(0, scale / sqrt(fans(weight)[0]), generator=generator)


def fans(weight: Tensor) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a (Dout, Din, kernel ...) weight."""
    receptive = weight[0, 0].numel()
    return weight.shape[1] * receptive, weight.shape[0] * receptive
