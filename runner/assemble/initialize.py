"""Initialization: a visit to the model after its construction, with an explicit generator."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from runner.assemble.unit import Brick
from runner.components.initializer import Initializer, Trial
from runner.components.initializer.layers import set_weight, weighted


def initialize(
    model: nn.Module,
    initializer: Initializer,
    generator: torch.Generator,
    trial: Trial | None = None,
) -> None:
    """Fill the weights and biases of every linear and convolutional layer, then adjust the whole.

    A layer in a unit has the gain of its activation, any other a gain of 1. Numbers are drawn in
    float64 on the CPU, so that device and precision do not change a run's starting point. What
    other modules hold (scales of normalizations, places of tokens, slopes of activations) stays
    as they were constructed, under the seed of construction. `trial` is for rules that go by data.
    """

    def start() -> None:
        _fill(model, initializer, generator)
        if initializer.adjust is not None:
            assert trial is not None, "this rule goes by a batch of training rows"
            initializer.adjust(model, trial, generator)

    start()
    if initializer.starts > 1:
        assert trial is not None, "starts are compared on a batch of training rows"
        _keep_best(model, initializer.starts, start, trial)


def _fill(model: nn.Module, initializer: Initializer, generator: torch.Generator) -> None:
    gains = {part[0]: part.gain for part in model.modules() if isinstance(part, Brick)}
    for layer in weighted(model):
        drawn = torch.zeros(layer.weight.shape, dtype=torch.float64)
        initializer.fill(drawn, gains.get(layer, 1.0), generator)
        set_weight(layer, drawn)
        if layer.bias is None:
            continue
        bias = torch.zeros(layer.bias.shape, dtype=torch.float64)
        if isinstance(initializer.bias, float):
            bias.fill_(initializer.bias)
        else:
            initializer.bias(bias, drawn, generator)
        with torch.no_grad():
            layer.bias.copy_(bias)


def _keep_best(model: nn.Module, starts: int, start: Callable[[], None], trial: Trial) -> None:
    """Start again and again, and leave the model at the start of the lowest objective."""

    def outcome() -> tuple[float, dict[str, Tensor]]:
        objective = float(trial.minimized(model, trial.x, trial.y).detach())
        # Nothing is worse than a start whose objective is no number.
        ranked = objective if math.isfinite(objective) else math.inf
        return ranked, {name: each.clone() for name, each in model.state_dict().items()}

    best = outcome()
    for _ in range(starts - 1):
        start()
        best = min(best, outcome(), key=lambda each: each[0])
    model.load_state_dict(best[1])
