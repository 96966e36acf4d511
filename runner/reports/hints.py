"""What a researcher would want to be told about a table: what it does not show yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.diagnosis.verdicts.sweep import NOISE, error_of
from runner.recording.console import number
from runner.reports import naming
from runner.reports.folding import Configuration, best
from runner.reports.results import BROKEN, Results

RANGE = 3  # values from which on a swept range has edges


def hints(results: Results, configurations: Sequence[Configuration]) -> list[str]:
    """Return what to bear in mind about the best configuration, a line each."""
    ranked = best(results, configurations) if len(configurations) > 1 else []
    if not results.sign() and results.objective:
        return [f"whether more or less of {results.objective} is better is not recorded: "
                "no row is marked"]  # fmt: skip
    if not ranked:
        return []
    return [
        *_left_out(results, configurations, ranked[0]),
        *_close(results, ranked),
        *_edges(results, configurations, ranked[0]),
    ]


def indistinct(one: Configuration, other: Configuration) -> tuple[float, float] | None:
    """Return the difference of two means and its standard error where the first is smaller.

    Smaller than twice the standard error, sqrt(s1²/n1 + s2²/n2), that is. None where it is not,
    or where one of the two has no spread.
    """
    if not one.value or not other.value or one.value.std is None or other.value.std is None:
        return None
    difference = abs(one.value.mean - other.value.mean)
    error = error_of([one.value.std, other.value.std], [one.value.n, other.value.n])
    return (difference, error) if difference <= NOISE.threshold * error else None


def _close(results: Results, ranked: Sequence[Configuration]) -> list[str]:
    """Say which configurations cannot be told from the best by their seeds."""
    if len(ranked) < 2:
        return []
    first, second = ranked[:2]
    alone = [each.label for each in (first, second) if len(each.members) < 2]
    if alone:
        return [f"{' and '.join(alone)}: one seed tells nothing about the spread; "
                "seeds=3 or more does"]  # fmt: skip
    if not (found := indistinct(first, second)):
        return []
    if not found[0]:
        return [f"{first.label} and {second.label} have the same mean"]
    lines = [
        f"{first.label} and {second.label} are not told apart: {results.objective} differs by "
        f"{number(found[0])}, less than twice the standard error of that, {number(found[1])}"
    ]
    if count := sum(indistinct(first, each) is not None for each in ranked[2:]):
        lines.append(f"nor are {count} further ones from the best" if count > 1
                     else "nor is one further from the best")  # fmt: skip
    return lines


def _edges(
    results: Results, configurations: Sequence[Configuration], first: Configuration
) -> list[str]:
    """Say where the best value of a swept range of numbers is the outermost one.

    The range is that of the configurations with the same words: each optimizer may have rates
    of its own.
    """
    words = {key: value for key, value in first.swept.items() if not is_number(value)}
    alike = [each for each in configurations
             if {key: each.swept.get(key) for key in words} == words]  # fmt: skip
    lines = []
    for key in results.axes:
        values = {each.swept[key] for each in alike if is_number(each.swept.get(key))}
        value = first.swept.get(key)
        if len(values) < RANGE or value not in (min(values), max(values)):
            continue
        name = naming.short(results.axes)[key]
        which = "largest" if value == max(values) else "smallest"
        lines.append(f"{name}={naming.shown([value])[0]} is the {which} tried: "
                     "a better value may lie beyond")  # fmt: skip
    return lines


def _left_out(
    results: Results, configurations: Sequence[Configuration], first: Configuration
) -> list[str]:
    """Say whose mean would be the best one, had all of its jobs come through."""
    sign = results.sign()
    assert first.value is not None
    lucky = [
        each for each in configurations
        if each.value and not each.partial and each.count(*BROKEN)
        and sign * each.value.mean > sign * first.value.mean
    ]  # fmt: skip
    return [
        f"{each.label} has the better mean, {number(each.value.mean)}, but only over the "
        f"{len(each.members)} of {len(each.rows)} jobs that came through"
        for each in lucky if each.value
    ]  # fmt: skip


def is_number(value: Any) -> bool:
    """Tell whether a swept value is a number; true and false are words."""
    return isinstance(value, int | float) and not isinstance(value, bool)
