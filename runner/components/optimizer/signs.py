"""Go by the sign of the derivative, not by its size: Rprop twice, and Lion."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from runner.components.optimizer.kind import (
    Between,
    Hyper,
    MoreThanOne,
    Optimizer,
    Slot,
    by_tensor,
    zeros,
)
from runner.foundation.ranges import Positive, ProperFraction


def rprop(
    *,
    lr: Positive,
    grow: MoreThanOne,
    shrink: Between,
    largest: Positive,
    smallest: Positive,
    clamps: Literal["magnitude", "signed"],
) -> Optimizer:
    """Lengthen a weight's step while its derivative keeps its sign, else go back and halve.

    d is a weight's signed step, at first lr sign(g) by its first derivative other than 0; then
    same sign as in the beginning:  d <- grow d,    w <- w - d
    another sign, or none:          w <- w + d,  d <- shrink d,  w <- w - d
    with |d| kept in [smallest, largest]. `clamps: signed` takes min and max of d itself, as the
    lecture's pseudo-code has it: a step below zero then turns round at a flip, and may run away.

    As printed there, the sign of d never changes: a weight moves in its first direction alone, and
    stays where it is when its minimum comes to lie behind. `rprop_torch` can turn. A schedule
    acts on the first step alone.
    """
    _ordered(smallest, largest)

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        direction, last = slot["direction"], slot["step"]
        started = direction != 0
        sign = torch.where(started, direction, g.sign())
        first = sign * (torch.zeros_like(w) + hyper["lr"]).clamp(
            hyper["smallest"], hyper["largest"]
        )
        turned = started & (g.sign() != direction)
        orient = sign if clamps == "magnitude" else 1.0  # signs are their own inverse
        longer = orient * (hyper["grow"] * last * orient).clamp(max=hyper["largest"])
        shorter = orient * (hyper["shrink"] * last * orient).clamp(min=hyper["smallest"])
        step = torch.where(started, torch.where(turned, shorter, longer), first)
        back = torch.where(turned, last, torch.zeros_like(last))
        return w + back - step, {"step": step, "direction": sign}

    hyper = _sizes(lr, grow, shrink, largest, smallest)
    return Optimizer(hyper, zeros("step", "direction"), by_tensor(rule), full_batch=True)


def rprop_torch(
    *, lr: Positive, grow: MoreThanOne, shrink: Between, largest: Positive, smallest: Positive
) -> Optimizer:
    """Lengthen a weight's step while its derivative keeps its sign, else halve it and wait.

    s = sign(g g_before): the size of the step is multiplied by grow (s > 0), shrink (s < 0) or
    1, then kept in [smallest, largest]; w <- w - size sign(g). After a flip (s < 0) g counts as 0:
    the weight stays for one update, and may then go the other way (Riedmiller and Braun 1993).
    The first size is lr; a schedule acts on that alone.
    """
    _ordered(smallest, largest)

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        sign, agreement = g.sign(), g.sign() * slot["sign"]
        size = torch.where(slot["size"] == 0, hyper["lr"], slot["size"])  # 0 before the first
        shorter = torch.where(agreement < 0, hyper["shrink"] * size, size)
        size = torch.where(agreement > 0, hyper["grow"] * size, shorter)
        size = size.clamp(hyper["smallest"], hyper["largest"])
        sign = torch.where(agreement < 0, torch.zeros_like(sign), sign)
        return w - size * sign, {"size": size, "sign": sign}

    hyper = _sizes(lr, grow, shrink, largest, smallest)
    return Optimizer(hyper, zeros("size", "sign"), by_tensor(rule), full_batch=True)


def lion(*, lr: Positive, betas: tuple[ProperFraction, ProperFraction]) -> Optimizer:
    """Step by the sign of an average: w <- w - lr sign(b1 m + (1 - b1) g), m <- b2 m + (1 - b2) g.

    Every weight moves by lr exactly, so lr is to be 3 to 10 times smaller than Adam's (Chen et al.
    2023). For the paper's decoupled decay add regularizer=weight_decay.
    """

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        ahead = hyper["beta1"] * slot["mean"] + (1 - hyper["beta1"]) * g
        mean = hyper["beta2"] * slot["mean"] + (1 - hyper["beta2"]) * g
        return w - hyper["lr"] * ahead.sign(), {"mean": mean}

    hyper = {"lr": lr, "beta1": betas[0], "beta2": betas[1]}
    return Optimizer(hyper, zeros("mean"), by_tensor(rule))


def _ordered(smallest: float, largest: float) -> None:
    if smallest > largest:
        raise ValueError(f"needs smallest <= largest, got smallest={smallest}, largest={largest}")


def _sizes(
    lr: float, grow: float, shrink: float, largest: float, smallest: float
) -> dict[str, float]:
    return {"lr": lr, "grow": grow, "shrink": shrink, "largest": largest, "smallest": smallest}
