"""Batches, as a function of the step: data on the device, rows in the order of a sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]  # x (B, *shape), y (B,) or (B, C)
Stream = Callable[[str, int], torch.Generator]  # (purpose, step) -> its generator
Augment = Callable[[int, Tensor, Tensor], Batch]  # (step, x, y) -> (x, y)


def batches(
    x: Tensor,
    y: Tensor,
    steps: int,
    order: Callable[[int, Stream], Sequence[Tensor]],
    stream: Stream,
    augment: Augment | None,
) -> Callable[[int], Batch]:
    """Return `batch(step)`: the rows that the order has for it, augmented.

    An epoch has so many `steps`; `order(epoch, stream)` gives the row numbers of each batch. It is
    a function of the epoch, so any step can be asked for in any process.
    """
    current: tuple[int, Sequence[Tensor]] = (-1, ())

    def batch(step: int) -> Batch:
        nonlocal current
        epoch, at = divmod(step, steps)
        if epoch != current[0]:
            current = epoch, _moved(order(epoch, stream), x.device)
        rows = current[1][at]
        picked = x.index_select(0, rows), y.index_select(0, rows)
        return picked if augment is None else augment(step, *picked)

    return batch


def _moved(blocks: Sequence[Tensor], device: torch.device) -> Sequence[Tensor]:
    """Return an epoch's row numbers on the device, copied at once and without waiting for it."""
    if device.type == "cpu":
        return blocks
    together = torch.cat(list(blocks)).pin_memory().to(device, non_blocking=True)
    return together.split([len(rows) for rows in blocks])


def in_order(x: Tensor, y: Tensor, batch_size: int) -> list[Batch]:
    """Return every row once, in blocks, for evaluation."""
    return list(zip(x.split(batch_size), y.split(batch_size), strict=True))
