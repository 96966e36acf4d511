"""Architectures: `(inputs, outputs, unit) -> module`.

`inputs` is the shape of one sample, `outputs` the number of columns the model gives (classes or
regression targets). `unit` turns a bare layer into a normalized, activated, dropped-out one, so
that no architecture names ReLU or batch norm. Models output logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod

from torch import nn

from runner.foundation.ranges import Count

Unit = Callable[[nn.Module], nn.Module]


def linear(inputs: Sequence[int], outputs: int, unit: Unit) -> nn.Module:
    """Return f = W x + b, one template row of W for each class."""
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(inputs), outputs))


def mlp(inputs: Sequence[int], outputs: int, unit: Unit, *, hidden: list[Count]) -> nn.Module:
    """Return a multilayer perceptron: units of the `hidden` widths, then a linear layer."""
    widths = [prod(inputs), *hidden]
    units = [unit(nn.Linear(fan_in, fan_out)) for fan_in, fan_out in pairwise(widths)]
    return nn.Sequential(nn.Flatten(), *units, nn.Linear(widths[-1], outputs))


def cnn(
    inputs: Sequence[int],
    outputs: int,
    unit: Unit,
    *,
    channels: list[Count],
    kernel: Count,
    pool: Count,
) -> nn.Module:
    """Return stages of convolution unit and max-pooling, then a linear layer on what is left.

    A convolution keeps the image's size (stride 1, padding kernel // 2); pooling divides it by
    `pool` and is left out once the image is smaller than that. `inputs` is (channels, H, W).
    """
    if len(inputs) != 3:
        raise ValueError(f"cnn needs images of shape (channels, height, width), got {(*inputs,)}")
    depth, *size = inputs
    stages: list[nn.Module] = []
    for fan_in, fan_out in pairwise([depth, *channels]):
        stages.append(unit(nn.Conv2d(fan_in, fan_out, kernel, padding=kernel // 2)))
        size = [side + 2 * (kernel // 2) - kernel + 1 for side in size]
        if min(size) >= pool > 1:
            stages.append(nn.MaxPool2d(pool))
            size = [side // pool for side in size]
    features = [depth, *channels][-1] * prod(size)
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(features, outputs))
