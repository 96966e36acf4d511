"""Samplers: which rows each batch of an epoch has.

A factory takes the training targets y (N,) or (N, C), the batch size and whether to leave out an
epoch's last, smaller batch; it gives `Sampler(steps, rows)`. `rows(epoch, stream)` gives the row
numbers of each batch, randomness from `stream(purpose, step)`, so that the order is a function of
the epoch alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from runner.foundation import rng
from runner.foundation.ranges import Count, Natural, Seed

Stream = Callable[[str, int], Generator]


class Sampler(NamedTuple):
    """An order of training.

    steps  batches in an epoch
    rows   (epoch, stream) -> row numbers of each batch
    """

    steps: int
    rows: Callable[[int, Stream], Sequence[Tensor]]


def minibatch(y: Tensor, batch_size: int, drop_last: bool) -> Sampler:
    """Permute the rows once an epoch and cut them into blocks: sampling without replacement."""
    return _shuffled(torch.arange(len(y)), batch_size, drop_last)


def full_batch(y: Tensor, batch_size: int, drop_last: bool) -> Sampler:
    """Take all rows at each step: gradient descent; an epoch is one step."""
    everything = torch.arange(len(y))
    return Sampler(1, lambda epoch, stream: [everything])


def single(y: Tensor, batch_size: int, drop_last: bool) -> Sampler:
    """Take one row a step, in an order drawn each epoch: the classical stochastic gradient."""
    return _shuffled(torch.arange(len(y)), 1, False)


def with_replacement(y: Tensor, batch_size: int, drop_last: bool) -> Sampler:
    """Draw each batch afresh from all rows, any row any number of times."""
    steps = _steps(len(y), batch_size, drop_last)

    def rows(epoch: int, stream: Stream) -> Sequence[Tensor]:
        drawn = torch.randint(len(y), (steps, batch_size), generator=stream("order", epoch))
        return drawn.unbind()

    return Sampler(steps, rows)


def bootstrap(y: Tensor, batch_size: int, drop_last: bool) -> Sampler:
    """Draw N rows with replacement once for the run, then train on them in minibatches.

    About 1 - 1/e = 63 % of the rows are among them. Another `seed` draws others: the members of a
    bootstrap ensemble.
    """
    steps = _steps(len(y), batch_size, drop_last)

    def rows(epoch: int, stream: Stream) -> Sequence[Tensor]:
        drawn = torch.randint(len(y), (len(y),), generator=stream("bootstrap", 0))
        return _shuffled(drawn, batch_size, drop_last).rows(epoch, stream)

    return Sampler(steps, rows)


def disjoint_chop(
    y: Tensor, batch_size: int, drop_last: bool, *, parts: Count, part: Natural, seed: Seed
) -> Sampler:
    """Cut the rows at random into `parts` that do not overlap and train on number `part`.

    The cut depends on this `seed` alone, so that runs with unlike `part` train on no row in
    common; preprocessing and what is logged of the training set at the end go by all rows.
    """
    if part >= parts:
        raise ValueError(f"part {part} of {parts}: expected 0 to {parts - 1}")
    if parts > len(y):
        raise ValueError(f"{len(y)} training rows cannot be cut into {parts} parts")
    order = torch.randperm(len(y), generator=rng.generator(seed, "chop"))
    return _shuffled(order.tensor_split(parts)[part], batch_size, drop_last)


def consecutive(y: Tensor, batch_size: int, drop_last: bool) -> Sampler:
    """Take the rows as they stand, never shuffled: for data whose order means something."""
    return _fixed(torch.arange(len(y)), batch_size, drop_last)


def sorted_by_class(y: Tensor, batch_size: int, drop_last: bool) -> Sampler:
    """Take the rows class after class, never shuffled: what goes wrong without shuffling.

    Rows of a regression go by their first target, from low to high.
    """
    order = (y if y.dim() == 1 else y[:, 0]).cpu().argsort(stable=True)
    return _fixed(order, batch_size, drop_last)


def _fixed(order: Tensor, batch_size: int, drop_last: bool) -> Sampler:
    """Cut the rows into the same blocks each epoch."""
    blocks = order.split(batch_size)[: _steps(len(order), batch_size, drop_last)]
    return Sampler(len(blocks), lambda epoch, stream: blocks)


def _shuffled(among: Tensor, batch_size: int, drop_last: bool) -> Sampler:
    """Permute these row numbers each epoch and cut them into blocks."""
    steps = _steps(len(among), batch_size, drop_last)

    def rows(epoch: int, stream: Stream) -> Sequence[Tensor]:
        order = torch.randperm(len(among), generator=stream("order", epoch))
        return among[order].split(batch_size)[:steps]

    return Sampler(steps, rows)


def _steps(rows: int, batch_size: int, drop_last: bool) -> int:
    """Return the number of batches in one pass, at least one; an empty epoch trains nothing."""
    steps = rows // batch_size if drop_last else -(-rows // batch_size)
    if not steps:
        raise ValueError(
            f"trainer.batch_size {batch_size} is more than the {rows} rows to train on; "
            "use a smaller one or trainer.drop_last=false"
        )
    return steps
