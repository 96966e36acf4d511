"""Convolutional networks for images (channels, H, W) and signals (channels, L)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import nn

from runner.components.architecture.unit import Unit, times
from runner.foundation.ranges import Count

Convolution = type[nn.Conv1d] | type[nn.Conv2d]
CONVOLUTIONS: dict[int, Convolution] = {1: nn.Conv1d, 2: nn.Conv2d}
_POOLS: dict[int, type[nn.MaxPool1d] | type[nn.MaxPool2d]] = {1: nn.MaxPool1d, 2: nn.MaxPool2d}


def cnn(
    inputs: Sequence[int],
    outputs: int,
    unit: Unit,
    *,
    channels: list[Count],
    convolutions: Count,
    kernel: Count,
    stride: Count,
    pool: Count,
) -> nn.Module:
    """Return stages of convolution units and max-pooling, then a linear layer on what is left.

    A stage for each of `channels`: `convolutions` units with padding kernel // 2, the first with
    the stride, then pooling, which divides the image by `pool` and is left out once the image is
    smaller than that. `inputs` is (channels, H, W) or (channels, L).
    """
    if not channels:
        raise ValueError("channels=[] leaves no stage; write architecture=linear for no layer")
    depth, size = maps(inputs, "cnn")
    layers: list[nn.Module] = []
    for stage, width in enumerate(channels):
        for at in range(convolutions):
            _fits(kernel, size, stage, at)
            step = stride if at == 0 else 1
            convolution = CONVOLUTIONS[len(size)]
            layers.append(unit(convolution(depth, width, kernel, step, padding=kernel // 2)))
            size = [(side + 2 * (kernel // 2) - kernel) // step + 1 for side in size]
            depth = width
        if min(size) >= pool > 1:
            layers.append(_POOLS[len(size)](pool))
            size = [side // pool for side in size]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(depth * prod(size), outputs))


def maps(inputs: Sequence[int], name: str) -> tuple[int, list[int]]:
    """Return the channels and the size of images or signals; refuse a table."""
    if len(inputs) not in (2, 3):
        raise ValueError(
            f"{name} needs images of shape (channels, height, width) or signals of shape "
            f"(channels, length), got {(*inputs,)}; a table goes with architecture=mlp"
        )
    depth, *size = inputs
    return depth, size


def _fits(kernel: int, size: Sequence[int], stage: int, at: int) -> None:
    """Refuse a kernel larger than the image, or with weights that only ever see padding."""
    limit = min(size) if stage == at == 0 else 2 * min(size) - 1
    if kernel > limit:
        raise ValueError(
            f"stage {stage + 1}, convolution {at + 1}: a kernel of {kernel} is larger than its "
            f"input of {times(size)}; use architecture.kernel={max(limit, 1)} or less, or fewer "
            "stages"
        )
