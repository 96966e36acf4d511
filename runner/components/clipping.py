"""Gradient clipping: `(gradients, parameters) -> gradients`, sequences of equal length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from runner.foundation.ranges import Positive

Tensors = Sequence[Tensor]


def value(gradients: Tensors, parameters: Tensors, *, limit: Positive) -> list[Tensor]:
    """Clamp each entry: max(min(g_i, limit), -limit)."""
    return [gradient.clamp(-limit, limit) for gradient in gradients]


def norm(gradients: Tensors, parameters: Tensors, *, limit: Positive) -> list[Tensor]:
    """Shorten the whole gradient to length `limit`: g min(1, limit / (||g|| + 1e-6)), as torch."""
    length = torch.stack([gradient.norm() for gradient in gradients]).norm()
    scale = (limit / (length + 1e-6)).clamp(max=1.0)
    return [gradient * scale for gradient in gradients]


def adaptive(
    gradients: Tensors, parameters: Tensors, *, limit: Positive, eps: Positive
) -> list[Tensor]:
    """Shorten the gradient of each unit to `limit` times the length of the unit's weights.

    g_i <- g_i min(1, limit max(||w_i||, eps) / ||g_i||), i a row of a weight (what enters a unit),
    or a whole bias (Brock et al. 2021, who
    leave the last layer out). `eps` lets weights that start at zero move.
    """

    def clipped(gradient: Tensor, parameter: Tensor) -> Tensor:
        allowed = limit * _unitwise(parameter).clamp(min=eps)
        length = _unitwise(gradient).clamp(min=torch.finfo(gradient.dtype).tiny)
        return gradient * (allowed / length).clamp(max=1.0)

    return [clipped(*pair) for pair in zip(gradients, parameters, strict=True)]


def _unitwise(tensor: Tensor) -> Tensor:
    """Return the length of each row, or of a tensor without rows, ready to broadcast."""
    if tensor.dim() < 2:
        return tensor.norm()
    return tensor.flatten(1).norm(dim=1).reshape(-1, *[1] * (tensor.dim() - 1))
