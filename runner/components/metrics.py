"""Metrics: `(outputs, targets) -> {name: scalar tensor}`, on the device, never differentiated."""

from __future__ import annotations

import torch
from torch import Tensor

HIGHER_IS_BETTER = frozenset({"accuracy", "r2"})
"""Metrics that grow as the model gets better; every other one shrinks."""


def standard(outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return what the task is usually judged by.

    Classes (B,) of logits (B, C): accuracy. Regression targets (B, C): root-mean-square error
    `rmse`, mean absolute error `mae`, both in the data's own units, and `r2` = 1 - SSE / SST,
    summed over columns (nan where the targets do not vary).
    """
    if not targets.is_floating_point():
        return {"accuracy": (outputs.argmax(1) == targets).double().mean()}
    residual = (outputs - targets).double()
    spread = (targets - targets.mean(0)).double()
    unexplained = residual.square().sum() / spread.square().sum()
    varied = (targets != targets[:1]).any()  # rounding alone leaves a spread of its own
    return {
        "rmse": residual.square().mean().sqrt(),
        "mae": residual.abs().mean(),
        "r2": torch.where(varied, 1 - unexplained, torch.nan),
    }
