"""Probes: how closely a network is looked at while it trains.

A factory gives `Probes`. What is looked at is a copy, so that the run stays the same.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from runner.foundation.durations import Period
from runner.foundation.ranges import Range

Level = Literal["none", "light", "full"]
Rows = Annotated[int, Range(2, 10_000)]


class Probes(NamedTuple):
    """When to look at what.

    level  none; light: activations, gradients, updates; full: histograms and curvature too
    every  steps between looks; None: 1, 2, 4, 8 ... epochs from the start
    rows   of the training split
    jobs   whether the jobs of a sweep are looked at
    """

    level: Level
    every: int | None = None
    rows: int = 0
    jobs: bool = False

    def due(self, step: int, epoch: int) -> bool:
        """Tell whether to look after a step, an epoch being so many steps.

        The first epoch's end is always looked at.
        """
        epochs, within = divmod(step, epoch)
        if self.level == "none" or (within == 0 and epochs == 1):
            return self.level != "none"
        if self.every is not None:
            return step % self.every == 0
        return within == 0 and epochs & (epochs - 1) == 0


def none() -> Probes:
    """Look at nothing."""
    return Probes("none")


def light(*, every: Period | None, rows: Rows, jobs: bool) -> Probes:
    """Look at activations, gradients and updates of each layer."""
    return Probes("light", every, rows, jobs)


def full(*, every: Period | None, rows: Rows, jobs: bool) -> Probes:
    """Look at the same, at histograms, at curvature, gradient noise and the Jacobian."""
    return Probes("full", every, rows, jobs)
