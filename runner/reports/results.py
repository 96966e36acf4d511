"""What the jobs of a sweep came to, read from their files, and results.csv.

A job counts by its status.json; sweep.json is the plan and may lag. Jobs that only an earlier
command asked for are left out. Whatever is read may be written at the same moment: only whole files
and whole lines are taken.

results.csv has a row for each job, in the order of the plan, and these columns:

    directory          of the job, below the sweep's
    the swept keys     in full, in the order they were given; empty where a job has none
    seed               swept or not
    state              pending, running, finished, diverged, failed or interrupted
    steps              trained
    train/... valid/... test/...   loss first, the others by name: of the weights that were kept; of
                       the last logged rows while a job is running or interrupted; else empty
    objective          the metric gone by
    best, best_step    its value with the weights that were kept, and their step
    message            why a job did not finish
    seconds            of training
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from runner.foundation.errors import Misconfigured
from runner.foundation.files import flat, read_json, read_yaml, write_atomic
from runner.recording import directory
from runner.reports import naming

RESULTS = "results.csv"
SPLITS = ("train", "valid", "test")
UNFINISHED = ("running", "interrupted")  # what has numbers so far
BROKEN = ("diverged", "failed")
FINAL = ("finished", *BROKEN)  # states of jobs that have come to their end
HIGHER = ("accuracy", "r2", "top")  # metrics of the runner's own that grow as models get better
LOWER = ("loss", "error", "rmse", "mae", "calibration_error")


@dataclass(frozen=True)
class Row:
    """A job: what was swept, how it ended, what was measured.

    `metrics` are those of the kept weights; if `partial`, the last ones that were logged.
    `value` is the objective's best, `swept` has the seed too.
    """

    id: str
    directory: str
    swept: dict[str, Any]
    seed: int | None
    state: str
    steps: int | None
    metrics: dict[str, float]
    value: float | None
    best_step: int | None
    seconds: float | None
    message: str
    partial: bool


@dataclass(frozen=True)
class Results:
    """A sweep as it stands: `direction` is max, min, or None where nobody can tell."""

    folder: Path
    name: str
    swept: list[str]  # full keys, in the order they were given
    objective: str | None
    direction: str | None
    rows: list[Row]
    left_out: int  # jobs of earlier commands that the newest one did not ask for
    at_work: bool  # whether a process is at work on it

    @property
    def axes(self) -> list[str]:
        """Return the swept keys but the seed."""
        return [key for key in self.swept if key != "seed"]

    def sign(self) -> int:
        """Return what makes a better objective the larger number; 0 where nobody can tell."""
        return {"max": 1, "min": -1}.get(self.direction or "", 0)


def read(folder: Path) -> Results:
    """Read a sweep's plan and the files of its jobs.

    Raises `Misconfigured` if there is no plan, or it is not one.
    """
    plan = read_json(folder / directory.SWEEP)
    jobs = plan.get("jobs")
    if not isinstance(jobs, dict):
        raise Misconfigured(f"{folder}: no sweep: {directory.SWEEP} is missing or has no jobs")
    asked = {key: job for key, job in jobs.items() if job.get("asked", True)}
    at_work = directory.at_work(folder)
    found = [_Files.read(key, job, folder, at_work) for key, job in asked.items()]
    swept = list(plan.get("swept", []))
    objective = plan.get("objective") or _objective(found)
    direction = plan.get("direction") or direction_of(objective)
    seed = None if "seed" in swept else _common_seed(folder, found)
    return Results(
        folder=folder,
        name=plan.get("name") or folder.name,
        swept=swept,
        objective=objective,
        direction=direction,
        rows=[_row(each, objective, direction, seed) for each in found],
        left_out=len(jobs) - len(asked),
        at_work=at_work,
    )


def rows(folder: Path) -> list[Row]:
    """Return a sweep's jobs in the order of the plan, with what is known of each."""
    return read(folder).rows


def metric_names(names: Iterable[str]) -> list[str]:
    """Return metrics of splits in their order: by split, the loss first, the others by name."""

    def rank(name: str) -> tuple[int, bool, str]:
        split, _, metric = name.partition("/")
        return SPLITS.index(split), metric != "loss", metric

    return sorted({each for each in names if each.partition("/")[0] in SPLITS}, key=rank)


def direction_of(objective: str | None) -> str | None:
    """Return whether more or less of a metric is better: max, min, or None for others' metrics."""
    metric = (objective or "").rpartition("/")[2]
    if metric in LOWER:
        return "min"
    return "max" if metric.rstrip("0123456789") in HIGHER or metric in HIGHER else None


def outcome(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objective that a finished run went by, its direction and the run's value."""
    kept = summary.get("best") or {}
    objective = kept.get("objective")
    direction = kept.get("direction") or direction_of(objective)
    value = value_of(summary, objective)
    return {"objective": objective, "direction": direction, "value": value}


def value_of(summary: Mapping[str, Any], metric: str | None) -> float | None:
    """Return what a finished run came to by a metric, with the weights that were kept."""
    kept = summary.get("best") or {}
    if kept.get("objective") == metric and kept.get("value") is not None:
        return float(kept["value"])
    split, _, name = (metric or "").partition("/")
    found = (summary.get(split) or {}).get(name)
    return found if isinstance(found, int | float) else None


def write(results: Results) -> Path:
    """Write results.csv, whole or not at all; return its path."""
    metrics = metric_names(name for row in results.rows for name in row.metrics)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["directory", *results.axes, "seed", "state", "steps", *metrics, "objective", "best",
            "best_step", "message", "seconds"]  # fmt: skip
    writer.writerow(naming.cells(head))
    for row in results.rows:
        writer.writerow(naming.cells([
            row.directory,
            *(naming.text(row.swept[key]) if key in row.swept else "" for key in results.axes),
            row.seed, row.state, row.steps,
            *(row.metrics.get(name) for name in metrics),
            results.objective, row.value, row.best_step, row.message, row.seconds,
        ]))  # fmt: skip
    write_atomic(results.folder / RESULTS, text.getvalue())
    return results.folder / RESULTS


class _Files(NamedTuple):
    """What is written about a job; `logged` of one under way, (step, value) pairs by metric."""

    id: str
    job: dict[str, Any]
    status: dict[str, Any]
    summary: dict[str, Any]
    logged: dict[str, list[tuple[int, float]]]
    state: str

    @classmethod
    def read(cls, key: str, job: dict[str, Any], sweep: Path, at_work: bool) -> _Files:
        folder = sweep / job["directory"]
        status = directory.status(folder)
        state = str(status.get("state") or job.get("state") or "pending")
        if state == "running" and not at_work:
            state = "interrupted"  # by what left it no time to say so
        logged = _logged(folder) if state in UNFINISHED else {}
        return cls(key, job, status, read_json(folder / directory.SUMMARY), logged, state)


def _row(files: _Files, objective: str | None, direction: str | None, seed: int | None) -> Row:
    job, status, summary = files.job, files.status, files.summary
    if files.state == "finished":
        kept = summary.get("best") or {}
        metrics = _numbers({split: summary.get(split) or {} for split in SPLITS})
        step = kept.get("step") if kept.get("objective") == objective else None
        value = value_of(summary, objective)
    else:
        metrics = {name: points[-1][1] for name, points in files.logged.items()}
        step, value = _best_so_far(files.logged.get(objective or "", []), direction)
    swept = job.get("swept", {})
    return Row(
        id=files.id,
        directory=job["directory"],
        swept=swept,
        seed=swept.get("seed", seed),
        state=files.state,
        steps=summary.get("steps", status.get("step")),
        metrics=metrics,
        value=value,
        best_step=step,
        seconds=summary.get("seconds"),
        message="" if files.state == "finished" else _message(status, job),
        partial=files.state in UNFINISHED and bool(metrics),
    )


def _message(status: dict[str, Any], job: dict[str, Any]) -> str:
    return " ".join(str(status.get("message") or job.get("message") or "").split())


def _numbers(content: dict[str, Any]) -> dict[str, float]:
    """Return `{"valid": {"loss": 1.0}}` as `{"valid/loss": 1.0}`, numbers alone."""
    return {
        key.replace(".", "/", 1): value
        for key, value in flat(content).items()
        if isinstance(value, int | float)
    }


def _logged(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the (step, value) pairs of each metric of a split that a job logged so far."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in directory.read_rows(folder / directory.METRICS):
        for name, value in row.items():
            if name.partition("/")[0] in SPLITS and isinstance(value, int | float):
                found.setdefault(name, []).append((row["step"], value))
    return found


def _best_so_far(
    points: Sequence[tuple[int, float]], direction: str | None
) -> tuple[int | None, float | None]:
    """Return step and value of the best point, of the last where nobody can tell."""
    if not points:
        return None, None
    if direction is None:
        return points[-1]
    return (max if direction == "max" else min)(points, key=lambda point: point[1])


def _objective(found: Sequence[_Files]) -> str | None:
    """Return what the runs went by, else what they go by where nothing else was chosen."""
    for each in found:
        if name := (each.summary.get("best") or {}).get("objective"):
            return str(name)
    known = {name for each in found for name in each.logged}
    usual = ("valid/accuracy", "valid/loss", "train/loss")
    return next((name for name in usual if name in known), None)


def _common_seed(sweep: Path, found: Sequence[_Files]) -> int | None:
    """Return the seed of jobs that share it, from the first configuration there is."""
    for each in found:
        if (path := sweep / each.job["directory"] / directory.CONFIG).is_file():
            seed = read_yaml(path).get("seed")
            return seed if isinstance(seed, int) else None
    return None
