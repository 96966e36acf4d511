"""Learning curves: each job's logged points, and their mean and spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from runner.foundation.files import read_json
from runner.recording import directory
from runner.reports.folding import Configuration, best
from runner.reports.results import Results

MOST = 50  # configurations whose curves are read
NOT_METRICS = ("step", "epoch")


class Point(NamedTuple):
    """A metric at a step: mean and, of more than one job, standard deviation."""

    step: int
    epoch: float
    mean: float
    std: float | None


Curves = dict[str, list[Point]]
Found = dict[Configuration, Curves]
Logged = dict[str, dict[int, tuple[float, float]]]  # metric: {step: (epoch, value)}


def logged(folder: Path) -> Logged:
    """Return the points of each metric that a run logged so far, finite numbers only.

    What was measured on the test split stands at the last step, as in TensorBoard.
    """
    found: Logged = {}
    step, epoch = 0, 0.0
    for row in directory.read_rows(folder / directory.METRICS):
        step, epoch = row["step"], row.get("epoch") or 0.0
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


def of(results: Results, configurations: Sequence[Configuration]) -> Found:
    """Return the mean curves of the configurations that have any jobs to take a mean of.

    Of very many only the best ones, in the order of the plan: logs take long to read, and nobody
    sees more lines than that.
    """
    able = [each for each in configurations if each.members]
    if len(able) > MOST:
        ranked = [each for each in best(results, able) if each in able]
        kept = {*[*ranked, *(each for each in able if each not in ranked)][:MOST]}
        able = [each for each in able if each in kept]
    found = {}
    for each in able:
        curves = mean([logged(results.folder / row.directory) for row in each.members])
        if curves:
            found[each] = curves
    return found


def too_many(configurations: Sequence[Configuration]) -> str:
    """Say of how many configurations there are curves, where it is not of all."""
    able = sum(bool(each.members) for each in configurations)
    return f"{MOST} of {able:,} configurations" if able > MOST else ""


def _point(step: int, found: Sequence[tuple[float, float]]) -> Point:
    count, epoch = len(found), found[0][0]
    centre = math.fsum(value for _, value in found) / count
    if count == 1:
        return Point(step, epoch, centre, None)
    square = math.fsum((value - centre) ** 2 for _, value in found)
    return Point(step, epoch, centre, math.sqrt(square / (count - 1)))


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
