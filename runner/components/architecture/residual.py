"""Residual networks: blocks with a skip around them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from runner.components.architecture.convolutional import CONVOLUTIONS, Convolution, maps
from runner.components.architecture.unit import Unit
from runner.foundation.ranges import Count


class Residual(nn.Module):
    """Add what a branch gives to its input: skip(x) + branch(x) (He et al. 2016)."""

    def __init__(self, branch: nn.Module, skip: nn.Module):
        super().__init__()
        self.branch, self.skip = branch, skip

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum, of the shape the branch gives."""
        return self.skip(x) + self.branch(x)


def resnet(
    inputs: Sequence[int], outputs: int, unit: Unit, *, channels: list[Count], blocks: Count
) -> nn.Module:
    """Return a residual network for small images or signals, after He et al. 2016, section 4.2.

    A convolution unit, a stage of `blocks` for each of `channels`, the mean over the image, a
    linear layer. A block is x + f_2(f_1(x)) with kernels of 3. Each stage after the first halves
    the image in its first block, whose skip is then a convolution with a kernel of 1. f_2 and the
    sum have no activation, so that a straight path leads from the loss to every block (Gross and
    Wilber 2016). `inputs` is (channels, H, W) or (channels, L).
    """
    if not channels:
        raise ValueError("channels=[] leaves no stage; try architecture.channels=[16,32,64]")
    depth, size = maps(inputs, "resnet")
    convolution, mean = CONVOLUTIONS[len(size)], _MEANS[len(size)]
    layers = [unit(convolution(depth, channels[0], 3, padding=1))]
    before = channels[0]
    for stage, after in enumerate(channels):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            layers.append(_block(convolution, before, after, stride, unit))
            before = after
    return nn.Sequential(*layers, mean(1), nn.Flatten(), nn.Linear(before, outputs))


_MEANS = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d}


def _block(convolution: Convolution, before: int, after: int, stride: int, unit: Unit) -> Residual:
    first = unit(convolution(before, after, 3, stride=stride, padding=1))
    second = unit(convolution(after, after, 3, padding=1), "identity")
    same = before == after and stride == 1
    skip = nn.Identity() if same else convolution(before, after, 1, stride=stride, bias=False)
    return Residual(nn.Sequential(first, second), skip)
