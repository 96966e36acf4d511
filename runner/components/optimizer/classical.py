"""Gradient descent and its momentum: one learning rate for all weights."""

from __future__ import annotations

import torch
from torch import Tensor

from runner.components.optimizer.kind import (
    Hyper,
    Optimizer,
    Slot,
    Slots,
    Tensors,
    as_kernels_take,
    by_tensor,
    zeros,
)
from runner.foundation.ranges import Positive, ProperFraction


def gd(*, lr: Positive) -> Optimizer:
    """Step against the gradient of the whole training set: w <- w - lr g."""
    return sgd(lr=lr)._replace(full_batch=True)


def sgd(*, lr: Positive) -> Optimizer:
    """Step against the gradient of a batch: w <- w - lr g."""

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        return w - hyper["lr"] * g, slot

    @torch.no_grad()
    def in_place(ws: Tensors, gs: Tensors, slots: Slots, hyper: Hyper, t: float) -> None:
        _fused(ws, gs, [], hyper["lr"])

    return Optimizer({"lr": lr}, zeros(), by_tensor(rule), in_place=in_place)


def momentum(*, lr: Positive, momentum: ProperFraction, nesterov: bool) -> Optimizer:
    """Step along a decaying sum of gradients: v <- momentum v + g, w <- w - lr v.

    torch's form: lr stands outside the buffer. v is not an average: at a constant gradient it
    grows to g / (1 - momentum), so the effective learning rate is lr / (1 - momentum).

    With `nesterov` the step is g + momentum v. Nesterov's own sequence x takes the gradient at
    the look-ahead point x_k + momentum (x_k - x_(k-1)); these weights are the look-ahead points,
    where loss and gradient are measured. While lr stays as it is, x = w + lr momentum v.
    """
    if nesterov and not momentum:
        raise ValueError("nesterov=true needs momentum > 0, got momentum=0")

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        velocity = hyper["momentum"] * slot["velocity"] + g
        step = g + hyper["momentum"] * velocity if nesterov else velocity
        return w - hyper["lr"] * step, {"velocity": velocity}

    @torch.no_grad()
    def in_place(ws: Tensors, gs: Tensors, slots: Slots, hyper: Hyper, t: float) -> None:
        if not hyper["momentum"]:  # torch's kernel knows no buffer then
            torch._foreach_copy_(slots["velocity"], gs)
            _fused(ws, gs, [], hyper["lr"])
            return
        _fused(ws, gs, slots["velocity"], hyper["lr"], hyper["momentum"], nesterov)

    hyper = {"lr": lr, "momentum": momentum}
    return Optimizer(hyper, zeros("velocity"), by_tensor(rule), in_place=in_place)


def momentum_lecture(*, lr: Positive, momentum: ProperFraction) -> Optimizer:
    """Move by a decaying sum of steps: d <- momentum d - lr g, w <- w + d.

    lr stands inside the buffer, so that a cut of lr reaches only the steps to come: the sum goes
    on with the old ones. While lr stays as it is, the weights are those of `momentum`.
    """

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        displacement = hyper["momentum"] * slot["displacement"] - hyper["lr"] * g
        return w + displacement, {"displacement": displacement}

    @torch.no_grad()
    def in_place(ws: Tensors, gs: Tensors, slots: Slots, hyper: Hyper, t: float) -> None:
        torch._foreach_mul_(slots["displacement"], hyper["momentum"])
        torch._foreach_sub_(slots["displacement"], torch._foreach_mul(gs, hyper["lr"]))
        torch._foreach_add_(ws, slots["displacement"])

    hyper = {"lr": lr, "momentum": momentum}
    return Optimizer(hyper, zeros("displacement"), by_tensor(rule), in_place=in_place)


def _fused(
    ws: Tensors,
    gs: Tensors,
    velocities: Tensors,
    lr: float | Tensor,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> None:
    """Update all tensors in one pass, with torch's kernel."""
    torch._fused_sgd_(
        ws,
        gs,
        velocities,
        weight_decay=0.0,
        momentum=momentum,
        lr=as_kernels_take(lr),
        dampening=0.0,
        nesterov=nesterov,
        maximize=False,
        is_first_step=False,
    )
