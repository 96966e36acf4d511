"""Learning curves: each job's logged points, and their mean and spread over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from runner.foundation.files import read_json
from runner.recording import directory
from runner.reports.folding import Configuration

NOT_METRICS = ("step", "epoch")


class Point(NamedTuple):
    """A metric at a step: mean and, of more than one job, standard deviation."""

    step: int
    epoch: float
    mean: float
    std: float | None


Curves = dict[str, list[Point]]
Logged = dict[str, dict[int, tuple[float, float]]]  # metric: {step: (epoch, value)}


def logged(folder: Path) -> Logged:
    """Return the points of each metric that a run logged so far, finite numbers only.

    What was measured on the test split stands at the last step, as in TensorBoard.
    """
    found: Logged = {}
    step, epoch = 0, 0.0
    for row in directory.read_rows(folder / directory.METRICS):
        step, epoch = row["step"], row["epoch"]
        for name, value in row.items():
            if name not in NOT_METRICS and _is_finite(value):
                found.setdefault(name, {})[step] = epoch, value
    for name, value in (read_json(folder / directory.SUMMARY).get("test") or {}).items():
        if _is_finite(value):
            found.setdefault(f"test/{name}", {})[step] = epoch, value
    return found


def mean(runs: Sequence[Logged]) -> Curves:
    """Return mean and spread of each metric at the steps where every run has it.

    Where one run ended before the others the mean ends too: over those that are left it would
    jump.
    """
    curves: Curves = {}
    for name in dict.fromkeys(name for run in runs for name in run):
        if not all(name in run for run in runs):
            continue
        steps = set.intersection(*(set(run[name]) for run in runs))
        curves[name] = [_point(step, [run[name][step] for run in runs]) for step in sorted(steps)]
    return {name: points for name, points in curves.items() if points}


def of(sweep: Path, configurations: Iterable[Configuration]) -> dict[Configuration, Curves]:
    """Return the mean curves of the configurations that have any jobs to take a mean of."""
    found = {}
    for each in configurations:
        curves = mean([logged(sweep / row.directory) for row in each.members])
        if curves:
            found[each] = curves
    return found


def _point(step: int, found: Sequence[tuple[float, float]]) -> Point:
    values = [value for _, value in found]
    std = statistics.stdev(values) if len(values) > 1 else None
    return Point(step, found[0][0], statistics.fmean(values), std)


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
