"""Output functions: what stands behind the model's last layer, and how it is read.

A factory gives `Output(make, gives, logits)`. Metrics read logits, so each output function says
how to get back to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn


class Output(NamedTuple):
    """An output function.

    make    () -> the module behind the model
    gives   "scores", or "probabilities" between 0 and 1
    logits  what the model gives (B, C) -> logits (B, C) whose softmax are the shares of the
            classes, or of one column (B, 1) the log odds of the second class
    """

    make: Callable[[], nn.Module]
    gives: Literal["scores", "probabilities"]
    logits: Callable[[Tensor], Tensor]


def identity() -> Output:
    """Give the scores as they are, unbounded: z."""
    return Output(nn.Identity, "scores", lambda scores: scores)


def sigmoid() -> Output:
    """Give a probability for each column: 1 / (1 + e^-z)."""
    return Output(nn.Sigmoid, "probabilities", _logits)


def sine() -> Output:
    """Give a probability for each column: (sin z + 1) / 2."""
    return Output(Sine, "probabilities", _logits)


def softmax() -> Output:
    """Give the probabilities of the classes, which add up to 1: e^z_k / sum_j e^z_j."""
    return Output(Softmax, "probabilities", _logits)


class Sine(nn.Module):
    """Map scores to [0, 1] by (sin z + 1) / 2."""

    def forward(self, z: Tensor) -> Tensor:
        """Return the probabilities, shaped like z."""
        return (z.sin() + 1) / 2


class Softmax(nn.Module):
    """Map scores (B, C) to shares that add up to 1."""

    def forward(self, z: Tensor) -> Tensor:
        """Return the shares; a ValueError for a single column, whose share is always 1."""
        if z.shape[1] == 1:
            raise ValueError("softmax of one column is always 1; use output=sigmoid")
        return z.softmax(1)


def _logits(probabilities: Tensor) -> Tensor:
    """Return log p, or log p / (1 - p) for one column; p is kept off 0 and 1."""
    numbers = torch.finfo(probabilities.dtype)
    if probabilities.shape[1] == 1:
        return probabilities.logit(eps=numbers.eps)
    return probabilities.clamp(min=numbers.tiny).log()
