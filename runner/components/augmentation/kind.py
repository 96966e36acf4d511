"""What an augmentation is, and the kinds of samples it can be used on."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

Draw = Callable[[int, Generator], Tensor]
Apply = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


class Augmentation(NamedTuple):
    """The two halves of an augmentation.

    draw   (count, generator) -> (B, ...), all that is random
    apply  (x, y, draws) -> (x, y), a pure function
    mixes  targets too: y are float rows (B, C), one-hot for classes
    """

    draw: Draw
    apply: Apply
    mixes: bool = False


ELSEWHERE = {
    2: "noise or mixup",
    3: "flip, translate, occlusion, blur, noise, mixup or cutmix",
}  # what samples of fewer dimensions can have instead


def uniform(numbers: int) -> Draw:
    """Return a `draw` of so many numbers in [0, 1) for each sample."""

    def draw(count: int, generator: Generator) -> Tensor:
        return torch.rand(count, numbers, generator=generator, device=generator.device)

    return draw


def need_images(x: Tensor, name: str) -> None:
    """Refuse a batch that is not (B, channels, H, W)."""
    if x.dim() != 4:
        raise ValueError(_refusal(x, name, "images"))


def need_positions(x: Tensor, name: str) -> None:
    """Refuse a batch that is neither images nor signals (B, channels, L)."""
    if x.dim() not in (3, 4):
        raise ValueError(_refusal(x, name, "images or signals"))


def need_rows(x: Tensor, name: str) -> None:
    """Refuse a batch of one row, of which nothing could be taken from another."""
    if len(x) == 1:
        raise ValueError(
            f"{name} needs batches of 2 rows or more, got 1; "
            "use trainer.batch_size > 1 or trainer.drop_last=true"
        )


def _refusal(x: Tensor, name: str, wanted: str) -> str:
    others = ELSEWHERE.get(x.dim())
    remedy = f"; use {others}" if others else ""
    return f"{name} needs {wanted}, got samples of shape {(*x.shape[1:],)}{remedy}"


def per_sample(numbers: Tensor, x: Tensor) -> Tensor:
    """Give numbers (B,) as many dimensions as x (B, ...) has, to multiply with."""
    return numbers.reshape(-1, *[1] * (x.dim() - 1))


def symmetric(draws: Tensor) -> Tensor:
    """Move draws from [0, 1) to [-1, 1)."""
    return 2 * draws - 1


def span(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lowest value of a batch, which counts as black, and highest minus lowest."""
    return x.amin(), x.amax() - x.amin()


def from_centre(size: int, like: Tensor) -> Tensor:
    """Return the distance in pixels of each pixel of an axis from the middle of the axis."""
    return torch.arange(size, device=like.device, dtype=like.dtype) - (size - 1) / 2
