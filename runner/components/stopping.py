"""Stopping rules: when to end before the budget is spent.

A factory gives `Stopping(init, observe)`; `observe(state, row, objective) -> (state, stop)` is
called after each evaluation with what it logged and the run's objective, turned so that lower is
better. Numbers may be tensors with one entry per lane; `stop` is then a mask.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from runner.foundation.ranges import Count, Finite, NonNegative, Positive
from runner.foundation.watching import logged, where

State = dict[str, Any]
Row = Mapping[str, float]
OBJECTIVE = "objective"


class Stopping(NamedTuple):
    """A rule that ends training.

    watches  the logged metric that `observe` reads, or `objective`, or None
    """

    init: Callable[[], State]
    observe: Callable[[State, Row, float], tuple[State, bool]]
    watches: str | None = None


def none() -> Stopping:
    """Train to the end of the budget."""
    return Stopping(dict, lambda state, row, objective: (state, False))


def early(*, patience: Count, min_delta: NonNegative) -> Stopping:
    """Stop after `patience` evaluations in a row that were no better than the best so far.

    Better means lower by more than `min_delta`. The best weights by a validation
    metric are restored in any case.
    """

    def observe(state: State, row: Row, objective: float) -> tuple[State, bool]:
        better = objective < state["best"] - min_delta
        waited = where(better, 0, state["waited"] + 1)
        best = where(better, objective, state["best"])
        return {"best": best, "waited": waited}, waited >= patience

    return Stopping(lambda: {"best": math.inf, "waited": 0}, observe, OBJECTIVE)


def loss_change(*, metric: str, tolerance: Positive) -> Stopping:
    """Stop when a metric hardly moves between two evaluations: |f_k - f_(k-1)| < tolerance.

    The metric is one that is logged, or `objective`.
    """

    def observe(state: State, row: Row, objective: float) -> tuple[State, bool]:
        value = objective if metric == OBJECTIVE else logged(row, metric, "stopping")
        return {"last": value}, abs(value - state["last"]) < tolerance

    return Stopping(lambda: {"last": math.inf}, observe, metric)


def gradient_norm(*, tolerance: Positive) -> Stopping:
    """Stop when the gradient is short: ‖g‖ <= tolerance, of the last batch and before clipping.

    Sound for gradient descent on full batches; the gradient of a minibatch stays long at a
    minimum of the whole.
    """

    def observe(state: State, row: Row, objective: float) -> tuple[State, bool]:
        return state, logged(row, "gradient/norm", "stopping") <= tolerance

    return Stopping(dict, observe, "gradient/norm")


def target(*, metric: str, direction: Literal["at_least", "at_most"], value: Finite) -> Stopping:
    """Stop when a logged metric has reached a value."""
    sign = 1 if direction == "at_least" else -1

    def observe(state: State, row: Row, objective: float) -> tuple[State, bool]:
        return state, sign * logged(row, metric, "stopping") >= sign * value

    return Stopping(dict, observe, metric)
