"""Gradient descent that tries its step before it takes it."""

from __future__ import annotations

import torch
from torch import Tensor

from runner.components.optimizer.kind import (
    Between,
    Hyper,
    Objective,
    Optimizer,
    Slots,
    Tensors,
    zeros,
)
from runner.foundation.ranges import Count, Positive


def backtracking(*, lr: Positive, shrink: Between, decrease: Between, tries: Count) -> Optimizer:
    """Shrink the step until the objective F falls enough: F(w - s g) - F(w) <= -decrease s ||g||^2.

    s starts at lr in each update and is multiplied by shrink after a failure (Armijo 1966). When
    none of so many tries does, as at a minimum, where rounding decides, the weights stay. Solo
    only: how often the objective is computed depends on its values.
    """

    def update(
        parameters: Tensors, objective: Objective, slots: Slots, hyper: Hyper, t: float
    ) -> tuple[list[Tensor], Slots]:
        start, gradients = differentiated(parameters, objective)
        slope = sum(float(g.square().sum()) for g in gradients)
        size = hyper["lr"]
        for _ in range(tries):
            moved = [w.detach() - size * g for w, g in zip(parameters, gradients, strict=True)]
            with torch.no_grad():
                fallen = float(objective(moved)) - start
            if fallen <= -hyper["decrease"] * size * slope:  # never so for nan
                return moved, slots
            size = size * hyper["shrink"]
        return [w.detach().clone() for w in parameters], slots

    hyper = {"lr": lr, "shrink": shrink, "decrease": decrease}
    return Optimizer(hyper, zeros(), update, needs="objective", full_batch=True)


def differentiated(parameters: Tensors, objective: Objective) -> tuple[float, list[Tensor]]:
    """Return the objective and its gradients, with parameters that may be plain tensors."""
    tracked = [each.detach().requires_grad_() for each in parameters]
    with torch.enable_grad():
        total = objective(tracked)
    return float(total.detach()), list(torch.autograd.grad(total, tracked, materialize_grads=True))
