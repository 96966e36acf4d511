"""A single run's report: its results and the last thing that is known of it."""

from __future__ import annotations

import shlex
from pathlib import Path

from runner.diagnosis.verdicts.remedy import corrected
from runner.foundation.files import read_json
from runner.recording import directory
from runner.recording.console import Terminal, number

SPLITS = ("train", "valid", "test")


def objective(folder: Path) -> str | None:
    """Return the metric that a run went by, None before its end."""
    name = (read_json(folder / directory.SUMMARY).get("best") or {}).get("objective")
    return str(name) if name else None


def summarize(folder: Path, terminal: Terminal) -> None:
    """Print how a run ended and its metrics by split; of one under way its last rows."""
    status, summary = directory.status(folder), read_json(folder / directory.SUMMARY)
    message = f": {status['message']}" if status.get("message") else ""
    terminal.line(f"run     {folder}")
    terminal.line(
        f"state   {status.get('state', 'unknown')}, step {status.get('step', 0)}{message}"
    )
    terminal.line("")
    splits = {name: summary[name] for name in SPLITS if name in summary}
    if splits:
        best = summary.get("best", {})
        terminal.results(splits)
        kept = "best" if best.get("value") is not None else "last"
        terminal.line(f"\n{kept} weights of step {number(best.get('step'))}; "
                      f"{number(summary.get('steps'))} steps")  # fmt: skip
        return
    last: dict[str, float] = {}
    for row in directory.read_rows(folder / directory.METRICS):
        last |= row
    for name, value in last.items():
        terminal.line(f"{name}  {number(value)}")
    if not last:
        terminal.line("nothing is logged yet")


def command(folder: Path, instead: str = "") -> str:
    """Return what is typed to repeat a run or sweep, with other values for some of what was."""
    asked, words = directory.asked(folder), corrected(overrides(folder), instead)
    flags = [("--trust", each) for each in asked.get("trust") or []]
    flags += [("--config-dir", each) for each in asked.get("config_dirs") or []]
    many = ["-m"] if directory.is_sweep(folder) else []
    return shlex.join(["runner", *many, *words, *(each for flag in flags for each in flag)])


def overrides(folder: Path) -> list[str]:
    """Return what was typed for a run; for a job of a sweep, all that it is."""
    jobs = read_json(folder.parent / directory.SWEEP).get("jobs", {}).values()
    own = [job.get("overrides") for job in jobs if job["directory"] == folder.name]
    return next(filter(None, [*own, directory.asked(folder).get("overrides")]), [])
