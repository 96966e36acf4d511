"""Normalizations of each sample by itself: the same in training and at test.

Scale and shift are learned for each feature or channel.
"""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runner.components.normalization.kind import in_rows, is_flat, normalization, width
from runner.foundation.ranges import Count, Positive


@normalization
def layer(layer: nn.Module, *, eps: Positive) -> nn.Module:
    """Standardize each sample over its features, or over its channels and image (Ba et al. 2016).

    Raises `ValueError` for a layer of one feature, which it would turn into a constant.
    """
    return GroupNorm(layer, 1, eps)


@normalization
def group(layer: nn.Module, *, groups: Count, eps: Positive) -> nn.Module:
    """Standardize each sample over each group of features, or of channels with their image.

    Wu and He 2018. Raises `ValueError` unless the groups divide the features, and for groups of
    a single number, which it would turn into a constant.
    """
    features = width(layer)
    if features % groups:
        fitting = [each for each in range(1, features + 1) if features % each == 0]
        if is_flat(layer):
            fitting = fitting[:-1]
        raise ValueError(
            f"{groups} groups do not divide {features} features; "
            f"normalization.groups may be {', '.join(map(str, fitting))}"
        )
    return GroupNorm(layer, groups, eps)


@normalization
def instance(layer: nn.Module, *, eps: Positive) -> nn.Module:
    """Standardize each channel of each sample over its image (Ulyanov et al. 2016).

    Raises `ValueError` for a flat layer, which has a single number for each feature and sample.
    """
    return GroupNorm(layer, width(layer), eps)


@normalization
def rms(layer: nn.Module, *, eps: Positive) -> nn.Module:
    """Divide each sample by its root mean square: gamma z / sqrt(mean z^2 + eps).

    The mean runs over features, or channels and image; nothing is subtracted (Zhang and Sennrich
    2019).
    """
    return RMSNorm(layer, eps)


class GroupNorm(nn.Module):
    """Group normalization of (B, ..., D) or (B, D, ...) that refuses groups of a single number."""

    def __init__(self, layer: nn.Module, groups: int, eps: float):
        super().__init__()
        features, self.flat = width(layer), is_flat(layer)
        self.groups, self.eps = groups, eps
        if self.flat:
            self._refuse_single(features)
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))

    def forward(self, x: Tensor) -> Tensor:
        """Standardize each group of each sample."""
        rows = in_rows(x, self.flat)
        self._refuse_single(prod(rows.shape[1:]))
        normal = F.group_norm(rows, self.groups, self.weight, self.bias, self.eps)
        return normal.reshape(x.shape)

    def _refuse_single(self, numbers: int) -> None:
        if numbers == self.groups:
            raise ValueError(
                f"groups of a single number ({self.groups} of {numbers}): the output would be "
                "constant 0; use fewer groups or another normalization, such as batch"
            )

    def extra_repr(self) -> str:
        """Return the settings for `print(model)`."""
        return f"{self.weight.numel()}, groups={self.groups}, eps={self.eps}"


class RMSNorm(nn.Module):
    """Root mean square normalization of (B, ..., D), or of (B, D, ...) over all but B."""

    def __init__(self, layer: nn.Module, eps: float):
        super().__init__()
        self.flat, self.eps = is_flat(layer), eps
        self.weight = nn.Parameter(torch.ones(width(layer)))

    def forward(self, x: Tensor) -> Tensor:
        """Divide each sample by its root mean square."""
        axes = self.weight.shape if self.flat else x.shape[1:]
        scale = self.weight if self.flat else self.weight.reshape(-1, *[1] * (x.dim() - 2))
        return F.rms_norm(x, axes, eps=self.eps) * scale.to(x.dtype)

    def extra_repr(self) -> str:
        """Return the settings for `print(model)`."""
        return f"{self.weight.numel()}, eps={self.eps}"
