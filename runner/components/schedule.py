"""Schedules: a factor on the learning rate as a function of the step.

A factory takes `total`, the run's length in steps, and gives `Schedule(at, init, observe)`. Plain
schedules have an empty state; one that watches a metric keeps its state in `observe`. Numbers of
a schedule may be tensors with one entry per lane. Every factory has a `warmup` from `warmed`.

Letters: k counts updates (or what `every` says) from 0, K is the length after the warm-up, t_k the
factor, e the `floor`: the share of the learning rate that is never undercut.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from runner.foundation.durations import ENDLESS, Duration, Period
from runner.foundation.ranges import Count, Fraction, KeepProbability, NonNegative, Positive
from runner.foundation.signatures import extended
from runner.foundation.watching import logged, where

State = dict[str, Any]
Row = Mapping[str, float]
OBJECTIVE = "objective"


class Sums(NamedTuple):
    """The conditions of Robbins and Monro (1951) on rates t_k that go on forever."""

    infinite: bool  # sum t_k = inf: any distance can be covered
    squares_finite: bool  # sum t_k^2 < inf: the noise dies out


def _unchanged(state: State, row: Row, objective: float) -> State:
    return state


class Schedule(NamedTuple):
    """A rule for the learning rate.

    at       (step, state) -> factor on lr for the update that follows `step` updates
    init     the state before the first step
    observe  (state, row, objective) -> state, after each evaluation: what it logged, and the
             run's objective, turned so that lower is better
    sums     whether the conditions of Robbins and Monro hold if the schedule goes on forever;
             None where it ends with the run
    watches  the logged metric that `observe` reads, or `objective`, or None
    """

    at: Callable[[int, State], float]
    init: Callable[[], State] = dict
    observe: Callable[[State, Row, float], State] = _unchanged
    sums: Sums | None = None
    watches: str | None = None


def robbins_monro(sums: Sums | None) -> str:
    """Say which of the conditions of Robbins and Monro (1951) a schedule meets."""
    if sums is None:
        return "Robbins-Monro: does not apply, the schedule ends with the run"
    verdict = "met" if sums.infinite and sums.squares_finite else "not met"
    first, second = ("holds" if each else "fails" for each in sums)
    return f"Robbins-Monro: {verdict} (sum t_k = inf {first}, sum t_k^2 < inf {second})"


def warmed(rule: Callable[..., Schedule]) -> Callable[..., Schedule]:
    """Give a schedule a linear warm-up: (step + 1) / warmup of its first value, then the schedule.

    The schedule counts from the end of the warm-up on and is that much shorter; what is evaluated
    during the warm-up it does not see.
    """

    def factory(total: int, *, warmup: Duration, **options: Any) -> Schedule:
        if warmup >= total:
            raise ValueError(f"warmup {warmup} >= total {total} steps")
        schedule = rule(total if total >= ENDLESS else total - warmup, **options)

        def at(step: int, state: State) -> float:
            if step < warmup:
                return schedule.at(0, state) * (step + 1) / warmup
            return schedule.at(step - warmup, state)

        def observe(state: State, row: Row, objective: float) -> State:
            during = row.get("step", warmup) < warmup
            return state if during else schedule.observe(state, row, objective)

        return schedule._replace(at=at, observe=observe)

    return extended(factory, rule, positional=True, warmup=Duration)


# ---- schedules that could go on forever -------------------------------------------------------


@warmed
def constant(total: int) -> Schedule:
    """Keep the learning rate."""
    return Schedule(lambda step, state: 1.0, sums=Sums(True, False))


@warmed
def inverse_time(total: int, *, rate: Positive, every: Period) -> Schedule:
    """Fall as 1 / (1 + rate k); with rate 1 this is 1 / (k + 1), which lectures call linear."""
    return Schedule(lambda step, state: 1 / (1 + rate * (step // every)), sums=Sums(True, True))


@warmed
def inverse_square(total: int, *, rate: Positive, every: Period) -> Schedule:
    """Fall as 1 / (1 + rate k)^2; with rate 1 this is what lectures call quadratic."""
    return Schedule(
        lambda step, state: 1 / (1 + rate * (step // every)) ** 2, sums=Sums(False, True)
    )


@warmed
def exponential(total: int, *, rate: Positive, every: Period) -> Schedule:
    """Fall as e^(-rate k)."""
    return Schedule(lambda step, state: math.e ** (-rate * (step // every)), sums=Sums(False, True))


@warmed
def staircase(total: int, *, every: Period, factor: KeepProbability) -> Schedule:
    """Multiply the learning rate by `factor` after each `every` steps."""
    return Schedule(
        lambda step, state: factor ** (step // every), sums=Sums(factor == 1, factor < 1)
    )


@warmed
def multi_step(total: int, *, milestones: list[Period], factor: KeepProbability) -> Schedule:
    """Multiply the learning rate by `factor` at each milestone, counted after the warm-up."""
    if milestones != sorted(milestones):
        given, rising = (
            ",".join(f"{each}steps" for each in steps) for steps in (milestones, sorted(milestones))
        )
        raise ValueError(f"milestones [{given}] do not rise; use schedule.milestones=[{rising}]")
    return Schedule(
        lambda step, state: factor ** bisect_right(milestones, step), sums=Sums(True, False)
    )


@warmed
def plateau(
    total: int,
    *,
    metric: str,
    better: Literal["lower", "higher"],
    factor: KeepProbability,
    patience: Count,
    min_delta: NonNegative,
    floor: KeepProbability,
) -> Schedule:
    """Multiply by `factor` after `patience` evaluations in a row no better than the best so far.

    Better means by more than `min_delta`; never below `floor`. The metric is `objective`, or one
    that is logged. (torch's ReduceLROnPlateau waits for one evaluation more.)
    """
    if metric == OBJECTIVE and better == "higher":
        raise ValueError("the objective is turned so that lower is better; use better=lower")
    sign = 1 if better == "lower" else -1

    def observe(state: State, row: Row, objective: float) -> State:
        value = objective if metric == OBJECTIVE else sign * logged(row, metric, "schedule")
        improved = value < state["best"] - min_delta
        waited = where(improved, 0, state["waited"] + 1)
        cut = state["factor"] * factor
        due = waited >= patience
        return {
            "best": where(improved, value, state["best"]),
            "waited": where(due, 0, waited),
            "factor": where(due, where(cut > floor, cut, floor), state["factor"]),
        }

    return Schedule(
        at=lambda step, state: state["factor"],
        init=lambda: {"best": math.inf, "waited": 0, "factor": 1.0},
        observe=observe,
        sums=Sums(True, False),  # at the latest from the floor on
        watches=metric,
    )


@warmed
def cosine_restarts(total: int, *, period: Period, growth: Count, floor: Fraction) -> Schedule:
    """Fall along half a cosine to `floor`, again and again, each time `growth` times as long.

    SGDR (Loshchilov and Hutter 2017). With growth 1 all are equally long, as snapshot ensembles
    want them (Huang et al. 2017).
    """

    def at(step: int, state: State) -> float:
        length = period
        while growth > 1 and step >= length:
            step, length = step - length, length * growth
        return _half_cosine(1.0, floor, (step % length) / length)

    return Schedule(at, sums=Sums(True, False))


@warmed
def cyclic(total: int, *, period: Period, floor: Fraction) -> Schedule:
    """Rise from `floor` along a straight line for half a period, then fall: a triangle wave.

    Smith (2017). With j = k mod period: e + (1 - e) (1 - |2 j / period - 1|).
    """
    if period < 2:
        raise ValueError(f"period {period}: a cycle needs at least 2 steps")

    def at(step: int, state: State) -> float:
        height = 1 - abs(2 * (step % period) / period - 1)
        return floor + (1 - floor) * height

    return Schedule(at, sums=Sums(True, False))


# ---- schedules that end with the run ----------------------------------------------------------


def _ends(total: int, name: str) -> None:
    """Raise a ValueError for a run that only a clock ends."""
    if total >= ENDLESS:
        raise ValueError(f"{name} needs an end: give trainer.epochs or trainer.steps")


def _half_cosine(start: float, end: float, progress: float) -> float:
    """Go from one number to another along half a cosine, progress = 0 ... 1."""
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


@warmed
def linear(total: int, *, floor: Fraction) -> Schedule:
    """Fall along a straight line to `floor`: e + (1 - e) (1 - k / K)."""
    _ends(total, "linear")
    return Schedule(lambda step, state: floor + (1 - floor) * (1 - step / total))


@warmed
def polynomial(total: int, *, power: Positive, floor: Fraction) -> Schedule:
    """Fall along a power of the straight line to `floor`: e + (1 - e) (1 - k / K)^power."""
    _ends(total, "polynomial")
    return Schedule(lambda step, state: floor + (1 - floor) * (1 - step / total) ** power)


@warmed
def cosine(total: int, *, floor: Fraction) -> Schedule:
    """Fall along half a cosine to `floor`: e + (1 - e) (1 + cos(pi k / K)) / 2.

    Loshchilov and Hutter 2017, without restarts.
    """
    _ends(total, "cosine")
    return Schedule(lambda step, state: _half_cosine(1.0, floor, step / total))


@warmed
def one_cycle(total: int, *, rise: Period, start: Fraction, floor: Fraction) -> Schedule:
    """Rise from `start` for `rise` steps, then fall to `floor`, both along half a cosine.

    Smith and Topin 2018, with torch's counting: the whole learning rate belongs to the last step
    of the rise, `floor` to the last of the run. (torch's momentum cycle is not here.)
    """
    _ends(total, "one_cycle")
    if rise > total:
        raise ValueError(f"rise {rise} > {total}, the steps after the warm-up")
    fall = max(total - rise, 1)  # a run that ends with its rise never falls

    def at(step: int, state: State) -> float:
        if step < rise - 1:
            return _half_cosine(start, 1.0, step / (rise - 1))
        return _half_cosine(1.0, floor, (step - (rise - 1)) / fall)

    return Schedule(at)
