"""The recorder: what a run writes while it trains, and how long each log was at a checkpoint."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from runner.foundation.files import read_json, write_json
from runner.recording import directory
from runner.recording.console import Terminal
from runner.recording.environment import environment as here
from runner.recording.logs import Log

if TYPE_CHECKING:
    from runner.recording.tensorboard import Events


WAIT = 0.5  # seconds between two writings of rows; a process that is killed loses no more


class Stopwatch:
    """Seconds spent in training, without what was spent on looking and saving."""

    def __init__(self) -> None:
        self.before = 0.0  # until it last rested
        self._since: float | None = None

    def go(self) -> None:
        """Run, unless it runs already."""
        if self._since is None:
            self._since = time.perf_counter()

    def rest(self) -> None:
        """Stand still, unless it does already."""
        self.before, self._since = self.total(), None

    def total(self) -> float:
        """Return the seconds so far."""
        return self.before + (time.perf_counter() - self._since if self._since else 0.0)


class Recorder:
    """Write metrics, timing and events; show progress; sum up at the end."""

    def __init__(
        self, folder: Path, terminal: Terminal, tensorboard: bool, lengths: dict[str, int] | None
    ):
        """Open the logs, cut back to the `lengths` that a checkpoint noted when resuming."""
        known = lengths or {}
        self.folder, self.terminal = folder, terminal
        self.metrics = Log(folder / directory.METRICS, known.get("metrics"))
        self.timing = Log(folder / directory.TIMING, known.get("timing"))
        self.events: Events | None = None
        if tensorboard:
            from runner.recording.tensorboard import Events

            self.events = Events(folder, known.get("events"))
        self.stopwatch = Stopwatch()
        self._seen, self._seconds = 0, 0.0  # at the last timing row
        self._rows: list[tuple[dict[str, Any], float, float]] = []  # with seconds and rate
        self._due = 0.0  # when they are written

    def describe(self, images: Tensor | None, environment: Mapping[str, Any]) -> None:
        """Record what the run is: environment, settings as text and HParams, training images."""
        write_json(self.folder / directory.ENVIRONMENT, {**here(), **environment})
        if self.events is None:
            return
        config = (self.folder / directory.CONFIG).read_text(encoding="utf-8")
        self.events.text("config", f"```yaml\n{config}```")
        hparams = directory.settings(self.folder)
        self.events.hparams(hparams, self.folder.name, directory.started(self.folder))
        if images is not None:
            self.events.images("train/images", images)

    def start(self, total: int, state: Any, validated: bool = True) -> None:
        """Begin to measure time and to show progress."""
        self._seen, self._seconds = state.seen, self.stopwatch.total()
        self.stopwatch.go()
        self.terminal.start(total, state.step, validated)

    def record(self, state: Any, row: dict[str, Any]) -> None:
        """Take the row of this step, if it has one; rows that follow each other fast wait a bit."""
        self.terminal.tick(state.step)
        if not row:
            if self._rows and time.monotonic() >= self._due:
                self.write()
            return
        seconds = self.stopwatch.total() - self._seconds
        self._rows.append((row, seconds, (state.seen - self._seen) / max(seconds, 1e-9)))
        if "train/loss" in row:
            self._seen, self._seconds = state.seen, self._seconds + seconds
        if time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Write and show the rows that wait: several at once cost little more than one."""
        while self._rows:
            row, seconds, rate = self._rows.pop(0)
            self.metrics.row(row)
            if "train/loss" in row:
                timing = {"step": row["step"], "seconds": seconds, "samples_per_second": rate}
                self.timing.row(timing)
            if self.events is not None:
                tagged = {key: value for key, value in row.items() if key not in ("step", "epoch")}
                self.events.scalars(tagged, row["step"])
            self.terminal.row(row, rate)
        self._due = time.monotonic() + WAIT

    def lengths(self) -> dict[str, int]:
        """Bring every log to the disk and return its length."""
        self.write()
        lengths = {"metrics": self.metrics.sync(), "timing": self.timing.sync()}
        if self.events is not None:
            lengths["events"] = self.events.log.sync()
        return lengths

    def stop(self) -> None:
        """Write what waits and take the progress bar away."""
        self.write()
        self.terminal.stop()

    def finish(
        self, summary: dict[str, Any], test: Mapping[str, float], step: int
    ) -> dict[str, Any]:
        """Write the summary and return it, with time and speed added."""
        self.write()
        rows = list(directory.read_rows(self.folder / directory.TIMING))
        rates = [row["samples_per_second"] for row in rows]
        recorded = read_json(self.folder / directory.ENVIRONMENT)
        summary = {
            **summary,
            "seconds": sum(row["seconds"] for row in rows),
            "samples_per_second": statistics.median(rates) if rates else None,
            "versions": recorded.get("versions"),
        }
        write_json(self.folder / directory.SUMMARY, summary)
        if self.events is not None:
            self.events.scalars({f"test/{name}": value for name, value in test.items()}, step)
        return summary

    def close(self) -> None:
        """Close every log and take the progress bar away."""
        self.stop()
        for log in (self.metrics, self.timing, *([self.events.log] if self.events else [])):
            log.close()
