"""Augmentations that move pixels: what stands where, not how bright it is.

B samples, H and W pixels. What comes in from beyond the border is `zero`, in the data's own units,
or repeats the `edge`; a shift can also `wrap` around.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from runner.components.augmentation.kind import (
    Augmentation,
    from_centre,
    need_images,
    need_positions,
    per_sample,
    symmetric,
    uniform,
)
from runner.foundation.ranges import AtLeastOne, Count, Fraction, Natural, NonNegative, Range

Turn = Annotated[float, Range(0, 180)]
Slant = Annotated[float, Range(0, 90, high_open=True)]
Beyond = Literal["zero", "edge"]


def flip_crop(*, flip: Fraction, padding: Natural) -> Augmentation:
    """Crop an image from a zero-padded copy, then mirror it left-right with probability `flip`.

    The crop is as large as the image (B, channels, H, W) and starts at a row and a column drawn
    from 0 to 2 `padding`: a shift by up to `padding` pixels each way.
    """

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        need_images(x, "flip_crop")
        channels, height, width = x.shape[1:]
        rows, columns = torch.arange(height, device=x.device), torch.arange(width, device=x.device)
        top, left = (draws[:, 1:] * (2 * padding + 1)).long().unbind(1)  # (B,), (B,)
        mirrored = draws[:, :1] < flip  # (B, 1)
        rows = top[:, None] + rows  # (B, H) of the padded copy
        columns = left[:, None] + torch.where(mirrored, width - 1 - columns, columns)  # (B, W)
        places = rows[:, :, None] * (width + 2 * padding) + columns[:, None]  # (B, H, W)
        padded = F.pad(x, [padding] * 4).flatten(2)  # (B, channels, (H + 2p) (W + 2p))
        picked = padded.gather(2, places.flatten(1)[:, None].expand(-1, channels, -1))
        return picked.unflatten(2, (height, width)), y

    return Augmentation(uniform(3), apply)


def flip(*, axis: Literal["horizontal", "vertical"], probability: Fraction) -> Augmentation:
    """Mirror an image left-right (horizontal) or upside down (vertical), or a signal in time."""

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        if axis == "vertical":
            need_images(x, "flip, axis=vertical,")
        need_positions(x, "flip")
        mirrored = per_sample(draws < probability, x)
        return torch.where(mirrored, x.flip(-1 if axis == "horizontal" else -2), x), y

    return Augmentation(uniform(1), apply)


def translate(*, pixels: Natural, beyond: Literal["zero", "edge", "wrap"]) -> Augmentation:
    """Shift by -`pixels` to `pixels`, whole and equally likely, along each axis by itself."""

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        need_positions(x, "translate")
        shifts = (draws * (2 * pixels + 1)).long() - pixels  # (B, 2)
        for axis in range(2, x.dim()):
            x = _shifted(x, shifts[:, axis - 2], axis, beyond)
        return x, y

    return Augmentation(uniform(2), apply)


def rotate(*, degrees: Turn, beyond: Beyond) -> Augmentation:
    """Turn about the centre by an angle uniform in +- `degrees`, counter-clockwise if positive."""

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        need_images(x, "rotate")
        down, right = _positions(x)
        angle = per_sample(symmetric(draws) * degrees * (math.pi / 180), down)
        cos, sin = angle.cos(), angle.sin()
        return _resampled(x, sin * right + cos * down, cos * right - sin * down, beyond), y

    return Augmentation(uniform(1), apply)


def scale(*, factor: AtLeastOne, beyond: Beyond) -> Augmentation:
    """Magnify about the centre by a number in [1 / `factor`, `factor`], uniform in its logarithm.

    To halve a picture is as likely as to double it.
    """

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        need_images(x, "scale")
        down, right = _positions(x)
        magnified = per_sample(factor ** symmetric(draws), down)
        return _resampled(x, down / magnified, right / magnified, beyond), y

    return Augmentation(uniform(1), apply)


def shear(*, degrees: Slant, beyond: Beyond) -> Augmentation:
    """Slide rows sideways by tan(angle) of their distance from the centre row: slanted writing.

    The angle is uniform in +- `degrees`.
    """

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        need_images(x, "shear")
        down, right = _positions(x)
        slope = per_sample(symmetric(draws) * degrees * (math.pi / 180), down).tan()
        return _resampled(x, down, right + slope * down, beyond), y

    return Augmentation(uniform(1), apply)


def elastic(*, pixels: NonNegative, cells: Count, beyond: Beyond) -> Augmentation:
    """Bend an image as if drawn on rubber, by displacements that vary smoothly.

    Nodes that part the image into `cells` x `cells` move by N(0, `pixels`^2) along each axis;
    between them displacements are bicubic (Ronneberger et al. 2015).
    """
    nodes = (2, cells + 1, cells + 1)

    def draw(count: int, generator: torch.Generator) -> Tensor:
        return torch.randn(count, *nodes, generator=generator, device=generator.device)

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        need_images(x, "elastic")
        size = (x.shape[2], x.shape[3])
        moved = F.interpolate(draws.to(x.dtype), size, mode="bicubic", align_corners=True)
        (down, right), (by_down, by_right) = _positions(x), moved.unbind(1)
        return _resampled(x, down + pixels * by_down, right + pixels * by_right, beyond), y

    return Augmentation(draw, apply)


def _shifted(x: Tensor, shift: Tensor, axis: int, beyond: str) -> Tensor:
    """Move each sample by its own number of pixels (B,) towards the end of an axis."""
    size = x.shape[axis]
    origin = torch.arange(size, device=x.device) - shift[:, None]  # (B, size)
    inside = (origin >= 0) & (origin < size)
    origin = origin % size if beyond == "wrap" else origin.clamp(0, size - 1)
    shape = [len(x), *(size if at == axis else 1 for at in range(1, x.dim()))]
    picked = x.take_along_dim(origin.reshape(shape), axis)
    return torch.where(inside.reshape(shape), picked, 0) if beyond == "zero" else picked


def _positions(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far down (1, H, 1) and right (1, 1, W) of the centre pixels are."""
    down, right = (from_centre(size, x) for size in x.shape[2:])
    return down[None, :, None], right[None, None, :]


def _resampled(x: Tensor, down: Tensor, right: Tensor, beyond: Beyond) -> Tensor:
    """Return what stands at (B, H, W) places in pixels from the centre, bilinear between pixels."""
    height, width = x.shape[2:]
    grid = torch.stack(torch.broadcast_tensors(2 * right / width, 2 * down / height), -1)
    padding = "zeros" if beyond == "zero" else "border"
    return F.grid_sample(x, grid.to(x.dtype), padding_mode=padding, align_corners=False)
