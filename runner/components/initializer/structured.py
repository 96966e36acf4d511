"""Weights of a given form: all equal, the identity, an orthogonal matrix."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from runner.components.initializer.kind import initializer
from runner.foundation.ranges import Finite, Positive


@initializer
def zeros(weight: Tensor, activation_gain: float, generator: Generator) -> None:
    """Set all weights to 0: the gradient of every layer but the last is 0 too."""
    weight.zero_()


@initializer
def constant(
    weight: Tensor, activation_gain: float, generator: Generator, *, value: Finite
) -> None:
    """Set all weights to one value: the units of a layer stay equal for ever."""
    weight.fill_(value)


@initializer
def identity(weight: Tensor, activation_gain: float, generator: Generator) -> None:
    """Pass feature i on to feature i, W_ii = 1; a convolution does so at its kernel's center."""
    weight.zero_()
    center = tuple(side // 2 for side in weight.shape[2:])
    for feature in range(min(weight.shape[:2])):
        weight[(feature, feature, *center)] = 1


@initializer
def orthogonal(
    weight: Tensor,
    activation_gain: float,
    generator: Generator,
    *,
    gain: Positive | Literal["auto"],
) -> None:
    """Draw a matrix of orthonormal rows or columns, whichever are fewer, times the gain.

    U V^T of the singular value decomposition of a Gaussian matrix: its singular values are set
    to 1 (Saxe et al. 2013). A convolution's weight is the matrix (Dout, Din * kernel).
    """
    draw_orthogonal(weight, generator)
    weight.mul_(activation_gain if gain == "auto" else gain)


def draw_orthogonal(weight: Tensor, generator: Generator) -> None:
    """Fill with a random matrix whose singular values are all 1."""
    matrix = torch.empty_like(weight.flatten(1)).normal_(generator=generator)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    weight.copy_((left @ right).reshape(weight.shape))
