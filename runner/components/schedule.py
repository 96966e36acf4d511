"""Schedules: a factor on the learning rate as a function of the step.

A factory takes `total`, the run's length in steps, and gives `Schedule(init, at, observe)`. Plain
schedules have an empty state; one that watches a metric keeps its state in `observe`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from runner.foundation.durations import ENDLESS, Duration, Period
from runner.foundation.ranges import Fraction, KeepProbability

State = dict[str, Any]


def _unchanged(state: State, metric: float) -> State:
    return state


class Schedule(NamedTuple):
    """A rule for the learning rate.

    at       (step, state) -> factor on lr for the update that follows `step` updates
    init     the state before the first step
    observe  (state, metric) -> state, after each evaluation; the metric is better when lower
    """

    at: Callable[[int, State], float]
    init: Callable[[], State] = dict
    observe: Callable[[State, float], State] = _unchanged


def constant(total: int) -> Schedule:
    """Keep the learning rate."""
    return Schedule(lambda step, state: 1.0)


def step(total: int, *, every: Period, factor: KeepProbability) -> Schedule:
    """Multiply the learning rate by `factor` after each `every` steps: a staircase."""
    return Schedule(lambda step, state: factor ** (step // every))


def cosine(total: int, *, warmup: Duration, floor: Fraction) -> Schedule:
    """Rise linearly for `warmup` steps, then fall along half a cosine to `floor`.

    floor + (1 - floor) (1 + cos(pi k / K)) / 2, k = 0 ... K counted after the warm-up
    (Loshchilov and Hutter 2017, without restarts). During the warm-up: (step + 1) / warmup.
    """
    if total >= ENDLESS:
        raise ValueError("cosine needs an end: give trainer.epochs or trainer.steps")
    if warmup >= total:
        raise ValueError(f"warmup {warmup} >= total {total} steps")

    def at(step: int, state: State) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / (total - warmup)
        return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2

    return Schedule(at)
