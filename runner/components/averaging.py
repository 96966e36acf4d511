"""Averages of the weights along a run, used in their place for validation and test.

A factory gives `Averaging(init, update, due)`. What is averaged are the parameters and the running
statistics of layers; training itself goes on with the plain weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from runner.foundation.durations import Duration, Period
from runner.foundation.ranges import ProperFraction

Averages = dict[str, list[Tensor]]


class Averaging(NamedTuple):
    """A running average.

    init    tensors -> averages: "mean", one tensor for each, and "count", how many weights went
            into it; empty for no average at all
    update  (averages, tensors, t) -> averages, after update t = 1, 2, ...
    due     t -> whether the weights after this update go into the averages
    statistics_anew  whether statistics of batch norm are taken anew for the finished average
    """

    init: Callable[[Sequence[Tensor]], Averages]
    update: Callable[[Averages, Sequence[Tensor], float], Averages]
    due: Callable[[int], bool] = lambda t: True
    statistics_anew: bool = False


def none() -> Averaging:
    """Use the weights as they are."""
    return Averaging(lambda tensors: {}, lambda averages, tensors, t: averages, lambda t: False)


def ema(*, decay: ProperFraction) -> Averaging:
    """Average with weights that fall off exponentially: m <- decay m + (1 - decay) w.

    Started from zero and divided by 1 - decay^t, as Adam's averages are, so that early values do
    not remember the initialization more than they should: the mean is
    (1 - decay) sum_k decay^(t-k) w_k / (1 - decay^t).
    """

    def update(averages: Averages, tensors: Sequence[Tensor], t: float) -> Averages:
        count = averages["count"][0] + 1
        share = (1 - decay) / (1 - decay**count)  # of the newest; 1 for the first
        return _moved(averages, tensors, share, count)

    return Averaging(_zeros, update)


def swa(*, start: Duration, every: Period) -> Averaging:
    """Average equally over the weights met `every` so many steps from `start` on.

    Stochastic weight averaging (Izmailov et al. 2018): a constant or cyclic learning rate in that
    part of the run keeps the weights moving; statistics of batch norm are taken anew at the end.
    """

    def due(t: int) -> bool:
        return t >= start and (t - start) % every == 0

    def update(averages: Averages, tensors: Sequence[Tensor], t: float) -> Averages:
        count = averages["count"][0] + 1
        return _moved(averages, tensors, 1 / count, count)

    return Averaging(_zeros, update, due, statistics_anew=True)


def _zeros(tensors: Sequence[Tensor]) -> Averages:
    count = torch.zeros((), dtype=torch.float64, device=tensors[0].device)
    return {"mean": [torch.zeros_like(tensor) for tensor in tensors], "count": [count]}


def _moved(averages: Averages, tensors: Sequence[Tensor], share: Tensor, count: Tensor) -> Averages:
    """Move each mean towards its tensor by this share of the way."""
    pairs = zip(averages["mean"], tensors, strict=True)
    mean = [old + (new - old) * share.to(old.dtype) for old, new in pairs]
    return {"mean": mean, "count": [count]}
