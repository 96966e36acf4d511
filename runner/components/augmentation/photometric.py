"""Augmentations that change values and move no pixel: light, colour, noise, blur.

Strengths are shares of a range, highest minus lowest value of the batch, so that they mean the
same for images in 0 ... 1 and in 0 ... 255. Nothing is cut off at either end.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from runner.components.augmentation.kind import (
    Augmentation,
    from_centre,
    need_images,
    need_positions,
    per_sample,
    span,
    symmetric,
    uniform,
)
from runner.foundation.ranges import Count, Fraction, NonNegative

LUMA = (0.299, 0.587, 0.114)  # how much red, green and blue make of grey (ITU-R BT.601)


def color(*, brightness: Fraction, contrast: Fraction, saturation: Fraction) -> Augmentation:
    """Change brightness, contrast and saturation, in this order, each by a factor of its own.

    A factor f is uniform in [1 - strength, 1 + strength] and moves values away from an anchor:
    anchor + f (x - anchor). The anchor is black (the batch's lowest value) for brightness, the
    mean of the image's greys for contrast, the pixel's grey for saturation, which leaves grey
    images as they are.
    """

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        need_images(x, "color")
        strengths = (brightness, contrast, saturation)
        anchors = (lambda x: x.amin(), lambda x: _grey(x).mean((1, 2, 3), keepdim=True), _grey)
        for draw, strength, anchor in zip(draws.unbind(1), strengths, anchors, strict=True):
            factor = per_sample(1 + strength * symmetric(draw), x)
            x = torch.lerp(anchor(x).expand_as(x), x, factor.to(x.dtype))
        return x, y

    return Augmentation(uniform(3), apply)


def illumination(*, strength: Fraction) -> Augmentation:
    """Light an image from one side: factors on the light rise linearly across it.

    They run from 1 - s in one corner to 1 + s in the opposite one if the light comes along the
    diagonal; the direction is uniform, s uniform in [0, `strength`].
    """

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        need_images(x, "illumination")
        height, width = x.shape[2:]
        down = from_centre(height, x)[:, None] * (2 / height)
        right = from_centre(width, x) * (2 / width)
        turn, share = (per_sample(draw, x).to(x.dtype) for draw in draws.unbind(1))
        ramp = (turn * 2 * math.pi).cos() * right + (turn * 2 * math.pi).sin() * down
        light = 1 + strength * share * ramp / math.sqrt(2)  # (B, 1, H, W)
        black = x.amin()
        return black + light * (x - black), y

    return Augmentation(uniform(2), apply)


def background(*, strength: Fraction, cells: Count) -> Augmentation:
    """Put a smooth grey pattern behind objects that stand on a dark ground.

    Nodes that part the image into `cells` x `cells` have a grey between black and `strength` of
    the batch's range, bilinear between nodes; a pixel darker than the pattern shows the pattern.
    """
    nodes = (1, cells + 1, cells + 1)

    def draw(count: int, generator: Generator) -> Tensor:
        return torch.rand(count, *nodes, generator=generator, device=generator.device)

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        need_images(x, "background")
        size = (x.shape[2], x.shape[3])
        pattern = F.interpolate(draws.to(x.dtype), size, mode="bilinear", align_corners=True)
        black, range_ = span(x)
        return torch.maximum(x, black + strength * range_ * pattern), y

    return Augmentation(draw, apply)


def blur(*, sigma: NonNegative) -> Augmentation:
    """Blur with a Gaussian whose standard deviation is uniform in [0, `sigma`] pixels.

    Weights are renormalized at the border, so that what lies beyond counts for nothing.
    """

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        need_positions(x, "blur")
        width = (draws[:, 0] * sigma).to(x.dtype).clamp(min=1e-3)  # below, neighbours weigh nothing
        for axis in range(2, x.dim()):
            at = from_centre(x.shape[axis], x)
            distance = (at - at[:, None]) / width[:, None, None]  # (B, n, n)
            weights = torch.softmax(-distance.square() / 2, -1)
            x = torch.einsum("bij,b...j->b...i", weights, x.movedim(axis, -1)).movedim(-1, axis)
        return x, y

    return Augmentation(uniform(1), apply)


def _grey(x: Tensor) -> Tensor:
    """Return the brightness of each pixel (B, 1, H, W)."""
    if x.shape[1] not in (1, 3):
        raise ValueError(
            f"color needs images of 1 or 3 channels, got samples of shape {(*x.shape[1:],)}; "
            "use illumination"
        )
    weights = x.new_tensor(LUMA) if x.shape[1] == 3 else x.new_ones(1)
    return torch.einsum("c,bchw->bhw", weights, x)[:, None]
