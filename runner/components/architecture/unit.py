"""What an architecture is given: a maker of units, and words for shapes in its messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import nn


class Unit(Protocol):
    """Put normalization, activation and dropout behind a layer.

    `activation` names an option of `conf/activation` for this layer, in place of the run's own.
    What comes back may hold a wider layer (maxout), so its width is never read off.
    """

    def __call__(self, layer: nn.Module, activation: str | None = None) -> nn.Module:
        """Return the unit of a bare layer."""


def times(sizes: Sequence[int]) -> str:
    """Return sizes as one writes them: 28 x 28."""
    return " x ".join(map(str, sizes))


def divisors(*numbers: int) -> list[int]:
    """Return the whole numbers that divide all of these."""
    return [each for each in range(1, min(numbers) + 1) if not any(n % each for n in numbers)]
