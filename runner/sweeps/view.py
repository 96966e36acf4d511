"""What is seen of a sweep while it runs: one live picture, or a plain line for each job."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from runner.foundation.errors import printable
from runner.recording.console import Terminal, number
from runner.sweeps.state import FINAL, Entry, State, best, counted

if TYPE_CHECKING:
    from rich.live import Live

PAUSE = 0.25  # seconds between two drawings
STYLES = {"failed": "red", "diverged": "yellow"}


class View:
    """Show how a sweep goes; its state says how far it is, the jobs' news what moves."""

    def __init__(self, state: State, terminal: Terminal):
        self.state, self.terminal = state, terminal
        self._steps: dict[str, tuple[int, int]] = {}  # by job: step, of how many
        self._rows: dict[str, Mapping[str, float]] = {}  # by job: its newest metrics
        self._began, self._before = time.monotonic(), self._share()
        self._live: Live | None = None
        self._due = 0.0

    def __enter__(self) -> View:
        """Begin to draw, where there is a terminal to draw on."""
        console = self.terminal.console
        if console.is_terminal and not console.is_dumb_terminal:
            from rich.live import Live

            self._live = Live(console=console, auto_refresh=False, transient=True)
            self._live.start()
            console.show_cursor(True)  # who leaves at once has no time to bring it back
        return self

    def __exit__(self, *error: object) -> None:
        """Take the picture away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def began(self) -> None:
        """Measure time from here on: what came before was no training."""
        self._began, self._before = time.monotonic(), self._share()

    def moved(self, job: str, event: Mapping[str, Any]) -> None:
        """Take the news of a job that runs."""
        self._steps[job] = int(event.get("step") or 0), int(event.get("total") or 0)
        if event.get("metrics"):
            self._rows[job] = event["metrics"]

    def ended(self, job: str) -> None:
        """Say how a job ended: at once where it failed or diverged, else in the picture."""
        entry = self.state.jobs[job]
        self._steps.pop(job, None)
        line = f"{entry['state']:<8}  {entry['directory']}{self._outcome(job, entry)}"
        if self._live is None or entry["state"] != "finished":
            self.terminal.line(line, STYLES.get(entry["state"], ""))
        else:
            self.terminal.note(line)

    def _outcome(self, job: str, entry: Entry) -> str:
        if entry["state"] == "failed":
            return f": {entry['message']}; see {self.state.folder_of(job) / 'error.txt'}"
        parts = []
        if entry["value"] is not None:
            parts.append(f"{self.state.content.get('objective')} {number(entry['value'])}")
        if entry["state"] == "diverged" and entry["message"]:
            parts.append(entry["message"])
        if entry["started"] and entry["ended"]:
            parts.append(f"{entry['ended'] - entry['started']:.1f} s")
        counts = self.state.counts()
        parts.append(f"{sum(counts[each] for each in FINAL)}/{sum(counts.values())}")
        return "".join(f"  {part}" for part in parts)

    def draw(self, batches: Mapping[str, Sequence[str]]) -> None:
        """Draw the picture anew, four times a second at most; `batches` are those that run."""
        if self._live is None or (now := time.monotonic()) < self._due:
            return
        self._live.update(self.picture(batches), refresh=True)
        self._due = now + PAUSE

    def picture(self, batches: Mapping[str, Sequence[str]]) -> Group:
        """Return what is drawn: the sweep in a line, the best job, a line for each batch."""
        counts = self.state.counts()
        total = sum(counts.values())
        bar = ProgressBar(total=max(total, 1), completed=total * self._share(), width=30)
        head = Table.grid(padding=(0, 2))
        head.add_row(bar, _text(f"{counted(counts)}{self._left()}"))
        rows = [_text(f"{name}  {self._batch(jobs)}") for name, jobs in batches.items()]
        return Group(head, *([_text(line)] if (line := self.best()) else []), *rows)

    def _batch(self, jobs: Sequence[str]) -> str:
        """Say where the jobs of a batch are: steps, and the best of their newest metrics."""
        known = [self._steps[job] for job in jobs if job in self._steps]
        running = f"{len(jobs)} job{'' if len(jobs) == 1 else 's'}"
        if not known:
            return f"{running}  starting"
        step, total = max(known)
        objective = self.state.content.get("objective") or "train/loss"
        key = next((key for key in (objective, "valid/loss", "train/loss")
                    if any(key in self._rows.get(job, {}) for job in jobs)), None)  # fmt: skip
        text = f"{running}  step {step:,}{f'/{total:,}' if total else ''}"
        if key is None:
            return text
        values = [float(self._rows[job][key]) for job in jobs if key in self._rows.get(job, {})]
        direction = self.state.content.get("direction") if key == objective else "min"
        return f"{text}  {key} {number(max(values) if direction == 'max' else min(values))}"

    def best(self) -> str:
        """Return the best job so far with its swept values; nothing where that is not known."""
        if (found := best(self.state.content)) is None:
            return ""
        value, entry = found
        swept = "  ".join(f"{key}={number(each)}" for key, each in entry["swept"].items())
        return f"best  {self.state.content.get('objective')} {number(value)}  {swept}"

    def _share(self) -> float:
        """Return how much of the sweep is done, the running jobs' steps counted in."""
        asked = self.state.asked()
        done = sum(
            1.0 if entry["state"] in FINAL else step / total if total else 0.0
            for job, entry in asked.items()
            for step, total in [self._steps.get(job, (0, 0))]
        )
        return done / max(len(asked), 1)

    def _left(self) -> str:
        """Estimate the time left from the share done since this command began."""
        share = self._share()
        seconds = time.monotonic() - self._began
        if share - self._before < 0.01 or seconds < 1:
            return ""
        left = seconds * (1 - share) / (share - self._before)
        hours, minutes = int(left // 3600), int(left % 3600 // 60)
        return f"  {hours}:{minutes:02d}:{int(left % 60):02d} left"


def _text(line: str) -> Text:
    return Text(printable(line), no_wrap=True, overflow="ellipsis")
