"""The layers an initializer fills, their weights and their fans.

A weight is (Dout, Din) or (Dout, Din, kernel ...); the fan-in is Din times the kernel's size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Layer = nn.Linear | nn.Conv1d | nn.Conv2d


def weighted(model: nn.Module) -> list[Layer]:
    """Return the linear and convolutional layers, in order of construction.

    Layers of frozen numbers (buffers) are none of these. What other modules hold, such as the
    scales of a normalization or the places of tokens, stays as their constructor made it.
    """
    return [
        module
        for module in model.modules()
        if isinstance(module, Layer)
        and (is_normed(module) or isinstance(module.weight, nn.Parameter))
    ]


def is_normed(layer: Layer) -> bool:
    """Tell whether the layer's weight is computed from direction and length (weight norm)."""
    return parametrize.is_parametrized(layer, "weight")


def set_weight(layer: Layer, weight: Tensor) -> None:
    """Put numbers into a layer's weight, through its weight normalization if it has one.

    Raises `ValueError` for a weight normalized layer with a row of zeros: it has no direction.
    """
    weight = weight.to(layer.weight)
    with torch.no_grad():
        if not is_normed(layer):
            layer.weight.copy_(weight)
            return
        if not weight.flatten(1).any(1).all():
            raise ValueError(
                "weight normalization divides by the length of each row, and here is a row of "
                "zeros; use normalization=none or another initializer"
            )
        # It takes the tensor it is given, and the old one's order in memory is to stay.
        layer.weight = torch.empty_like(layer.weight).copy_(weight)


def fans(weight: Tensor) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a (Dout, Din, kernel ...) weight."""
    receptive = weight[0, 0].numel()
    return weight.shape[1] * receptive, weight.shape[0] * receptive
