"""Execute a run: train, record, test once with the best weights."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from runner.assemble.run import Run
from runner.components.dataset.data import SPLITS
from runner.execution.hooks import measuring, periods, refuse_nonfinite
from runner.execution.saving import Saving
from runner.foundation.errors import Interrupted
from runner.recording import directory
from runner.recording.console import Terminal
from runner.recording.environment import accelerators, decided
from runner.recording.recorder import Recorder
from runner.training.loop import Hook, Row, train
from runner.training.signals import Waiting, deferred
from runner.training.state import Outcome, State
from runner.training.step import Step

CHECKPOINT_PARTS = ("step", "state", "logs", "seconds")
SECONDS_BETWEEN_SAVES = 5  # unless trainer.save_every says when


@dataclass(frozen=True)
class Part:
    """What a run has from the sweep it is a job of.

    swept  the values that tell it from the others
    saves  where its checkpoints are: in one place for all the jobs that train together
    every  seconds between two of them
    """

    swept: Mapping[str, Any]
    saves: Path
    every: float


def execute(
    run: Run,
    folder: Path,
    terminal: Terminal,
    packed: dict[str, Any] | None = None,
    part: Part | None = None,
) -> dict[str, Any]:
    """Train into a run directory, from its start or from a checkpoint; return the summary.

    Raises `Diverged` or `Interrupted` with everything up to there on disk.
    """
    assert run.begun is not None, "a run that trains is settled first"
    state, step, _ = run.begun
    if packed is not None:
        state.unpack(packed["state"])
    logs, swept = packed and packed["logs"], part.swept if part else None
    recorder = Recorder(folder, terminal, run.settings.tensorboard, logs, swept)
    recorder.stopwatch.before = packed["seconds"] if packed is not None else 0.0
    saves = part.saves if part else folder / directory.CHECKPOINTS
    with contextlib.closing(recorder), Saving(saves, terminal.warn) as saving:
        saver = _Saver(state, recorder, run, part, saving)
        if packed is None:
            describe(run, recorder)
            if part is None:  # a job that is killed before its first save starts again
                saver.save()
                saving.wait()
        advance = advancing(run, step)
        with deferred() as waiting:
            hooks = [
                *measuring(run, recorder.stopwatch),
                Hook(1, recorder.record),
                *saver.hooks(waiting),
            ]
            recorder.start(run.clock.total, state, bool(len(run.data.splits["valid"])))
            train(state, advance, hooks, run.clock.total)
            recorder.stop()
            saver.save()
        summary = finish(run, state, recorder)
        saving.wait()
        return summary


def advancing(run: Run, step: Step) -> Callable[[State], Outcome]:
    """Return `advance(state)`: the next batch, the learning rate of the moment, one update."""
    clock, batch = run.clock, run.batches()
    log, evaluate = periods(run)

    def due(done: int) -> bool:
        return done % log == 0 or done % evaluate == 0 or done == clock.total

    def advance(state: State) -> Outcome:
        factor = run.schedule.at(state.step, state.schedule)
        return step(*batch(state.step), factor, due(state.step + 1))

    return advance


def describe(run: Run, recorder: Recorder) -> None:
    """Record what a run is, before its first step: settings, data, environment, pictures."""
    if recorder.swept is not None:  # what the jobs of a sweep share is recorded once for all
        recorder.describe(None, {})
        return
    x, _ = run.prepared.raw_train
    if run.prepared.augment is not None:
        x, _ = run.prepared.augment(0, *(part[:32] for part in run.prepared.raw_train))
    recorder.describe(
        images=x[:32] if x.dim() == 4 and x.shape[1] in (1, 3) else None,
        environment={
            "device": str(run.device),
            "gpus": accelerators(),
            "threads": torch.get_num_threads(),
            "data": {"checksum": run.data.checksum(), "source": run.data.source,
                     **{name: len(run.data.splits[name]) for name in SPLITS}},
            "parameters": run.parameters(),
            "decided": decided(run.decided),
        },
    )  # fmt: skip


def finish(run: Run, state: State, recorder: Recorder) -> dict[str, Any]:
    """Evaluate every split once with the best weights and write the summary."""
    best_step = state.best.step if state.best.weights else state.step
    if state.averages and not state.has_average:
        recorder.terminal.warn("training ended before averaging.start: no weights were averaged")
    state.restore_best()
    run.settle()
    splits = [name for name in SPLITS if len(run.data.splits[name])]
    measured = {name: run.measure(name) for name in splits}
    results = {name: numbers for name, (numbers, _) in measured.items()}
    larger = {name: others for name, (_, others) in measured.items() if others}
    summary = {
        **results,
        **({"details": larger} if larger else {}),
        "best": {
            "objective": run.goal,
            "value": run.sign * state.best.value if state.best.weights else None,
            "step": best_step,
            "epoch": best_step / run.clock.steps_per_epoch,
        },
        "steps": state.step,
        "epochs": state.step / run.clock.steps_per_epoch,
        "parameters": run.parameters(),
        "device": str(run.device),
    }
    return recorder.finish(summary, results.get("test", {}), state.step)


class _Saver:
    """Save the state together with the length of every log at that moment."""

    def __init__(
        self, state: State, recorder: Recorder, run: Run, part: Part | None, saving: Saving
    ):
        self.state, self.recorder, self.clock, self.saving = state, recorder, run.clock, saving
        self.period = None if part else run.settings.trainer.save_every
        self.seconds = part.every if part else SECONDS_BETWEEN_SAVES

    def save(self) -> None:
        """Begin to write a checkpoint unless this step has one."""
        step, recorder = self.state.step, self.recorder
        if step == self.saving.step:
            return
        refuse_nonfinite(self.state)
        recorder.stopwatch.rest()
        content = {"step": step, "state": self.state.pack(), "logs": recorder.lengths(),
                   "seconds": recorder.stopwatch.total()}  # fmt: skip
        epoch = step / self.clock.steps_per_epoch

        def after() -> None:
            directory.set_status(recorder.folder, step=step, epoch=epoch)

        self.saving.save(content, recorder.sync, after)

    def hooks(self, waiting: Waiting) -> list[Hook]:
        """Return what saves in time, and what saves and leaves when a signal came."""

        def save(state: State, row: Row) -> None:
            if self.period is not None or time.monotonic() - self.saving.time >= self.seconds:
                self.save()

        def leave(state: State, row: Row) -> None:
            if waiting.number:
                self.save()
                self.saving.wait()
                way = f"continue with: runner resume {self.recorder.folder}"
                raise Interrupted(waiting.number, f"saved step {state.step}; {way}")

        per_epoch = self.clock.steps_per_epoch
        steps = self.clock.steps(self.period) if self.period is not None else per_epoch

        def go(state: State, row: Row) -> None:
            self.recorder.stopwatch.go()

        return [Hook(steps, save), Hook(1, leave), Hook(1, go)]
