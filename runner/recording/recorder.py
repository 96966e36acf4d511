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
        self,
        folder: Path,
        terminal: Terminal,
        tensorboard: bool,
        lengths: dict[str, int] | None,
        swept: Mapping[str, Any] | None = None,
    ):
        """Open the logs, cut back to the `lengths` that a checkpoint noted when resuming.

        A job of a sweep is known by its `swept` values; what is the same for all jobs, and times,
        are not written for each.
        """
        known = lengths or {}
        self.folder, self.terminal, self.swept = folder, terminal, swept
        self.metrics = Log(folder / directory.METRICS, known.get("metrics"))
        self.timing: Log | None = None
        if swept is None:
            self.timing = Log(folder / directory.TIMING, known.get("timing"))
        self.events: Events | None = None
        if tensorboard:
            from runner.recording.tensorboard import Events

            self.events = Events(folder, known.get("events"))
        self.stopwatch = Stopwatch()
        self._seen, self._seconds = 0, 0.0  # at the last timing row
        self._rows: list[tuple[dict[str, Any], float, float]] = []  # with seconds and rate
        self._due = 0.0  # when they are written
        self._rates: list[float] = []  # of a job, samples a second
        self._spent = 0.0  # by a job

    def describe(self, images: Tensor | None, environment: Mapping[str, Any]) -> None:
        """Record what the run is: environment, settings as text and HParams, training images."""
        if self.swept is None:
            write_json(self.folder / directory.ENVIRONMENT, {**here(), **environment})
        if self.events is None:
            return
        config = (self.folder / directory.CONFIG).read_text(encoding="utf-8")
        self.events.text("config", f"```yaml\n{config}```")
        hparams = directory.settings(self.folder) if self.swept is None else self.swept
        self.events.hparams(hparams, self.folder.name, directory.started(self.folder))
        if images is not None:
            self.events.images("train/images", images)

    def start(self, total: int, state: Any, validated: bool = True) -> None:
        """Begin to measure time and to show progress."""
        self._spent = self.stopwatch.before if self.swept is not None else 0.0
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
                self._clocked(row["step"], seconds, rate)
            if self.events is not None:
                tagged = {key: value for key, value in row.items() if key not in ("step", "epoch")}
                self.events.scalars(tagged, row["step"])
            self.terminal.row(row, rate)
        self._due = time.monotonic() + WAIT

    def _clocked(self, step: int, seconds: float, rate: float) -> None:
        """Take how long the steps up to a row took."""
        if self.timing is not None:
            self.timing.row({"step": step, "seconds": seconds, "samples_per_second": rate})
        else:
            self._rates.append(rate)
            self._spent += seconds

    def lengths(self) -> dict[str, int]:
        """Write what waits and return the length of every log."""
        self.write()
        return {name: log.length() for name, log in self._logs().items()}

    def sync(self) -> None:
        """Bring every log to the disk; another thread may write rows meanwhile."""
        for log in self._logs().values():
            log.sync()

    def _logs(self) -> dict[str, Log]:
        events = self.events.log if self.events is not None else None
        logs = {"metrics": self.metrics, "timing": self.timing, "events": events}
        return {name: log for name, log in logs.items() if log is not None}

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
        rates = [row["samples_per_second"] for row in rows] or self._rates
        recorded = read_json(self.folder / directory.ENVIRONMENT)
        summary = {
            **summary,
            "seconds": self._spent + sum(row["seconds"] for row in rows),
            "samples_per_second": statistics.median(rates) if rates else None,
            **({"versions": recorded.get("versions")} if self.swept is None else {}),
        }
        write_json(self.folder / directory.SUMMARY, summary)
        if self.events is not None:
            self.events.scalars({f"test/{name}": value for name, value in test.items()}, step)
        return summary

    def close(self) -> None:
        """Close every log and take the progress bar away."""
        self.stop()
        for log in self._logs().values():
            log.close()
