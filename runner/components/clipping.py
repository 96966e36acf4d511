"""Gradient clipping: `(gradients) -> gradients` on a list of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from runner.foundation.ranges import Positive


def value(gradients: Sequence[Tensor], *, limit: Positive) -> list[Tensor]:
    """Clamp each entry: max(min(g_i, limit), -limit)."""
    return [gradient.clamp(-limit, limit) for gradient in gradients]


def norm(gradients: Sequence[Tensor], *, limit: Positive) -> list[Tensor]:
    """Shorten the whole gradient to length `limit`: g min(1, limit / (||g|| + 1e-6)), as torch."""
    scale = (limit / (length(gradients) + 1e-6)).clamp(max=1.0)
    return [gradient * scale for gradient in gradients]


def length(gradients: Sequence[Tensor]) -> Tensor:
    """Return ||g||, the 2-norm over all tensors together."""
    return torch.stack([gradient.norm() for gradient in gradients]).norm()
