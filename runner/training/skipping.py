"""Leave out updates whose loss or gradient is not finite, without looking at a number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from runner.training.state import Outcome
from runner.training.tracing import Function


def skipping(update: Function, tensors: Sequence[Tensor], counts: Tensor) -> Function:
    """Return an update that leaves these tensors as they were where it would have ruined them.

    It would have where the loss, or the norm of the gradient, is nan or infinite: both are what
    `update(measure, averaging, x, y, lr, t, *noise)` gives. The loss of a step left out is nan.
    `counts` (2,), for lanes (R, 2), counts such steps: all, and those since the last sound one. The
    t that the update is given counts the steps that were not left out.
    """

    def careful(
        measure: bool, averaging: bool, x: Tensor, y: Tensor, lr: Tensor, t: Tensor, *noise: Tensor
    ) -> list[Tensor]:
        kept = [each.detach().clone() for each in tensors]
        made = t - counts[..., 0]
        loss, outputs, norm = update(True, averaging, x, y, lr, made, *noise)
        with torch.no_grad():
            sound = loss.isfinite() & norm.isfinite()
            for own, old in zip(tensors, kept, strict=True):
                own.copy_(torch.where(_beside(sound, own), own, old))
            left_out = (~sound).to(counts.dtype)
            everything, newest = counts.unbind(-1)
            counts.copy_(torch.stack([everything + left_out, (newest + 1) * left_out], -1))
            return [torch.where(sound, loss, torch.full_like(loss, torch.nan)), outputs, norm]

    return careful


def _beside(sound: Tensor, tensor: Tensor) -> Tensor:
    """Return () or (R,) with as many axes as the tensor has."""
    return sound.reshape([*sound.shape, *[1] * (tensor.dim() - sound.dim())])


def sound_ones(window: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes of the steps that were not left out."""
    finite = torch.stack([outcome.loss for outcome in window]).isfinite().tolist()
    return [outcome for outcome, kept in zip(window, finite, strict=True) if kept]
