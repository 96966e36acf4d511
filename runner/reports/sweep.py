"""A sweep's report: the table of its configurations, what to bear in mind, what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from runner.foundation.errors import Unwritable
from runner.recording.console import Terminal
from runner.reports import curves, drawing, figures, hints, table, tensorboard
from runner.reports.folding import Configuration, best, folded
from runner.reports.results import BROKEN, RESULTS, UNFINISHED, Results, read, rows, write

__all__ = ["folded", "read", "rows", "summarize", "write"]

ROWS_SHOWN = 40
BROKEN_SHOWN = 10
STATES = ("finished", *BROKEN, *UNFINISHED, "pending")


def summarize(folder: Path, terminal: Terminal, *, verbose: bool = False) -> Results:
    """Print a sweep's table and write its results.csv; return what was read.

    The best configuration has a `*`, numbers of jobs that are still under way a `~`. `verbose`
    shows every metric, every row and every job that went wrong.
    """
    results = read(folder)
    configurations = folded(results)
    for line in _head(results, configurations):
        terminal.line(line)
    shown = configurations if verbose else _shown(results, configurations)
    if any(each.members for each in configurations):
        head, texts = table.cells(results, shown, every=verbose)
        first, *others = table.lines([head, *texts], left=1 + len(results.axes))
        terminal.line(first, "bold")
        for line in others:
            terminal.line(line)
        terminal.line("")
    for line in _legend(results, configurations, shown):
        terminal.line(line)
    for line in _broken(results, configurations, verbose):
        terminal.line(line)
    if problem := keep(results):
        terminal.warn(problem)
    else:
        terminal.line(f"results {folder / RESULTS}")
    return results


def illustrate(results: Results, terminal: Terminal) -> list[Path]:
    """Write mean curves for TensorBoard and, if matplotlib is here, figures; say where they are."""
    configurations = folded(results)
    found = curves.of(results, configurations)
    means = tensorboard.write_means(results, found)
    paths = [means] if means else []
    if drawing.available():
        paths += figures.draw(results, found)
    else:
        terminal.line(drawing.MISSING)
    few = curves.too_many(configurations)
    limit = f" (curves of {few})" if few else ""
    if any(path.parent.name == drawing.FOLDER for path in paths):
        terminal.line(f"figures {results.folder / drawing.FOLDER}{limit}")
    if means:
        terminal.line(f"means   {means} (tensorboard --logdir {results.folder})")
    return paths


def keep(results: Results) -> str:
    """Write results.csv; return why it could not be, or nothing.

    Who may only read a sweep may still look at it.
    """
    try:
        write(results)
    except Unwritable as error:
        return f"{RESULTS} is not brought up to date: {error}"
    return ""


def _head(results: Results, configurations: Sequence[Configuration]) -> list[str]:
    """Return what the sweep is and how far it got."""
    counts = Counter(row.state for row in results.rows)
    jobs = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    total, kinds = len(results.rows), len(configurations)
    lines = [f"sweep   {results.folder}", f"jobs    {total:,}: {jobs}" if total else "jobs    none"]
    if any(counts[state] for state in (*UNFINISHED, "pending")) and not results.at_work:
        lines.append("        no process is at work here; go on with: "
                     f"runner resume {results.folder}")  # fmt: skip
    if results.left_out:
        lines.append(f"        left out: {results.left_out:,} that the newest command did not "
                     "ask for")  # fmt: skip
    if kinds < total:
        plural = "s" if kinds > 1 else ""
        lines.append(f"table   {kinds:,} configuration{plural}: mean ± standard deviation, n seeds")
    return [*lines, ""]


def _shown(results: Results, configurations: list[Configuration]) -> list[Configuration]:
    """Return all configurations as planned, or the best of too many, best first."""
    if len(configurations) <= ROWS_SHOWN:
        return configurations
    ranked = best(results, configurations)
    others = [each for each in configurations if each not in ranked]
    return [*ranked, *others][:ROWS_SHOWN]


def _legend(
    results: Results, configurations: Sequence[Configuration], shown: Sequence[Configuration]
) -> list[str]:
    """Return what the marks mean, what is not shown, and what to bear in mind."""
    lines = []
    if len(shown) < len(configurations):
        order = ", best first" if best(results, configurations) else ""
        lines.append(f"{len(shown)} of {len(configurations):,} configurations{order}; "
                     f"all are in {RESULTS}")  # fmt: skip
    ranked = best(results, configurations) if len(configurations) > 1 else []
    if ranked:
        which = {"max": "highest", "min": "lowest"}[results.direction or ""]
        lines.append(f"{table.BEST} {which} {results.objective}: {ranked[0].label}")
    if any(each.partial for each in configurations):
        lines.append(f"{table.SO_FAR} so far: none of its jobs has finished")
    lines += hints.hints(results, configurations)
    return [*lines, ""] if lines else []


def _broken(results: Results, configurations: Sequence[Configuration], verbose: bool) -> list[str]:
    """Return what diverged, then what failed: a line for each configuration with a message.

    A line for each job if `verbose`; otherwise not all of very many.
    """
    lines = []
    for state in BROKEN:
        for each in configurations:
            jobs = [row for row in each.rows if row.state == state]
            for row in jobs if verbose else jobs[:1]:
                of = f" ({len(jobs)} of {len(each.rows)} jobs)" if len(each.rows) > 1 else ""
                which = row.directory if verbose else f"{row.directory}{of}"
                lines.append(f"{state:<8}  {which}: {row.message or 'no message'}")
    shown = lines if verbose else lines[:BROKEN_SHOWN]
    if len(shown) < len(lines):
        shown.append(f"and {len(lines) - len(shown)} more; all are in {RESULTS}")
    if any(row.state == "failed" for row in results.rows):
        shown.append(f"what failed has its traceback in {results.folder}/<job>/error.txt")
    return [*shown, ""] if shown else []
