"""Adam and its family: an average gradient over its average size."""

from __future__ import annotations

from typing import Literal

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
from runner.foundation.ranges import NonNegative, Positive, ProperFraction

Betas = tuple[ProperFraction, ProperFraction]


def adam(*, lr: Positive, betas: Betas, eps: Positive) -> Optimizer:
    """Divide an average gradient by its average size (Kingma and Ba 2015).

    m <- b1 m + (1 - b1) g,  s <- b2 s + (1 - b2) g^2,
    w <- w - lr (m / (1 - b1^t)) / (sqrt(s / (1 - b2^t)) + eps): bias correction and eps outside
    the root, as in torch.
    """
    hyper = _numbers(lr, betas, eps)
    return Optimizer(hyper, zeros("mean", "square"), by_tensor(adam_rule), in_place=_adam_in_place)


def adam_rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
    """Move one tensor as Adam does."""
    kept = _averages(g, slot, hyper)
    root = (kept["square"] / (1 - hyper["beta2"] ** t)).sqrt() + hyper["eps"]
    step = kept["mean"] / (1 - hyper["beta1"] ** t) / root
    return w - hyper["lr"] * step, kept


@torch.no_grad()
def _adam_in_place(ws: Tensors, gs: Tensors, slots: Slots, hyper: Hyper, t: float) -> None:
    count = torch.as_tensor(t).to(ws[0].device, torch.float32)  # exact up to 2^24 updates
    torch._fused_adam_(
        ws,
        gs,
        slots["mean"],
        slots["square"],
        [],
        [count] * len(ws),
        lr=as_kernels_take(hyper["lr"]),
        beta1=hyper["beta1"],
        beta2=hyper["beta2"],
        weight_decay=0.0,
        eps=hyper["eps"],
        amsgrad=False,
        maximize=False,
    )


def adam_lecture(*, lr: Positive, betas: Betas, eps: Positive) -> Optimizer:
    """Leave out the bias correction, and put eps under the root: w <- w - lr m / sqrt(s + eps).

    The averages start at zero, m less so than s: with betas 0.9 and 0.999 and a constant gradient
    the first step is 3.2 times Adam's, the twelfth 6.6 times, later ones alike.
    """

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        kept = _averages(g, slot, hyper)
        return w - hyper["lr"] * kept["mean"] / (kept["square"] + hyper["eps"]).sqrt(), kept

    return Optimizer(_numbers(lr, betas, eps), zeros("mean", "square"), by_tensor(rule))


def adamw(
    *,
    lr: Positive,
    betas: Betas,
    eps: Positive,
    weight_decay: NonNegative,
    decay_on: Literal["weights", "all"],
) -> Optimizer:
    """Shrink the weights beside Adam's step: w <- (1 - lr weight_decay) w, then as Adam.

    The decay does not pass through Adam's division, so that it treats all weights alike
    (Loshchilov and Hutter 2019). Weights are the tensors of two or more dimensions; torch's AdamW
    decays all.
    """

    def decayed(w: Tensor) -> bool:
        return decay_on == "all" or w.dim() >= 2

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        kept = w * (1 - hyper["lr"] * hyper["weight_decay"]) if decayed(w) else w
        return adam_rule(kept, g, slot, hyper, t)

    @torch.no_grad()
    def in_place(ws: Tensors, gs: Tensors, slots: Slots, hyper: Hyper, t: float) -> None:
        if shrinking := [w for w in ws if decayed(w)]:
            torch._foreach_mul_(shrinking, 1 - hyper["lr"] * hyper["weight_decay"])
        _adam_in_place(ws, gs, slots, hyper, t)

    hyper = {**_numbers(lr, betas, eps), "weight_decay": weight_decay}
    return Optimizer(hyper, zeros("mean", "square"), by_tensor(rule), in_place=in_place)


def adamax(*, lr: Positive, betas: Betas, eps: Positive) -> Optimizer:
    """Divide by the largest gradient, slowly forgotten: u <- max(b2 u, |g| + eps).

    w <- w - lr m / ((1 - b1^t) u): Adam in the infinity norm (Kingma and Ba 2015, section 7).
    """

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        mean = hyper["beta1"] * slot["mean"] + (1 - hyper["beta1"]) * g
        largest = torch.maximum(hyper["beta2"] * slot["largest"], g.abs() + hyper["eps"])
        step = mean / (1 - hyper["beta1"] ** t) / largest
        return w - hyper["lr"] * step, {"mean": mean, "largest": largest}

    return Optimizer(_numbers(lr, betas, eps), zeros("mean", "largest"), by_tensor(rule))


def nadam(*, lr: Positive, betas: Betas, eps: Positive, momentum_decay: NonNegative) -> Optimizer:
    """Look ahead as Nesterov does, with Adam's division (Dozat 2016).

    mu_t = b1 (1 - 0.96^(t momentum_decay) / 2), P_t = mu_1 ... mu_t; in place of m / (1 - b1^t)
    stands (1 - mu_t) g / (1 - P_t) + mu_(t+1) m / (1 - P_(t+1)).
    """

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        kept = _averages(g, slot, hyper)
        now, following = (
            hyper["beta1"] * (1 - 0.5 * 0.96 ** (at * hyper["momentum_decay"])) for at in (t, t + 1)
        )
        product = slot["product"] * now
        ahead = (1 - now) / (1 - product) * g + following / (1 - product * following) * kept["mean"]
        root = (kept["square"] / (1 - hyper["beta2"] ** t)).sqrt() + hyper["eps"]
        return w - hyper["lr"] * ahead / root, {**kept, "product": product}

    def init(parameters: Tensors) -> Slots:
        ones = [torch.ones((), dtype=each.dtype, device=each.device) for each in parameters]
        return {**zeros("mean", "square")(parameters), "product": ones}

    hyper = {**_numbers(lr, betas, eps), "momentum_decay": momentum_decay}
    return Optimizer(hyper, init, by_tensor(rule))


def radam(*, lr: Positive, betas: Betas, eps: Positive) -> Optimizer:
    """Wait with Adam's division until its variance is tame (Liu et al. 2020).

    rho_inf = 2 / (1 - b2) - 1, rho_t = rho_inf - 2 t b2^t / (1 - b2^t). Up to rho_t = 5 the step is
    lr m / (1 - b1^t); then it is Adam's, times
    sqrt((rho_t - 4) (rho_t - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho_t)). As in torch, eps is
    added to sqrt(s) before the correction of its bias.
    """

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        kept = _averages(g, slot, hyper)
        # in float32 the difference of two large numbers would be noise
        beta2 = torch.as_tensor(hyper["beta2"], dtype=torch.float64, device=w.device)
        unbiased = 1 - beta2**t
        limit = 2 / (1 - beta2) - 1
        rho = limit - 2 * t * beta2**t / unbiased
        shape = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
        rectified = (shape.clamp(min=0) * unbiased).sqrt().to(w.dtype)
        quotient = rectified / (kept["square"].sqrt() + hyper["eps"])
        size = torch.where(rho > 5, quotient, torch.ones_like(quotient))
        return w - hyper["lr"] * kept["mean"] / (1 - hyper["beta1"] ** t) * size, kept

    return Optimizer(_numbers(lr, betas, eps), zeros("mean", "square"), by_tensor(rule))


def _numbers(lr: float, betas: Betas, eps: float) -> dict[str, float]:
    return {"lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": eps}


def _averages(g: Tensor, slot: Slot, hyper: Hyper) -> Slot:
    """Return the averages of the gradient and of its square, both started at zero."""
    mean = hyper["beta1"] * slot["mean"] + (1 - hyper["beta1"]) * g
    square = hyper["beta2"] * slot["square"] + (1 - hyper["beta2"]) * g * g
    return {"mean": mean, "square": square}
