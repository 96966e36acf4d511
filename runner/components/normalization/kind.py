"""What a normalization is, and what all of them read off the layer they are made for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from runner.foundation.ranges import Natural
from runner.foundation.signatures import extended

Position = Literal["before", "after"]
Layers = Literal["all"] | list[Natural]


class Normalization(NamedTuple):
    """A normalization and where it stands.

    make      layer -> module to put behind it, made for the layer's width
    position  before or after the activation
    layers    "all", or the numbers of the units that have it, from 0 in order of construction
    """

    make: Callable[[nn.Module], nn.Module]
    position: Position = "before"
    layers: Layers = "all"


def normalization(make: Callable[..., nn.Module]) -> Callable[..., Normalization]:
    """Turn `(layer, *, ...) -> module` into a factory that also takes `position` and `layers`."""

    def factory(*, position: Position, layers: Layers, **arguments: Any) -> Normalization:
        return Normalization(functools.partial(make, **arguments), position, layers)

    return extended(factory, make, position=Position, layers=Layers)


def width(layer: nn.Module) -> int:
    """Return how many features or channels the layer gives."""
    found = getattr(layer, "out_features", None) or getattr(layer, "out_channels", None)
    if not isinstance(found, int):
        raise ValueError(f"cannot normalize behind a {type(layer).__name__} layer")
    return found


def is_flat(layer: nn.Module) -> bool:
    """Tell whether the layer's features stand last, (B, ..., D), and not in (B, D, ...)."""
    return isinstance(layer, nn.Linear)


def in_rows(x: Tensor, flat: bool) -> Tensor:
    """Return (B, ..., D) as rows (B ..., D) if the features stand last, (B, D, ...) as it is."""
    return x.flatten(0, -2) if flat else x
