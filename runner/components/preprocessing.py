"""Preprocessing, fitted on the training rows alone.

A factory takes the training inputs x (N, ...) and, for regression, the training targets y (N, C)
(None for classes), and gives `Fitted(inputs, targets)`, each an `(apply, invert)` pair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor


class Transform(NamedTuple):
    """A map and its inverse, each for any number of rows."""

    apply: Callable[[Tensor], Tensor]
    invert: Callable[[Tensor], Tensor]


class Fitted(NamedTuple):
    """What a preprocessing learned from the training rows."""

    inputs: Transform
    targets: Transform
    warnings: tuple[str, ...] = ()


def _identity(x: Tensor) -> Tensor:
    return x


IDENTITY = Transform(_identity, _identity)


def none(x: Tensor, y: Tensor | None) -> Fitted:
    """Leave inputs and targets in the data's own units."""
    return Fitted(IDENTITY, IDENTITY)


def standardize(
    x: Tensor, y: Tensor | None, *, per: Literal["auto", "feature", "channel"], targets: bool
) -> Fitted:
    """Give zero mean and unit standard deviation: (x - mu) / sigma, sigma with ddof 0.

    `per: feature` takes statistics over the rows; `channel` over rows and image, for
    (N, channels, H, W); `auto` takes channels for images, whose border pixels hardly vary, and
    features for tables. A column that does not vary is only centred. With `targets`, regression
    targets are standardized too, and metrics are given in the data's own units.
    """
    image = x.dim() == 4
    if per == "channel" and not image:
        raise ValueError(f"per=channel needs images, got rows of {(*x.shape[1:],)}")
    inputs, constant = _standardization(x, per_channel=image and per != "feature")
    warnings = (f"{constant} of the inputs do not vary; they are centred, not scaled",)
    y_transform = IDENTITY if y is None or not targets else _standardization(y, False)[0]
    return Fitted(inputs, y_transform, warnings if constant else ())


def _standardization(x: Tensor, per_channel: bool) -> tuple[Transform, int]:
    """Return the transform and the number of columns whose standard deviation is 0."""
    over = (0, 2, 3) if per_channel else (0,)
    std, mean = torch.std_mean(x.double(), over, correction=0, keepdim=True)
    constant = std <= 1e-12 * mean.abs()  # rounding leaves a speck where values are all alike
    scale = torch.where(constant, 1.0, std).to(x.dtype)
    mean = mean.to(x.dtype)
    transform = Transform(lambda x: (x - mean) / scale, lambda x: x * scale + mean)
    return transform, int(constant.sum())
