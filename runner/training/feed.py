"""Batches, as a function of the step: data on the device, indices permuted once an epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from runner.foundation import rng

Batch = tuple[Tensor, Tensor]  # x (B, *shape), y (B,) or (B, C)
Augment = Callable[[int, Tensor, Tensor], Batch]  # (step, x, y) -> (x, y)


def steps_per_epoch(rows: int, batch_size: int, drop_last: bool) -> int:
    """Return the number of batches in one pass over the rows."""
    return rows // batch_size if drop_last else -(-rows // batch_size)


def shuffled(
    x: Tensor, y: Tensor, *, seed: int, batch_size: int, drop_last: bool, augment: Augment | None
) -> Callable[[int], Batch]:
    """Return `batch(step)`: an epoch's rows permuted, then cut into blocks, without replacement.

    The permutation is a function of (seed, epoch), so any step can be asked for in any process.
    """
    per_epoch = steps_per_epoch(len(x), batch_size, drop_last)
    current: tuple[int, Sequence[Tensor]] = (-1, ())

    def batch(step: int) -> Batch:
        nonlocal current
        epoch, at = divmod(step, per_epoch)
        if epoch != current[0]:
            order = torch.randperm(len(x), generator=rng.generator(seed, "order", epoch))
            current = epoch, order.to(x.device).split(batch_size)
        rows = current[1][at]
        picked = x.index_select(0, rows), y.index_select(0, rows)
        return picked if augment is None else augment(step, *picked)

    return batch


def in_order(x: Tensor, y: Tensor, batch_size: int) -> list[Batch]:
    """Return every row once, in blocks, for evaluation."""
    return list(zip(x.split(batch_size), y.split(batch_size), strict=True))
