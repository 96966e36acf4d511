"""From the results of a contest to a table."""

from __future__ import annotations

import statistics

from benchmarks.report import short
from benchmarks.rounds import Result, quartiles
from benchmarks.sweeps.contest import CONTENDERS, OURS, Contest
from benchmarks.table import Table
from benchmarks.workloads import WORKLOADS

STEADY = "steady state"


def compared(contest: Contest, rounds: int, steady: Result | None, written: str) -> Table:
    """Return a row for each contender, and one for the steady state; `written` says when and how.

    The ratio is how many times as fast the runner is: the contender's time over the runner's.
    """
    grid = contest.grid
    cache = "cold" if contest.cold else "warm"
    title = f"Sweep of {grid.workload}: {grid.jobs} jobs of {grid.epochs} epochs, {cache}"
    results = contest.results
    if results[OURS].missing:  # there is nothing to hold the others against
        results = {OURS: results[OURS]}
    rows = [_row(contest, name, result) for name, result in results.items()]
    if steady is not None:
        rows.append(_steady(steady))
    columns = ["", "seconds", "runner's speed, contender = 1", "quartiles", "jobs", "remark"]
    return Table(title, columns, rows, f"{_note(contest, rounds)} {written}")


def described() -> Table:
    """Return what each contender is."""
    rows = [[name, each.text] for name, each in CONTENDERS.items()]
    text = (
        "steps of models in a second, in the way that the runner chose, against the tuned loop by "
        "hand for one model: without start, compiling, validation and files"
    )
    return Table("Sweep contenders", ["", "what it is"], [*rows, [STEADY, text]])


def _row(contest: Contest, name: str, result: Result) -> list[str]:
    if result.missing:
        return [name, "-", "-", "-", "-", f"missing: {short(result.missing)}"]
    jobs, every = contest.grid_of(name).jobs, contest.grid.jobs
    part = f"{jobs} of {every} jobs, scaled" if jobs < every else ""
    remark = "; ".join(filter(None, [result.chosen, part]))
    seconds = f"{statistics.median(result.seconds):,.1f}"
    return [name, seconds, *_spread(result), str(jobs), remark]


def _steady(result: Result) -> list[str]:
    if result.missing:
        return [STEADY, "-", "-", "-", "-", f"missing: {short(result.missing)}"]
    return [STEADY, "-", *_spread(result), "-", result.chosen]


def _spread(result: Result) -> list[str]:
    low, middle, high = quartiles(result.ratios)
    return [f"{middle:.2f}", f"{low:.2f} to {high:.2f}"]


def _note(contest: Contest, rounds: int) -> str:
    grid = contest.grid
    rates = f"{len(grid.rates)} learning rates from {grid.rates[0]:g} to {grid.rates[-1]:g}"
    caches = (
        "each run of the runner begins with an empty cache of decisions and kernels"
        if contest.cold
        else "the runner has swept the same once before, into another folder"
    )
    return (
        f"{WORKLOADS[grid.workload].text}; {rates}, {grid.seeds} seeds. Whole processes in turns, "
        f"from start to exit, all files written; {caches}. Rounds: {rounds}; medians of the "
        "seconds, and of their ratios within a round."
    )
