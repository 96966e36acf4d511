"""Initialization: a visit to the model after its construction, with an explicit generator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from runner.assemble.unit import Brick

Fill = Callable[[Tensor, float, torch.Generator], None]


def initialize(model: nn.Module, fill: Fill, generator: torch.Generator) -> None:
    """Fill the weights of every linear and convolutional layer, and set their biases to 0.

    A layer in a unit has the gain of its activation, any other a gain of 1. Numbers are drawn in
    float64 on the CPU, so that device and precision do not change a run's starting point.
    """
    gains = {part[0]: part.gain for part in model.modules() if isinstance(part, Brick)}
    for module in model.modules():
        weight = getattr(module, "weight", None)
        if not isinstance(weight, nn.Parameter) or weight.dim() < 2:
            continue
        drawn = torch.zeros(weight.shape, dtype=torch.float64)
        fill(drawn, gains.get(module, 1.0), generator)
        with torch.no_grad():
            weight.copy_(drawn)
            if isinstance(bias := getattr(module, "bias", None), nn.Parameter):
                bias.zero_()
