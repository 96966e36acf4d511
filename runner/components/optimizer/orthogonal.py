"""Muon: steps for whole matrices, all of whose singular values are about 1."""

from __future__ import annotations

import torch
from torch import Tensor

from runner.components.optimizer.kind import Hyper, Optimizer, Slot, Slots, Tensors, by_tensor
from runner.components.optimizer.moments import Betas, adam_rule
from runner.foundation.ranges import Count, Positive, ProperFraction

QUINTIC = (3.4445, -4.7750, 2.0315)  # steep at 0: small singular values grow in few rounds


def muon(
    *,
    lr: Positive,
    momentum: ProperFraction,
    nesterov: bool,
    rounds: Count,
    adam_ratio: Positive,
    betas: Betas,
    eps: Positive,
) -> Optimizer:
    """Replace the momentum of a hidden matrix by the nearest orthogonal one (Jordan et al. 2024).

    m <- momentum m + (1 - momentum) g;  w <- w - lr sqrt(max(1, rows / columns)) orthogonal(m),
    with `nesterov` of momentum m + (1 - momentum) g in place of m. Hidden matrices are the tensors
    of two or more dimensions, a kernel flattened to one row for each channel, but for the last:
    the output layer. It and all other tensors move as Adam's, at lr adam_ratio.

    torch's Muon computes in bfloat16 and takes matrices alone; this keeps the weights' precision.
    """

    def rule(w: Tensor, g: Tensor, slot: Slot, hyper: Hyper, t: float) -> tuple[Tensor, Slot]:
        if slot["square"].numel():  # of what moves as Adam's; a hidden matrix has none
            return adam_rule(w, g, slot, {**hyper, "lr": hyper["lr"] * hyper["adam_ratio"]}, t)
        mean = hyper["momentum"] * slot["mean"] + (1 - hyper["momentum"]) * g
        ahead = hyper["momentum"] * mean + (1 - hyper["momentum"]) * g if nesterov else mean
        matrix = ahead.flatten(1)  # (rows, columns)
        scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        step = (scale * orthogonal(matrix, rounds)).reshape(w.shape)
        return w - hyper["lr"] * step, {**slot, "mean": mean}

    numbers = {"momentum": momentum, "adam_ratio": adam_ratio, "eps": eps}
    hyper = {"lr": lr, "beta1": betas[0], "beta2": betas[1], **numbers}
    return Optimizer(hyper, _init, by_tensor(rule))


def orthogonal(matrix: Tensor, rounds: int) -> Tensor:
    """Bring all singular values of a matrix near 1 by so many Newton-Schulz rounds.

    X <- a X + b (X X') X + c (X X')^2 X, started at X / ||X||: after 5 rounds those that were not
    tiny lie between about 0.7 and 1.2.
    """
    a, b, c = QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(rounds):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.mT if tall else x


def _init(parameters: Tensors) -> Slots:
    matrices = [at for at, each in enumerate(parameters) if each.dim() >= 2]
    hidden = set(matrices[:-1])
    squares = [
        each.new_zeros(0) if at in hidden else torch.zeros_like(each)
        for at, each in enumerate(parameters)
    ]
    return {"mean": [torch.zeros_like(each) for each in parameters], "square": squares}
