"""Optimizers: numbers in `hyper`, state as data, an update without memory.

`update` is written for one tensor and serves one model and many: numbers may be tensors with one
entry per lane, and nothing branches on a number. `fused` is the same arithmetic for a whole list
of tensors in one kernel, in place; a parity test holds the two equal, and both to torch.optim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from runner.foundation.ranges import Positive, ProperFraction

Slots = dict[str, Tensor]
Hyper = Mapping[str, float]
Tensors = list[Tensor] | tuple[Tensor, ...]


class Optimizer(NamedTuple):
    """An update rule.

    hyper   the numbers, `lr` among them; a schedule multiplies `lr`
    init    parameter -> its slots (what the rule remembers of it)
    update  (parameter, gradient, slots, hyper, t) -> (parameter, slots), t = 1, 2, ... counting
            updates
    fused   (parameters, gradients, slots, hyper, t) -> None, in place, or None
    """

    hyper: dict[str, float]
    init: Callable[[Tensor], Slots]
    update: Callable[[Tensor, Tensor, Slots, Hyper, float], tuple[Tensor, Slots]]
    fused: Callable[[Tensors, Tensors, Sequence[Slots], Hyper, int], None] | None = None


def sgd(*, lr: Positive) -> Optimizer:
    """Step against the gradient: w <- w - lr g."""

    def update(w: Tensor, g: Tensor, slots: Slots, hyper: Hyper, t: float) -> tuple[Tensor, Slots]:
        return w - hyper["lr"] * g, slots

    def fused(ws: Tensors, gs: Tensors, slots: Sequence[Slots], hyper: Hyper, t: int) -> None:
        torch._foreach_add_(ws, gs, alpha=-hyper["lr"])

    return Optimizer({"lr": lr}, lambda w: {}, update, fused)


def momentum(*, lr: Positive, momentum: ProperFraction, nesterov: bool) -> Optimizer:
    """Step along a decaying sum of gradients: v <- momentum v + g, w <- w - lr v.

    torch's form: lr stands outside the buffer. v is not an average: at a constant gradient it
    grows to g / (1 - momentum), so the effective learning rate is lr / (1 - momentum). With
    `nesterov` the step is g + momentum v, taken at the look-ahead point.
    """
    if nesterov and not momentum:
        raise ValueError("nesterov=true needs momentum > 0, got momentum=0")

    def update(w: Tensor, g: Tensor, slots: Slots, hyper: Hyper, t: float) -> tuple[Tensor, Slots]:
        velocity = hyper["momentum"] * slots["velocity"] + g
        step = g + hyper["momentum"] * velocity if nesterov else velocity
        return w - hyper["lr"] * step, {"velocity": velocity}

    def fused(ws: Tensors, gs: Tensors, slots: Sequence[Slots], hyper: Hyper, t: int) -> None:
        torch._fused_sgd_(
            ws,
            gs,
            [slot["velocity"] for slot in slots],
            weight_decay=0.0,
            momentum=hyper["momentum"],
            lr=hyper["lr"],
            dampening=0.0,
            nesterov=nesterov,
            maximize=False,
            is_first_step=False,
        )

    hyper = {"lr": lr, "momentum": momentum}
    kernel = fused if momentum else None  # torch's knows no buffer without momentum
    return Optimizer(hyper, lambda w: {"velocity": torch.zeros_like(w)}, update, kernel)


def adam(*, lr: Positive, betas: tuple[ProperFraction, ProperFraction], eps: Positive) -> Optimizer:
    """Divide an average gradient by its average size (Kingma and Ba 2015).

    m <- b1 m + (1 - b1) g,  s <- b2 s + (1 - b2) g^2,
    w <- w - lr (m / (1 - b1^t)) / (sqrt(s / (1 - b2^t)) + eps): bias correction and eps outside
    the root, as in torch.
    """

    def update(w: Tensor, g: Tensor, slots: Slots, hyper: Hyper, t: float) -> tuple[Tensor, Slots]:
        mean = hyper["beta1"] * slots["mean"] + (1 - hyper["beta1"]) * g
        square = hyper["beta2"] * slots["square"] + (1 - hyper["beta2"]) * g * g
        root = (square / (1 - hyper["beta2"] ** t)).sqrt() + hyper["eps"]
        step = mean / (1 - hyper["beta1"] ** t) / root
        return w - hyper["lr"] * step, {"mean": mean, "square": square}

    def fused(ws: Tensors, gs: Tensors, slots: Sequence[Slots], hyper: Hyper, t: int) -> None:
        count = torch.full((), float(t), device=ws[0].device)  # exact up to 2^24 updates
        torch._fused_adam_(
            ws,
            gs,
            [slot["mean"] for slot in slots],
            [slot["square"] for slot in slots],
            [],
            [count] * len(ws),
            lr=hyper["lr"],
            beta1=hyper["beta1"],
            beta2=hyper["beta2"],
            weight_decay=0.0,
            eps=hyper["eps"],
            amsgrad=False,
            maximize=False,
        )

    def init(w: Tensor) -> Slots:
        return {"mean": torch.zeros_like(w), "square": torch.zeros_like(w)}

    hyper = {"lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": eps}
    return Optimizer(hyper, init, update, fused)
