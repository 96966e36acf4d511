"""Execute a run: train, record, test once with the best weights."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from runner.assemble.run import Run
from runner.components.dataset.data import SPLITS
from runner.execution import worst
from runner.execution.divergence import NotFinite, noting, refuse_nonfinite
from runner.execution.hooks import advancing, measuring
from runner.execution.introducing import introduce
from runner.execution.probing import Probing
from runner.execution.record import origin
from runner.execution.rollback import after_divergence, anchored
from runner.execution.saving import Saving
from runner.foundation.durations import minutes
from runner.foundation.errors import Interrupted
from runner.recording import directory
from runner.recording.console import Terminal
from runner.recording.environment import accelerators, decided
from runner.recording.recorder import Recorder
from runner.training import checkpoints, evaluation
from runner.training.loop import Hook, Row, train
from runner.training.signals import Waiting, before_leaving, deferred
from runner.training.state import State

CHECKPOINT_PARTS = ("step", "state", "logs", "seconds", "config", "fingerprint", "started")
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
    saves = part.saves if part else folder / directory.CHECKPOINTS
    while True:
        try:
            return _trained(run, folder, terminal, packed, part, saves)
        except NotFinite as found:
            packed = after_divergence(found, run, folder, saves, terminal)


def _trained(
    run: Run,
    folder: Path,
    terminal: Terminal,
    packed: dict[str, Any] | None,
    part: Part | None,
    saves: Path,
) -> dict[str, Any]:
    """Train, record and test; raises `NotFinite` with everything up to there on disk."""
    assert run.begun is not None, "a run that trains is settled first"
    state, step, _ = run.begun
    if packed is not None:
        state.unpack(packed["state"])
    logs, swept = packed and packed["logs"], part.swept if part else None
    recorder = Recorder(folder, terminal, run.settings.tensorboard, logs, swept)
    recorder.stopwatch.before = packed["seconds"] if packed is not None else 0.0
    with (
        contextlib.closing(recorder),
        Saving(saves, terminal.warn) as saving,
        before_leaving(_once_written(saving)),
    ):
        saver = _Saver(state, recorder, run, part, saving)
        if packed is not None:
            state.anchor = anchored(packed.get("anchor", packed)) if saver.rolls_back else None
        if packed is None:
            describe(run, recorder)
        probing = Probing(run, recorder)
        probing.begin(state.model, state.step)
        if packed is None:
            saver.anchor()
        if part is None and (packed is None or saver.differs(packed)):
            saver.save()  # a job that is killed before its first save starts again
            saving.wait()
        advance = advancing(run, step)
        with deferred() as waiting:
            hooks = [
                *measuring(run, recorder.stopwatch),
                Hook(1, recorder.record),
                *probing.hooks(),
                *saver.hooks(waiting),
            ]
            recorder.start(run.clock.total, state, bool(len(run.data.splits["valid"])))
            with noting(recorder.stopwatch, waiting):
                train(state, advance, hooks, run.clock.total)
                recorder.stop()
                saver.save()
            if waiting.number:
                saving.leave(waiting.number, state.step, saver.save)
        return finish(run, state, recorder, saving.unsaved)


def _once_written(saving: Saving) -> Callable[[Interrupted], Interrupted]:
    """Return what lets a checkpoint that is being written come to its end."""

    def wait(error: Interrupted) -> Interrupted:
        saving.unsaved()
        return error

    return wait


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
        introduce=partial(introduce, run),
    )  # fmt: skip


def finish(
    run: Run, state: State, recorder: Recorder, unsaved: Callable[[], list[str]] = list
) -> dict[str, Any]:
    """Evaluate every split once with the best weights and write the summary.

    Raises `Unrecorded` if not all is written, `unsaved` among it.
    """
    best_step = state.best.step if state.best.weights else state.step
    if state.averages and not state.has_average:
        recorder.terminal.warn("training ended before averaging.start: no weights were averaged")
    if count := state.skipped:
        steps = "1 step was" if count == 1 else f"{count} steps were"
        recorder.terminal.warn(f"{steps} left out: the loss or its gradient was nan or infinite")
    state.restore_best()
    run.settle()
    splits = [name for name in SPLITS if len(run.data.splits[name])]
    measured, lost = {}, []
    for name in splits:
        outcomes = run.outcomes(name)
        measured[name] = evaluation.measure(outcomes, run.metrics)
        if name == worst.looked_at(run):
            lost = worst.keep(run, name, outcomes, recorder, state.step)
    results = {name: numbers for name, (numbers, _) in measured.items()}
    larger = {name: others for name, (_, others) in measured.items() if others}
    summary = {
        **results,
        **({"details": larger} if larger else {}),
        "best": {
            "objective": run.goal,
            "direction": "min" if run.sign > 0 else "max",
            "value": run.sign * state.best.value if state.best.weights else None,
            "step": best_step,
            "epoch": best_step / run.clock.steps_per_epoch,
        },
        **({"skipped": state.skipped} if run.settings.trainer.skips or state.skipped else {}),
        **({} if state.anchor is None else {"rollbacks": state.rollbacks}),
        "steps": state.step,
        "epochs": state.step / run.clock.steps_per_epoch,
        "parameters": run.parameters(),
        "device": str(run.device),
    }
    return recorder.finish(
        summary, results.get("test", {}), state.step, lambda: [*lost, *unsaved()]
    )


class _Saver:
    """Save the state together with the length of every log at that moment."""

    def __init__(
        self, state: State, recorder: Recorder, run: Run, part: Part | None, saving: Saving
    ):
        self.state, self.recorder, self.clock, self.saving = state, recorder, run.clock, saving
        self.trainer, self.alone = run.settings.trainer, part is None
        self.period = None if part else self.trainer.save_every
        self.seconds: float | None = part.every if part else SECONDS_BETWEEN_SAVES
        if self.period is not None:
            clock = minutes(self.period)
            self.seconds = None if clock is None else 60 * clock
        self.known = origin(run, recorder.folder)
        self.rolls_back = self.trainer.on_nonfinite == "rollback"

    def anchor(self) -> None:
        """Let this step be the one to go back to, if the run may."""
        if self.rolls_back:
            self.state.anchor = anchored(self._content())

    def _content(self) -> dict[str, Any]:
        refuse_nonfinite(self.state, self.trainer.skips)
        recorder = self.recorder
        recorder.stopwatch.rest()
        return {"step": self.state.step, "state": self.state.pack(), "logs": recorder.lengths(),
                "seconds": recorder.stopwatch.total(), **self.known}  # fmt: skip

    def differs(self, packed: Mapping[str, Any]) -> bool:
        """Tell whether a checkpoint knows other things of this run than the next one will."""
        return any(packed.get(name) != each for name, each in self.known.items())

    def save(self) -> None:
        """Begin to write a checkpoint unless this step has one."""
        step, recorder = self.state.step, self.recorder
        if step == self.saving.step:
            return
        content = self._content()
        if self.rolls_back:
            content["anchor"] = self.state.anchor
        epoch = step / self.clock.steps_per_epoch

        def after() -> None:
            known = directory.status(recorder.folder).get("sizes", {})
            sizes = checkpoints.sizes(self.saving.folder, known) if self.alone else None
            directory.set_status(recorder.folder, step=step, epoch=epoch, sizes=sizes)

        self.saving.save(content, recorder.sync, after)

    def hooks(self, waiting: Waiting) -> list[Hook]:
        """Return what saves in time, and what saves and leaves when a signal came."""

        def save(state: State, row: Row) -> None:
            if self.seconds is None or time.monotonic() - self.saving.time >= self.seconds:
                self.save()

        def leave(state: State, row: Row) -> None:
            if waiting.number:
                self.saving.leave(waiting.number, state.step, self.save)

        def anchor(state: State, row: Row) -> None:
            self.anchor()

        def go(state: State, row: Row) -> None:
            self.recorder.stopwatch.go()

        anchors = [Hook(self._steps(self.trainer.save_every), anchor)] if self.rolls_back else []
        looked = 1 if self.period and self.seconds else self._steps(self.period)
        saves = [Hook(looked, save), Hook(1, leave), Hook(1, go)]
        return [*anchors, *saves]

    def _steps(self, period: str | None) -> int:
        """Return the steps of a period; of an epoch where there is none, or the clock has it."""
        if period is None or minutes(period) is not None:
            return self.clock.steps_per_epoch
        return self.clock.steps(period)
