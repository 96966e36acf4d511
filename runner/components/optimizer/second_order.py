"""Curvature: Newton's method for small models, L-BFGS for larger ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from runner.components.optimizer.kind import Hyper, Objective, Optimizer, Slots, Tensors
from runner.components.optimizer.torch_adapter import by_torch
from runner.foundation.ranges import Count, NonNegative, Positive

LIMIT = 4000  # parameters: their Hessian fills 128 MB, and a solve takes seconds
ROWS = 64  # of the Hessian, computed at a time


def newton(*, lr: Positive, damping: NonNegative) -> Optimizer:
    """Jump to the stationary point of the local quadratic: w <- w - lr (H + damping I)^-1 g.

    One step from anywhere on a quadratic. Where curvature is negative the step goes uphill unless
    damping outweighs it; where H is singular, as that of a softmax is, damping makes the step
    finite. Solo only; raises ValueError for models of more than 4000 parameters.
    """

    def init(parameters: Tensors) -> Slots:
        count = sum(each.numel() for each in parameters)
        if count > LIMIT:
            raise ValueError(
                f"newton solves a system with one equation for each of {count:,} parameters, and "
                f"takes at most {LIMIT:,}; use optimizer=lbfgs or a smaller model"
            )
        return {}

    def update(
        parameters: Tensors, objective: Objective, slots: Slots, hyper: Hyper, t: float
    ) -> tuple[list[Tensor], Slots]:
        gradient, hessian = curvature(parameters, objective)  # (P,) and (P, P)
        hessian.diagonal().add_(hyper["damping"])
        step, _ = torch.linalg.solve_ex(hessian.double(), gradient.double())
        steps = step.to(gradient.dtype).split([each.numel() for each in parameters])
        moved = [
            w.detach() - hyper["lr"] * step.reshape(w.shape)
            for w, step in zip(parameters, steps, strict=True)
        ]
        return moved, slots

    hyper = {"lr": lr, "damping": damping}
    return Optimizer(hyper, init, update, needs="objective", full_batch=True)


def lbfgs(*, lr: Positive, history: Count, iterations: Count) -> Optimizer:
    """Build the inverse Hessian of past steps, and search along its direction (torch's L-BFGS).

    `history` pairs of steps and changes of gradient are kept (Liu and Nocedal 1989); the length
    of a step, lr at first, is found by the strong Wolfe conditions. An update makes so many
    iterations, each of at least one evaluation. Solo only: the search goes by values.
    """
    arguments: dict[str, Any] = {"lr": lr, "history_size": history, "max_iter": iterations,
                 "line_search_fn": "strong_wolfe"}  # fmt: skip
    return by_torch(partial(torch.optim.LBFGS, **arguments), arguments)


def curvature(parameters: Tensors, objective: Objective) -> tuple[Tensor, Tensor]:
    """Return gradient (P,) and Hessian (P, P) of the objective, parameters laid end to end.

    By differentiating the gradient, some rows at a time: the objective runs once, as it is, so
    that layers may keep their statistics.
    """
    tracked = [each.detach().requires_grad_() for each in parameters]
    with torch.enable_grad():
        total = objective(tracked)
        gradients = torch.autograd.grad(total, tracked, create_graph=True, materialize_grads=True)
        gradient = torch.cat([each.reshape(-1) for each in gradients])
        # the second term gives every entry a graph, those of a plane too
        gradient = gradient + 0 * torch.cat([each.reshape(-1) for each in tracked])
    units = torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)
    rows = [
        torch.autograd.grad(gradient, tracked, part, retain_graph=True, is_grads_batched=True)
        for part in units.split(ROWS)
    ]
    flat = [torch.cat([each.flatten(1) for each in part], 1) for part in rows]
    return gradient.detach(), torch.cat(flat)
