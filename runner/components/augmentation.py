"""Augmentations: batched on the device, each sample with draws of its own.

A factory gives `Augmentation(draw, apply)`. All randomness is drawn outside the training step:
`draw(count, generator)` gives the numbers, `apply(x, y, draws) -> (x, y)` is a pure function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from runner.foundation.ranges import Fraction, Natural


class Augmentation(NamedTuple):
    """The two halves of an augmentation."""

    draw: Callable[[int, torch.Generator], Tensor]  # (count, generator) -> (B, ...)
    apply: Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # (x, y, draws) -> (x, y)


def flip_crop(*, flip: Fraction, padding: Natural) -> Augmentation:
    """Crop an image from a zero-padded copy, then mirror it left-right with probability `flip`.

    The crop is as large as the image (B, channels, H, W) and starts at a row and a column drawn
    from 0 to 2 `padding`: a shift by up to `padding` pixels each way.
    """

    def draw(count: int, generator: torch.Generator) -> Tensor:
        return torch.rand(count, 3, generator=generator, device=generator.device)

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        if x.dim() != 4:
            raise ValueError(f"flip_crop needs images, got samples of shape {(*x.shape[1:],)}")
        count, _, height, width = x.shape
        rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
        top, left = (draws[:, 1:] * (2 * padding + 1)).long().unbind(1)  # (B,), (B,)
        mirrored = draws[:, :1] < flip  # (B, 1)
        columns = torch.where(mirrored, width - 1 - columns, columns)  # (B, W) of the crop
        padded = F.pad(x, [padding] * 4).permute(0, 2, 3, 1)  # (B, H + 2p, W + 2p, channels)
        batch = torch.arange(count, device=x.device)[:, None, None]
        picked = padded[
            batch, (top[:, None] + rows)[:, :, None], (left[:, None] + columns)[:, None]
        ]
        return picked.permute(0, 3, 1, 2), y

    return Augmentation(draw, apply)
