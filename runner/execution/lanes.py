"""Train a batch of a sweep's jobs as lanes of one program; each leaves the record of a run."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runner.assemble.lanes import Together
from runner.execution.divergence import NotFinite, diverged, refuse_weights
from runner.execution.execute import finish
from runner.execution.hooks import is_stopped, periods, scheduled
from runner.execution.jobs import TOLD
from runner.execution.lane import Lane, final, model_of, of_lane, packed, state_of, unpack, unsound
from runner.execution.replay import cause_of
from runner.execution.saving import Saving
from runner.foundation.errors import RunnerError, Unrecorded, UnusableCheckpoint
from runner.training import feed
from runner.training.evaluation import evaluating, measure, measure_lanes
from runner.training.lanes import Step, Tensors, predicted
from runner.training.loop import Row
from runner.training.signals import Waiting, deferred
from runner.training.skipping import sound_ones
from runner.training.state import Best, Outcome, on_host

PARTS = ("step", "members", "lanes", "jobs", "results")

Ended = Callable[[Lane, dict[str, Any] | RunnerError], None]
Told = Callable[[Lane, int, Row], None]


class Batch:
    """Jobs that train together, from their first step or from a checkpoint on.

    `lanes[i]` is the job of the i-th place of the stack, None where it has ended or was only
    company. `ended(lane, summary or error)` is called once for each, `told` now and then.
    """

    def __init__(
        self, together: Together, lanes: Sequence[Lane | None], folder: Path, every: float
    ):
        """Begin at step 0; `every` are the seconds between two saves into `folder`."""
        self.together, self.stack = together, together.lanes
        self.lanes = list(lanes)
        self.run = next(lane.run for lane in lanes if lane is not None)
        self.every = every
        self.saving = Saving(folder, warnings.warn)
        self.best: Tensors = {name: each.clone() for name, each in self._shown().items()}
        self.results: dict[str, Any] = {}  # of jobs that have ended
        self.over: list[tuple[Lane, dict[str, Any] | RunnerError]] = []  # and are not told yet
        self.late: list[tuple[Lane, dict[str, Any] | RunnerError]] = []  # for they are not saved
        self.looked = time.monotonic()
        self.log, self.evaluate = periods(self.run)
        self.total = self.run.clock.total

    def train(self, make: Callable[[], Step], ended: Ended, told: Told) -> None:
        """Take every job to its end; `make` gives the step, anew where lanes went.

        Raises `Interrupted` when a signal came, everything up to there on disk.
        """
        step, batch = make(), self.together.batches()
        with self.saving, deferred() as waiting:
            for at, lane in enumerate(self.lanes):
                if lane is not None:
                    lane.probing.begin(model_of(self.stack, at, lane), self.stack.step)
                    lane.recorder.start(self.total, self.stack)
            while self._alive() and self.stack.step < self.total:
                due, factors = self._due(self.stack.step + 1), self._factors()
                if self.over:  # a schedule failed
                    self._clocks(False)
                    self._tell(ended)
                    self._clocks(True)
                    continue
                outcome = step(*batch(self.stack.step), factors, due)
                self.stack.window.append(outcome)
                if due:
                    self._clocks(False)
                    if self._look(told):
                        self._tell(ended)
                        if self._compacted():
                            step, batch = make(), self.together.batches()
                    self._clocks(True)
                self._probe()
                self._keep(waiting, ended)

    def _probe(self) -> None:
        """Look into the jobs that go on after this step; where a job ends is its last look."""
        step = self.stack.step
        for at, lane in enumerate(self.lanes):
            if lane is not None and lane.probing.wants(step):
                lane.recorder.stopwatch.rest()
                lane.probing.after(model_of(self.stack, at, lane), step, False)
                lane.recorder.stopwatch.go()

    def _clocks(self, running: bool) -> None:
        """Let every job's stopwatch run while it trains, and rest meanwhile."""
        for lane in self._alive():
            watch = lane.recorder.stopwatch
            (watch.go if running else watch.rest)()

    def _tell(self, ended: Ended) -> None:
        """Save what is left of jobs that have ended, and only then call them so.

        While that cannot be written the others train on. The last of all say what is missing.
        """
        self.late, self.over = [*self.late, *self.over], []
        self.save()
        if self._alive() and not self.saving.succeeds():
            return
        unsaved = self.saving.unsaved()
        while self.late:
            lane, result = self.late.pop(0)
            if unsaved and not isinstance(result, RunnerError):
                result = Unrecorded(unsaved, result)
            ended(lane, result)

    def _due(self, done: int) -> bool:
        return done % self.log == 0 or done % self.evaluate == 0 or done == self.total

    def _alive(self) -> list[Lane]:
        return [lane for lane in self.lanes if lane is not None]

    def _factors(self) -> Tensor:
        """Return each lane's factor on its learning rate, (R,)."""
        factors = [self._factor(at, self.stack.step) for at in range(len(self.lanes))]
        return torch.tensor(factors, dtype=torch.float64, device=self.run.device)

    def _factor(self, at: int, step: int) -> float:
        """Return a lane's factor for the update after `step`; one that has none ends alone."""
        lane = self.lanes[at]
        try:
            return scheduled(lane.run, lane, step) if lane else 1.0
        except RunnerError as error:
            self._end(at, error)
            return 1.0

    def _look(self, told: Told) -> bool:
        """Measure, validate, judge and record; return whether lanes have ended."""
        done, window = self.stack.step, list(self.stack.window)
        rows = self._measured(window)
        self.stack.window.clear()
        for at, lane in enumerate(self.lanes):
            if lane is not None and (found := unsound(self.stack, at, lane, rows[at], window)):
                self._end(at, found)
        stopped = self._judged(rows) if done % self.evaluate == 0 or done == self.total else []
        now = time.monotonic()
        for at, lane in enumerate(self.lanes):
            if lane is None:
                continue
            lane.recorder.record(self.stack, rows[at])
            if now - self.looked >= TOLD:
                told(lane, done, rows[at])
            if done == self.total or at in stopped:
                self._end(at, None)
        self.looked = now if now - self.looked >= TOLD else self.looked
        return bool(self.over)

    def _measured(self, window: Sequence[Outcome]) -> list[Row]:
        """Sum up the steps since the last rows, as the rows of runs are."""
        done = self.stack.step
        measured = measure_lanes(window, self.run.metrics)
        norms = self.stack.gradient_norm.tolist() if self.stack.gradient_norm is not None else []
        rows: list[Row] = []
        skips = self.stack.skips.tolist() if self.run.settings.trainer.skips else None
        for at, lane in enumerate(self.lanes):
            numbers = measured[at]
            if skips is not None and not math.isfinite(numbers["loss"]):
                sound = sound_ones(of_lane(window, at))
                numbers = measure(sound, self.run.metrics)[0] if sound else {}
            row: Row = {"step": done, "epoch": done / self.run.clock.steps_per_epoch}
            row |= {f"train/{name}": value for name, value in numbers.items()}
            if lane is not None:
                row["lr"] = lane.run.optimizer.hyper["lr"] * self._factor(at, done - 1)
            row |= {"gradient/norm": norms[at]} if norms else {}
            row |= {} if skips is None else {"train/skipped": int(skips[at][0])}
            rows.append(row)
        return rows

    def _judged(self, rows: list[Row]) -> list[int]:
        """Validate, keep the best weights, tell the schedules; return which lanes are to stop."""
        if len(self.run.data.splits["valid"]):
            for row, values in zip(rows, self._validated(), strict=True):
                row |= {f"valid/{name}": value for name, value in values.items()}
        stopped, improved = [], []
        for at, lane in enumerate(self.lanes):
            if lane is None or "train/loss" not in rows[at]:
                continue
            value = lane.run.sign * rows[at][lane.run.goal]
            if lane.run.goal.startswith("valid/") and self._is_better(lane, value):
                improved.append(at)
            try:
                stopped += [at] if is_stopped(lane.run, lane, rows[at], value) else []
            except RunnerError as error:
                self._end(at, error)
        if improved:
            places = torch.tensor(improved, device=self.run.device)
            for name, each in self._shown().items():
                self.best[name].index_copy_(0, places, each.index_select(0, places))
        return stopped

    def _is_better(self, lane: Lane, value: float) -> bool:
        """Note a better value; averages of weights compete among themselves."""
        averaged = self.stack.has_average
        if averaged and not lane.best.averaged:
            lane.best = Best(averaged=True)
        if value < lane.best.value:
            lane.best = Best(value, self.stack.step, averaged)
            return True
        return False

    def _shown(self) -> Tensors:
        weights, buffers = self.stack.shown()
        return {**weights, **buffers}

    def _validated(self) -> list[dict[str, float]]:
        x, y = self.run.prepared.splits["valid"]
        blocks = feed.in_order(x, y, self.run.settings.trainer.evaluation_batch_size)
        rules_of = self.together.rules()
        with evaluating(self.stack.model):
            outcomes = [predicted(self.stack, rules_of, *block) for block in blocks]
        return measure_lanes(outcomes, self.run.metrics)

    def _end(self, at: int, error: RunnerError | NotFinite | None) -> None:
        """Sum up a job and give its place up; what it computes from here on is nobody's."""
        lane = self.lanes[at]
        assert lane is not None
        self.lanes[at] = None
        lane.recorder.stop()
        state = state_of(self.stack, self.best, at, lane)
        result: dict[str, Any] | RunnerError
        try:
            if error is not None:
                raise error
            refuse_weights(lane.run.model.named_parameters(), state.step)
            lane.probing.after(state.model, state.step, True)
            result = finish(lane.run, state, lane.recorder)
        except NotFinite as found:
            result = diverged(found, lane.run, lane.recorder.folder, cause_of(lane.run, found.step))
            state.restore_best()
        except RunnerError as failure:
            result = failure
            state.restore_best()
        lane.recorder.close()
        self.results[lane.id] = final(lane, state, result)
        self.over.append((lane, result))

    def _compacted(self) -> bool:
        """Drop lanes nobody needs once half of them have ended; tell whether some went."""
        places = [at for at, lane in enumerate(self.lanes) if lane is not None]
        if not places or self.together.fixed or max(2, len(places)) > self.stack.count // 2:
            return False
        padded = places if len(places) > 1 else places * 2
        chosen = torch.tensor(padded, device=self.run.device)
        self.stack.kept(padded)
        self.together.runs = [self.together.runs[at] for at in padded]
        self.best = {name: each.index_select(0, chosen) for name, each in self.best.items()}
        self.lanes = [self.lanes[at] for at in places] + [None] * (len(padded) - len(places))
        return True

    def _keep(self, waiting: Waiting, ended: Ended) -> None:
        """Save in time, and save and leave when a signal came."""
        if waiting.number:
            self.saving.leave(waiting.number, self.stack.step, self.save)
        if time.monotonic() - self.saving.time >= self.every:
            self._clocks(False)
            self._tell(ended) if self.late else self.save()
            self._clocks(True)

    def save(self) -> None:
        """Begin to write the state of all lanes, and the length of every log at that moment."""
        stack, jobs = self.stack, self._alive()
        content = {
            "step": stack.step,
            "seen": stack.seen,
            "members": [lane.id if lane else None for lane in self.lanes],
            "lanes": {name: on_host(tensors) for name, tensors in stack.lists().items()},
            "best": on_host(self.best),
            "window": [[each.cpu() for each in outcome] for outcome in stack.window],
            "jobs": {lane.id: packed(lane) for lane in jobs},
            "results": dict(self.results),
        }

        def before() -> None:
            for lane in jobs:
                lane.recorder.sync()

        self.saving.save(content, before)

    def unpack(self, content: dict[str, Any]) -> None:
        """Take back what `save` wrote, into a stack of the same members.

        Raises `UnusableCheckpoint` if that is not all there.
        """
        try:
            self._unpack(content)
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            where = f"{self.saving.folder}: step {content['step']}"
            raise UnusableCheckpoint(f"{where} is not all there: {error!r}") from error

    def _unpack(self, content: dict[str, Any]) -> None:
        stack, device = self.stack, self.run.device
        with torch.no_grad():
            for name, tensors in stack.lists().items():
                for own, stored in zip(tensors, content["lanes"][name], strict=True):
                    own.copy_(stored)
            for name, tensor in self.best.items():
                tensor.copy_(content["best"][name])
        stack.step, stack.seen = content["step"], content["seen"]
        stack.window[:] = [Outcome(*(each.to(device) for each in row)) for row in content["window"]]
        self.results = content["results"]
        for lane in self._alive():
            unpack(lane, content["jobs"][lane.id])
