"""A single run's report: its results and the last thing that is known of it."""

from __future__ import annotations

from pathlib import Path

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
