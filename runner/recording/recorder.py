"""The recorder: what a run writes while it trains, and how long each log was at a checkpoint."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from runner.foundation.errors import Unrecorded, UnusableCheckpoint, Unwritable
from runner.foundation.files import read_json, write_json
from runner.recording import directory
from runner.recording.console import Terminal
from runner.recording.environment import environment as here
from runner.recording.logs import WAITS, Log

if TYPE_CHECKING:
    from runner.recording.tensorboard import Events


UNWRITTEN = "unwritten"  # beside the lengths of logs
OF_LAYERS = ("std", "flat", "dead", "gradient", "update")  # what TensorBoard shows of a look
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
    """Write metrics, timing and events; show progress; sum up at the end.

    A log that cannot be written ends no training: its rows wait in memory.
    """

    def __init__(
        self,
        folder: Path,
        terminal: Terminal,
        tensorboard: bool,
        lengths: Mapping[str, Any] | None,
        swept: Mapping[str, Any] | None = None,
    ):
        """Open the logs, cut back to the `lengths` that a checkpoint noted when resuming.

        A job of a sweep is known by its `swept` values; what is the same for all jobs, and times,
        are not written for each.
        """
        self._known, self.resumed = lengths or {}, lengths is not None
        self._lost = ""  # what TensorBoard will never show, and why
        self._told: set[Path] = set()  # logs of which is known that they wait
        self.folder, self.terminal, self.swept = folder, terminal, swept
        self.metrics = self._log("metrics", directory.METRICS)
        self.timing = self._log("timing", directory.TIMING) if swept is None else None
        self.probes: Log | None = None  # once there is a look
        if "probes" in self._known:
            self.probes = self._log("probes", directory.PROBES)
        self.events = self._opened() if tensorboard else None
        self.stopwatch = Stopwatch()
        self._seen, self._seconds = 0, 0.0  # at the last timing row
        self._rows: list[tuple[dict[str, Any], float, float]] = []  # with seconds and rate
        self._due = 0.0  # when they are written
        self._rates: list[float] = []  # of a job, samples a second
        self._spent = 0.0  # in steps up to the last row

    def _log(self, name: str, file: str) -> Log:
        return Log(self.folder / file, *self._noted(name))

    def _noted(self, name: str) -> tuple[int | None, bytes]:
        """Return what a checkpoint knows of a log: its length, and what it had not taken yet."""
        return self._known.get(name), self._known.get(UNWRITTEN, {}).get(name, b"")

    def _opened(self) -> Events | None:
        try:
            from runner.recording.tensorboard import Events

            events = Events(self.folder, *self._noted("events"))
        except UnusableCheckpoint:
            raise
        except Exception as error:  # whatever is wrong with its installation
            self._lose(error)
            return None
        if events.missing:
            self.terminal.warn(f"{self.folder}: the event file is gone; {events.log.path.name} "
                               "has the points from here on")  # fmt: skip
        return events

    def describe(
        self,
        images: Tensor | None,
        environment: Mapping[str, Any],
        introduce: Callable[[Events], None] | None = None,
    ) -> None:
        """Record what the run is: environment, settings as text and HParams, training images.

        `introduce` gives TensorBoard what else it shows of a run.
        """
        if self.swept is None:
            write_json(self.folder / directory.ENVIRONMENT, {**here(), **environment})
        if self.events is not None:
            self._draw(self._introduce, self.events, images)
            if introduce is not None:
                self._draw(introduce, self.events)

    def mistaken(self, found: Mapping[str, Any], step: int) -> None:
        """Show what was confused, and samples that were answered wrongly, of mistakes.json."""
        if self.events is not None:
            self._draw(self._pictured, self.events, found, step)

    def _pictured(self, events: Events, found: Mapping[str, Any], step: int) -> None:
        from runner.recording import pictures

        for tag, picture in pictures.of_mistakes(found).items():
            events.image(tag, picture, step)

    def _introduce(self, events: Events, images: Tensor | None) -> None:
        config = (self.folder / directory.CONFIG).read_text(encoding="utf-8")
        events.text("config", f"```yaml\n{config}```")
        hparams = directory.settings(self.folder) if self.swept is None else self.swept
        events.hparams(hparams, self.folder.name, directory.started(self.folder))
        if images is not None:
            events.images("train/images", images)

    def start(self, total: int, state: Any, validated: bool = True) -> None:
        """Begin to measure time and to show progress."""
        self._spent = self.stopwatch.before
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
            self._keep(self.metrics, row)
            if "train/loss" in row:
                self._clocked(row["step"], seconds, rate)
            if self.events is not None:
                tagged = {key: value for key, value in row.items() if key not in ("step", "epoch")}
                self._draw(self.events.scalars, tagged, row["step"])
            self.terminal.row(row, rate)
        self._due = time.monotonic() + WAIT

    def probed(self, row: dict[str, Any], histograms: Mapping[str, Tensor]) -> None:
        """Take what a look into the network found: a line of the log, points for TensorBoard.

        The rows before it go first, so that the order depends on no clock.
        """
        self.write()
        if self.probes is None:
            path = self.folder / directory.PROBES
            self.probes = Log(path, 0 if path.exists() else None)  # no checkpoint knows of it
        self._keep(self.probes, row)
        if self.events is not None:
            self._draw(self.events.scalars, _tags(row), row["step"])
            self._draw(self.events.histograms, histograms, row["step"])

    def _clocked(self, step: int, seconds: float, rate: float) -> None:
        """Take how long the steps up to a row took."""
        if self.timing is not None:
            self._keep(self.timing, {"step": step, "seconds": seconds, "samples_per_second": rate})
        else:
            self._rates.append(rate)
        self._spent += seconds

    def _keep(self, log: Log, row: dict[str, Any]) -> None:
        """Write a row to a log, or let it wait."""
        try:
            log.row(row)
        except Unwritable as error:
            self._late(log, error)

    def _draw(self, draw: Callable[..., None], *given: Any) -> None:
        """Give TensorBoard something; whatever fails costs its points and nothing else."""
        try:
            draw(*given)
        except Unwritable as error:
            assert self.events is not None, "what was written goes to its log"
            self._late(self.events.log, error)
        except Exception as error:  # whatever it makes of what it is given
            self._lose(error)

    def _late(self, log: Log, error: Unwritable) -> None:
        """Say once of a log that it waits."""
        if log.path not in self._told:
            self._told.add(log.path)
            self.terminal.warn(f"{error}; {WAITS}")

    def _lose(self, error: Exception) -> None:
        """Say once that TensorBoard lacks points; metrics.jsonl has them all."""
        if not self._lost:
            self._lost = f"{self.folder}: TensorBoard lacks points: {error!r}"
            self.terminal.warn(f"{self._lost}; {directory.METRICS} has them all")

    def _behind(self) -> list[str]:
        """Try once more to write what waits; return why that cannot be, a line for each log."""
        reasons = []
        for log in self._logs().values():
            try:
                log.write()
            except Unwritable as error:
                reasons.append(str(error))
        return reasons

    def lengths(self) -> dict[str, Any]:
        """Write what waits; return the length of every log, and what it has not taken."""
        self.write()
        self._behind()
        logs = self._logs()
        waiting = {name: bytes(log.waiting) for name, log in logs.items() if log.waiting}
        lengths = {name: log.length() for name, log in logs.items()}
        return {**self._unopened(), **lengths, **({UNWRITTEN: waiting} if waiting else {})}

    def _unopened(self) -> dict[str, Any]:
        """Return the length of an event file that this process cannot go on with."""
        noted = self.events is None and "events" in self._known
        return {"events": self._known["events"]} if noted else {}

    def sync(self) -> None:
        """Bring every log to the disk; another thread may write rows meanwhile."""
        for name, log in self._logs().items():
            try:
                log.sync()
            except Unwritable as error:
                if name != "events":
                    raise
                self._lost = self._lost or f"TensorBoard lacks points: {error}"

    def _logs(self) -> dict[str, Log]:
        events = self.events.log if self.events is not None else None
        logs = {"metrics": self.metrics, "timing": self.timing, "probes": self.probes,
                "events": events}  # fmt: skip
        return {name: log for name, log in logs.items() if log is not None}

    def stop(self) -> None:
        """Write what waits and take the progress bar away."""
        self.write()
        self.terminal.stop()

    def finish(
        self,
        summary: dict[str, Any],
        test: Mapping[str, float],
        step: int,
        unsaved: Callable[[], Sequence[str]] = list,
    ) -> dict[str, Any]:
        """Write the summary and return it, with time and speed added.

        `unsaved` says what else could not be written. Raises `Unrecorded` if there is anything:
        of a job, whose results are its metrics, points for TensorBoard do not count.
        """
        self.write()
        waiting = bytes(self.timing.waiting) if self.timing is not None else b""
        rows = list(directory.read_rows(self.folder / directory.TIMING, waiting))
        rates = [row["samples_per_second"] for row in rows] or self._rates
        recorded = read_json(self.folder / directory.ENVIRONMENT)
        summary = {
            **summary,
            "seconds": self._spent,
            "samples_per_second": statistics.median(rates) if rates else None,
            **({"versions": recorded.get("versions")} if self.swept is None else {}),
        }
        if self.events is not None:
            tagged = {f"test/{name}": value for name, value in test.items()}
            self._draw(self.events.scalars, tagged, step)
        reasons = [*self._behind(), *unsaved()]
        try:
            write_json(self.folder / directory.SUMMARY, summary)
        except Unwritable as error:
            reasons.append(str(error))
        reasons += [self._lost] if self._lost and self.swept is None else []
        if reasons:
            raise Unrecorded(reasons, summary)
        return summary

    def close(self) -> None:
        """Close every log and take the progress bar away."""
        self.stop()
        for log in self._logs().values():
            log.close()


def _tags(row: Mapping[str, Any]) -> dict[str, float]:
    """Return what TensorBoard shows of a look: a section for each number, a chart for each layer.

    Numbers of the whole network stand in one section.
    """
    of_layers = {
        f"layers {key}/{layer}": numbers[key]
        for layer, numbers in row["layers"].items()
        for key in OF_LAYERS
        if key in numbers
    }
    return {**of_layers, **{f"network/{key}": value for key, value in row["network"].items()}}
