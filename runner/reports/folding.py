"""Seeds folded: jobs that differ in nothing else are one configuration, with mean and spread."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from runner.reports import naming
from runner.reports.results import BROKEN, Results, Row, metric_names


class Spread(NamedTuple):
    """Mean, standard deviation (of n - 1 degrees of freedom; None for n = 1) and n."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True, eq=False)
class Configuration:
    """The jobs that differ in nothing but their seed.

    The means are those of `members`: the finished jobs; if there is none, those under way, and
    then it is `partial`.
    """

    swept: dict[str, Any]  # without the seed
    label: str
    rows: list[Row]
    members: list[Row]
    partial: bool
    value: Spread | None
    metrics: dict[str, Spread]

    def count(self, *states: str) -> int:
        """Return how many of its jobs are in one of these states."""
        return sum(row.state in states for row in self.rows)


def folded(results: Results) -> list[Configuration]:
    """Return the configurations in the order of the plan: jobs that differ in their seed alone."""
    groups: dict[str, list[Row]] = {}
    for row in results.rows:
        values = {key: value for key, value in row.swept.items() if key != "seed"}
        groups.setdefault(json.dumps(values, sort_keys=True, default=str), []).append(row)
    kinds = [each[0].swept for each in groups.values()]
    labels = naming.labels(results.axes, kinds)
    return [_fold(group, label) for group, label in zip(groups.values(), labels, strict=True)]


def spread(values: Sequence[float]) -> Spread:
    """Return mean, standard deviation and n of at least one number."""
    std = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), std, len(values))


def best(results: Results, configurations: Sequence[Configuration]) -> list[Configuration]:
    """Return the configurations that may be the best, best first.

    That takes a finished job and none that diverged or failed: the mean of those that were left
    would be the mean of the lucky ones. Empty where nobody can tell which numbers are better.
    """
    sign = results.sign()
    able = [
        each for each in configurations
        if sign and each.value and not each.partial and not each.count(*BROKEN)
    ]  # fmt: skip
    return sorted(able, key=lambda each: -sign * each.value.mean if each.value else 0.0)


def _fold(group: list[Row], label: str) -> Configuration:
    finished = [row for row in group if row.state == "finished"]
    members = finished or [row for row in group if row.partial]
    names = metric_names(name for row in members for name in row.metrics)
    columns = {
        name: [row.metrics[name] for row in members if name in row.metrics] for name in names
    }
    values = [row.value for row in members if row.value is not None]
    return Configuration(
        swept={key: value for key, value in group[0].swept.items() if key != "seed"},
        label=label,
        rows=group,
        members=members,
        partial=not finished and bool(members),
        value=spread(values) if values else None,
        metrics={name: spread(column) for name, column in columns.items()},
    )
