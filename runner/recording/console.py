"""The terminal: rich where there is one, plain lines where there is none.

Names and values come from the user: they are printed as text, never read as markup.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runner.foundation import secrets
from runner.foundation.errors import Unwritable, printable
from runner.recording.logs import WAITS, Log, encoded

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

ROWS_SHOWN = 20  # of a run without validation
PAUSE, SHARE = 0.1, 0.005  # seconds between two drawings of the bar; their share of the time
Layer = tuple[str, str, tuple[int, ...] | None, int, int]


class Terminal:
    """Print a run as it goes; what matters is copied, as plain lines, to the run's log."""

    def __init__(self, console: Console | None = None, verbose: bool = False):
        self.console, self.verbose = console or _console(), verbose
        self._bar: tuple[Progress, TaskID] | None = None
        self._drawn = ""  # what the bar says beside the steps
        self._due = 0.0  # when it is drawn next
        self._log: Log | None = None
        self._held = False  # open, while rows are logged
        self._late = False  # it is known that the log waits
        self._kept: list[str] = []  # until there is a log
        self._between = self._next = math.inf  # steps between rows shown without validation

    def keep_log(self, path: Path) -> None:
        """Copy what is printed, from the first line on, to a file; raises `Unwritable`."""
        self._log = Log(path)
        kept, self._kept = self._kept, []
        self._append("".join(kept))

    def line(self, text: str, style: str = "") -> None:
        """Print a line of text."""
        text = printable(text)
        self.console.print(Text(text, style=style))
        self._append(f"{text}\n")

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.line(f"warning: {text}", "yellow")

    def start(self, total: int, done: int, validated: bool = True) -> None:
        """Begin to show progress through `total` steps; without validation some rows are shown."""
        self._between = math.inf if validated else total / ROWS_SHOWN
        self._next = done + self._between
        self._held = True
        if not self.console.is_terminal or self.console.is_dumb_terminal:
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        progress = Progress(
            BarColumn(bar_width=30),
            TextColumn("{task.completed}/{task.total}", markup=False),
            TextColumn("{task.fields[row]}", markup=False),
            TimeRemainingColumn(),
            console=self.console,
            auto_refresh=False,
            transient=True,
        )
        progress.start()
        self._bar = progress, progress.add_task("", total=total, completed=done, row="")

    def tick(self, step: int) -> None:
        """Move the bar, ten times a second at most, and less often where that takes long."""
        if self._bar is None or (now := time.monotonic()) < self._due:
            return
        progress, task = self._bar
        progress.update(task, completed=step, row=self._drawn, refresh=True)
        after = time.monotonic()
        self._due = after + max(PAUSE, (after - now) / SHARE)

    def row(self, row: Mapping[str, float], rate: float) -> None:
        """Show a logged row: in the bar, or as a plain line where it holds an evaluation."""
        text = "  ".join([*_shown(row), f"{rate:,.0f} samples/s"])
        line = f"step {row['step']}  epoch {row['epoch']:g}  {text}\n"
        if self._bar is not None:
            self._drawn = text
        elif any(key.startswith("valid/") for key in row) or row["step"] >= self._next:
            self._next += self._between
            self._print(line)
        self._append(line)

    def _print(self, line: str) -> None:
        """Print a line as it is: to find out how it looks, rich takes as long as a step does."""
        self.console.file.write(line)
        self.console.file.flush()

    def stop(self) -> None:
        """Take the progress bar away, and close the log until the next line."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None
        self._held = False
        if self._log is not None:
            self._log.close()

    def note(self, text: str) -> None:
        """Write to the log what another prints."""
        self._append(f"{printable(text)}\n")

    def unwritten(self) -> list[str]:
        """Try once more to write what the log lacks; return why that cannot be, if so."""
        try:
            if self._log is not None:
                self._log.write()
        except Unwritable as error:
            return [str(error)]
        return []

    def results(self, splits: Mapping[str, Mapping[str, float]]) -> None:
        """Print a table: a row for each split, a column for each metric."""
        names = list(next(iter(splits.values())))
        rows = [[split, *(number(values.get(name)) for name in names)]
                for split, values in splits.items()]  # fmt: skip
        self.table(["", *names], rows)
        for row in [["split", *names], *rows]:
            self._append("  ".join(row) + "\n")

    def summary(self, layers: Sequence[Layer]) -> None:
        """Print a table of a model: name, class, output shape, parameters and FLOPs of its layers.

        FLOPs are those of one sample's forward pass.
        """
        rows = [
            [name, kind, " x ".join(map(str, shape or ("-",))), f"{parameters:,}", f"{flops:,}"]
            for name, kind, shape, parameters, flops in layers
        ]
        totals = [f"{sum(column):,}" for column in list(zip(*layers, strict=True))[3:]]
        columns = ["layer", "kind", "output shape", "parameters", "FLOPs"]
        self.table(columns, [*rows, ["total", "", "", *totals]])
        for row in [columns, *rows, ["total", *totals]]:
            self._append("  ".join(row) + "\n")

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
        """Print a table of texts, the first `left` columns and the last of many flush left."""
        columns, *rows = [[printable(cell) for cell in row] for row in (columns, *rows)]
        table = Table(box=None, pad_edge=False, header_style="bold")
        for at, column in enumerate(columns):
            clips = at == len(columns) - 1 and left > 1
            table.add_column(
                Text(column),
                justify="left" if at < left else "right",
                no_wrap=True,
                overflow="ellipsis",
                min_width=None if clips else _width(column, rows, at),
            )
        for row in rows:
            table.add_row(*map(Text, row))
        self.console.print(table)

    def _append(self, text: str) -> None:
        text = secrets.without(text)
        if self._log is None:
            self._kept.append(text)
            return
        try:
            self._log.write(encoded(text))
        except Unwritable as error:
            if not self._late:
                self._late = True
                self.warn(f"{error}; {WAITS}")
        if not self._held:
            self._log.close()


class Silent(Terminal):
    """Print nothing but what a subclass passes on."""

    def __init__(self) -> None:
        super().__init__(Console(quiet=True))

    def line(self, text: str, style: str = "") -> None:
        """Say nothing."""

    def start(self, total: int, done: int, validated: bool = True) -> None:
        """Show no progress."""

    def row(self, row: Mapping[str, float], rate: float) -> None:
        """Show nothing."""

    def results(self, splits: Mapping[str, Mapping[str, float]]) -> None:
        """Show nothing."""


def _console() -> Console:
    """Return a console on the standard output; without a terminal, lines are not cut."""
    console = Console(highlight=False, soft_wrap=True)
    return (
        console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=10_000)
    )


def _width(column: str, rows: Sequence[Sequence[str]], at: int) -> int:
    return max(len(column), *(len(row[at]) for row in rows), 0)


def number(value: Any) -> str:
    """Return a number in four significant digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _shown(row: Mapping[str, float]) -> list[str]:
    chosen = ("train/loss", "train/accuracy", "valid/loss", "valid/accuracy", "valid/r2")
    return [f"{key} {number(row[key])}" for key in chosen if key in row]
