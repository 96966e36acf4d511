"""Losses: `(outputs, targets) -> (B,)`, one number a sample; the training step takes the mean."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return -log softmax(s)_y of logits s (B, C) and classes y (B,)."""
    if targets.is_floating_point():
        raise ValueError("loss 'cross_entropy' needs class labels; for regression use loss=mse")
    return F.cross_entropy(outputs, targets, reduction="none")


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over columns of (f - y)^2 for f and y of shape (B, C)."""
    if outputs.shape != targets.shape:
        raise ValueError(
            f"loss 'mse' needs float targets of shape {(*outputs.shape,)}, "
            f"got {(*targets.shape,)}; for classes use loss=cross_entropy"
        )
    return (outputs - targets).square().mean(1)
