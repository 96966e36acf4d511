"""List runs, newest first: id, state, overrides, best metric, age. A sweep is one row.

runner runs
runner runs adam            those whose directory or overrides contain it
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from runner.cli.configure import output_root
from runner.foundation.files import held, read_json, read_yaml
from runner.recording import directory
from runner.recording.console import Terminal, number
from runner.reports.results import outcome
from runner.sweeps.state import best, counted, looked_at


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words and flags."""
    parser.add_argument("words", nargs="*", metavar="FILTER", help="or output_root=DIR")


def run(options: argparse.Namespace) -> int:
    """Print a table of runs."""
    roots = [word.partition("=")[2] for word in options.words if word.startswith("output_root=")]
    filters = [word for word in options.words if not word.startswith("output_root=")]
    root = output_root(*roots[:1])
    rows = [_row(folder) for folder in directory.runs(root)]
    rows = [row for row in rows if all(word in " ".join(row) for word in filters)]
    terminal = Terminal()
    if not rows:
        wanted = f" with {' '.join(filters)!r}" if filters else ""
        terminal.line(f"no runs{wanted} in {root}")
        return 0
    terminal.table(["run", "state", "age", "best", "experiment", "overrides"], rows, left=6)
    return 0


def _row(folder: Path) -> list[str]:
    if directory.is_sweep(folder):
        return _sweep(folder)
    status = directory.status(folder)
    asked = read_yaml(folder / directory.OVERRIDES)
    found = outcome(read_json(folder / directory.SUMMARY))
    shown = "" if found["value"] is None else f"{found['objective']} {number(found['value'])}"
    return [
        folder.name,
        _state(folder, status),
        _age(time.time() - directory.started(folder)),
        shown,
        folder.parent.name,
        " ".join(asked.get("overrides", [])),
    ]


def _sweep(folder: Path) -> list[str]:
    content, counts = looked_at(folder, directory.at_work(folder))
    found = best(content)
    shown = f"{content.get('objective')} {number(found[0])}" if found else ""
    return [
        folder.name,
        counted(counts),
        _age(time.time() - float(content.get("created") or 0.0)),
        shown,
        folder.parent.name,
        " ".join(map(str, content.get("overrides", []))),
    ]


def _state(folder: Path, status: dict[str, Any]) -> str:
    """Return the state; a run that says it is running but holds no lock was killed."""
    state = str(status.get("state", "unknown"))
    return "killed" if state == "running" and not held(folder) else state


def _age(seconds: float) -> str:
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
