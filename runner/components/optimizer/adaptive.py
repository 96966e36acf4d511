"""Divide each entry of the gradient by the size it has had: Adagrad, RMSprop, Adadelta."""

from __future__ import annotations

from torch import Tensor

from runner.components.optimizer.kind import Hyper, Optimizer, Slot, by_tensor, zeros
from runner.foundation.ranges import Positive, ProperFraction


def adagrad(*, lr: Positive, eps: Positive, eps_inside: bool) -> Optimizer:
    """Divide by the root of the sum of squares: s <- s + g^2, w <- w - lr g / (sqrt(s) + eps).

    The sum only grows, so the steps only shrink (Duchi et al. 2011). With `eps_inside` the divisor
    is sqrt(s + eps), as the lecture writes it: steps where |g| is below sqrt(eps) are damped.
    """

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        square = slot["square"] + g * g
        step = g / _root(square, hyper["eps"], eps_inside)
        return w - hyper["lr"] * step, {"square": square}

    return Optimizer({"lr": lr, "eps": eps}, zeros("square"), by_tensor(rule))


def rmsprop(
    *,
    lr: Positive,
    alpha: ProperFraction,
    eps: Positive,
    eps_inside: bool,
    centered: bool,
    momentum: ProperFraction,
) -> Optimizer:
    """Divide by the root of an average of squares: s <- alpha s + (1 - alpha) g^2.

    v <- momentum v + g / (sqrt(s) + eps),  w <- w - lr v; with momentum 0, v is the quotient alone.
    `centered` takes the square of an average gradient off s, which leaves its variance; with
    `eps_inside` eps stands under the root (Hinton 2012; Graves 2013; torch's form).
    """

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        kept = {"square": hyper["alpha"] * slot["square"] + (1 - hyper["alpha"]) * g * g}
        spread = kept["square"]
        if centered:
            kept["mean"] = hyper["alpha"] * slot["mean"] + (1 - hyper["alpha"]) * g
            spread = (spread - kept["mean"] ** 2).clamp(min=0)  # rounding may leave less
        quotient = g / _root(spread, hyper["eps"], eps_inside)
        kept["velocity"] = hyper["momentum"] * slot["velocity"] + quotient
        return w - hyper["lr"] * kept["velocity"], kept

    hyper = {"lr": lr, "alpha": alpha, "eps": eps, "momentum": momentum}
    names = ["square", "velocity", *(["mean"] if centered else [])]
    return Optimizer(hyper, zeros(*names), by_tensor(rule))


def adadelta(*, lr: Positive, rho: ProperFraction, eps: Positive) -> Optimizer:
    """Give each step the size that past steps had: d = g sqrt(u + eps) / sqrt(s + eps).

    s <- rho s + (1 - rho) g^2 comes before, u <- rho u + (1 - rho) d^2 after; w <- w - lr d, with
    lr 1 in the paper (Zeiler 2012). eps sets the size of the first steps.
    """

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        rho, eps = hyper["rho"], hyper["eps"]
        square = rho * slot["square"] + (1 - rho) * g * g
        step = g * ((slot["steps"] + eps) / (square + eps)).sqrt()
        steps = rho * slot["steps"] + (1 - rho) * step * step
        return w - hyper["lr"] * step, {"square": square, "steps": steps}

    hyper = {"lr": lr, "rho": rho, "eps": eps}
    return Optimizer(hyper, zeros("square", "steps"), by_tensor(rule))


def _root(square: Tensor, eps: float, inside: bool) -> Tensor:
    return (square + eps).sqrt() if inside else square.sqrt() + eps
