"""Augmentations that cut out a box: a rectangle of an image, a stretch of a signal."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from runner.components.augmentation.kind import Augmentation, need_positions, need_rows, uniform
from runner.components.augmentation.mixing import beta, mixed
from runner.foundation.ranges import Fraction, Positive


def occlusion(*, share: Fraction, fill: Literal["zero", "mean"]) -> Augmentation:
    """Hide a box with `share` of the area, its centre anywhere: cutout (DeVries, Taylor 2017).

    A box at the border is cut off there. It is filled with 0 in the data's own units, or with the
    mean of each channel over the batch.
    """

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        need_positions(x, "occlusion")
        over = [at for at in range(x.dim()) if at != 1]
        filling = x.mean(over, keepdim=True) if fill == "mean" else torch.zeros_like(x)
        shares = torch.ones_like(draws[:, 0]) * share
        return torch.where(in_box(x, shares, draws), filling, x), y

    return Augmentation(uniform(2), apply)


def cutmix(*, alpha: Positive) -> Augmentation:
    """Paste a box of another sample, and mix targets by area (Yun et al. 2019).

    The box has 1 - lambda of the area, lambda ~ Beta(`alpha`, `alpha`), centre anywhere. Targets
    are mixed by the area it has after it was cut off at the border.
    """

    def draw(count: int, generator: Generator) -> Tensor:
        others = torch.rand(count, 3, generator=generator, device=generator.device)
        return torch.cat([beta(alpha, count, generator), others], 1)

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        need_positions(x, "cutmix")
        need_rows(x, "cutmix")
        partner = draws[:, 1].argsort()
        box = in_box(x, 1 - draws[:, 0], draws[:, 2:])
        kept = 1 - box.flatten(1).to(y.dtype).mean(1)
        return torch.where(box, x[partner], x), mixed(y, partner, kept)

    return Augmentation(draw, apply, mixes=True)


def in_box(x: Tensor, share: Tensor, centre: Tensor) -> Tensor:
    """Say which positions (B, 1, H, W) or (B, 1, L) lie in a box as long as it is wide.

    Sides are rounded to whole pixels: share^(1/2) of each side of an image, `share` of a signal.
    """
    axes = x.dim() - 2
    inside = torch.ones(len(x), *[1] * (axes + 1), dtype=torch.bool, device=x.device)
    for axis, size in enumerate(x.shape[2:]):
        length = (size * share ** (1 / axes)).round().long()
        first = (size * centre[:, axis]).long() - length // 2
        after = torch.arange(size, device=x.device) - first[:, None]  # (B, size)
        hit = (after >= 0) & (after < length[:, None])
        shape = [len(x), 1, *(size if at == axis else 1 for at in range(axes))]
        inside = inside & hit.reshape(shape)
    return inside
