"""Stopping rules: when to end before the budget is spent.

A factory gives `Stopping(init, observe)`; `observe(state, metric) -> (state, stop)` is called
after each evaluation with the run's objective, turned so that lower is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from runner.foundation.ranges import Count, NonNegative

State = dict[str, Any]


class Stopping(NamedTuple):
    """A rule that ends training."""

    init: Callable[[], State]
    observe: Callable[[State, float], tuple[State, bool]]


def none() -> Stopping:
    """Train to the end of the budget."""
    return Stopping(dict, lambda state, metric: (state, False))


def early(*, patience: Count, min_delta: NonNegative) -> Stopping:
    """Stop after `patience` evaluations in a row that were no better than the best so far.

    Better means lower by more than `min_delta`. The best weights are restored in any case.
    """

    def observe(state: State, metric: float) -> tuple[State, bool]:
        better = metric < state["best"] - min_delta
        waited = 0 if better else state["waited"] + 1
        best = metric if better else state["best"]
        return {"best": best, "waited": waited}, waited >= patience

    return Stopping(lambda: {"best": math.inf, "waited": 0}, observe)
