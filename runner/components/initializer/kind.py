"""What an initializer is: how one weight is filled, the biases, and rules for whole models."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Generator, Tensor, nn

from runner.foundation.ranges import Finite
from runner.foundation.signatures import extended

Fill = Callable[[Tensor, float, Generator], None]
FillBias = Callable[[Tensor, Tensor, Generator], None]


class Trial(NamedTuple):
    """A batch of preprocessed training rows, and the training objective of a batch."""

    x: Tensor
    y: Tensor
    minimized: Callable[[nn.Module, Tensor, Tensor], Tensor]


class Initializer(NamedTuple):
    """How a model starts.

    fill    (weight, activation_gain, generator) -> None, in place on a float64 tensor of the CPU
    bias    what biases start from: a number, or (bias, weight, generator) -> None, in place
    adjust  (model, trial, generator) -> None, a rule for the whole model, after filling
    starts  how often the model is filled; the start of the lowest objective on the trial is kept
    """

    fill: Fill
    bias: float | FillBias = 0.0
    adjust: Callable[[nn.Module, Trial, Generator], None] | None = None
    starts: int = 1


def initializer(fill: Callable[..., None]) -> Callable[..., Initializer]:
    """Turn `(weight, activation_gain, generator, *, ...)` into a factory that also takes `bias`."""

    def factory(*, bias: Finite, **arguments: Any) -> Initializer:
        return Initializer(functools.partial(fill, **arguments), bias)

    return extended(factory, fill, bias=Finite)
