"""Execute a run: train, record, test once with the best weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from runner.assemble.run import Run
from runner.components.dataset.data import SPLITS
from runner.config import maker
from runner.foundation.errors import Diverged, Interrupted
from runner.recording import directory
from runner.recording.console import Terminal
from runner.recording.environment import accelerators, decided
from runner.recording.recorder import Recorder
from runner.training import checkpoints, evaluation, feed
from runner.training.loop import Hook, Row, train
from runner.training.signals import Waiting, deferred
from runner.training.state import Outcome, State, nonfinite
from runner.training.step import prepare


def execute(
    run: Run, folder: Path, terminal: Terminal, packed: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Train into a run directory, from its start or from a checkpoint; return the summary.

    Raises `Diverged` or `Interrupted` with everything up to there on disk.
    """
    state = run.state()
    if packed is not None:
        state.unpack(packed["state"])
    recorder = Recorder(folder, terminal, run.settings.tensorboard, packed and packed["logs"])
    saver = _Saver(state, recorder, folder / directory.CHECKPOINTS)
    if packed is None:
        _describe(run, recorder)
        saver.save()
    advance = _advance(run, state)
    with deferred() as waiting:
        recorder.start(run.clock.total, state.step, run.settings.trainer.batch_size)
        try:
            train(state, advance, _hooks(run, recorder, saver, waiting), run.clock.total)
        finally:
            recorder.stop()
        saver.save()
    summary = _finish(run, state, recorder)
    recorder.close()
    return summary


def _advance(run: Run, state: State) -> Callable[[State], Outcome]:
    """Return `advance(state)`: the next batch, the learning rate of the moment, one update."""
    trainer, clock = run.settings.trainer, run.clock
    batch = feed.shuffled(
        *run.prepared.raw_train,
        seed=run.settings.seed,
        batch_size=trainer.batch_size,
        drop_last=trainer.drop_last,
        augment=run.prepared.augment,
    )
    step = prepare(
        state,
        loss=run.loss,
        penalties=run.penalties,
        clips=run.clips,
        optimizer=run.optimizer,
        seed=run.settings.seed,
        autocast=run.autocast,
    )
    log, evaluate = clock.steps(trainer.log_every), clock.steps(trainer.evaluate_every)

    def due(done: int) -> bool:
        return done % log == 0 or done % evaluate == 0 or done == clock.total

    def advance(state: State) -> Outcome:
        factor = run.schedule.at(state.step, state.schedule)
        return step(*batch(state.step), factor, due(state.step + 1))

    return advance


def _hooks(run: Run, recorder: Recorder, saver: _Saver, waiting: Waiting) -> list[Hook]:
    """Return what happens after steps, in order: measure, judge, record, save."""
    trainer, clock, optimizer = run.settings.trainer, run.clock, run.optimizer
    deadline = time.monotonic() + 60 * trainer.minutes if trainer.minutes else None

    def out_of_time(state: State, row: Row) -> bool:
        return deadline is not None and time.monotonic() >= deadline

    def measure(state: State, row: Row) -> None:
        if not state.window:
            return
        state.epoch = state.step / clock.steps_per_epoch
        if (bad := nonfinite(state.window)) is not None:
            raise Diverged(_divergence(state, bad))
        outputs, targets = (torch.cat([each[at] for each in state.window]) for at in (1, 2))
        measured = evaluation.measure(outputs, targets, run.loss, run.metrics)
        factor = run.schedule.at(state.step - 1, state.schedule)
        row |= {"step": state.step, "epoch": state.epoch}
        row |= {f"train/{name}": value for name, value in measured.items()}
        row["lr"] = optimizer.hyper["lr"] * factor
        if state.gradient_norm is not None:
            row["gradient/norm"] = float(state.gradient_norm)
            state.gradient_norm = None
        state.window.clear()

    def validate(state: State, row: Row) -> None:
        if len(run.data.splits["valid"]):
            row |= {f"valid/{name}": value for name, value in run.evaluate("valid").items()}

    def judge(state: State, row: Row) -> bool:
        value = run.sign * row[run.goal]
        if value < state.best.value and run.goal.startswith("valid/"):
            state.remember(value)
        state.schedule = run.schedule.observe(state.schedule, value)
        state.stopping, stop = run.stopping.observe(state.stopping, value)
        return stop

    def interrupted(state: State, row: Row) -> None:
        if waiting.number:
            saver.save()
            way = f"continue with: runner resume {recorder.folder}"
            raise Interrupted(waiting.number, f"saved step {state.step}; {way}")

    log, evaluate = clock.steps(trainer.log_every), clock.steps(trainer.evaluate_every)
    save_every = trainer.save_every and clock.steps(trainer.save_every)
    return [
        *([Hook(1, out_of_time)] if deadline else []),
        Hook(log, measure),
        Hook(evaluate, measure),
        Hook(evaluate, validate),
        *_own(run),
        Hook(evaluate, judge),
        Hook(1, recorder.record),
        Hook(save_every or clock.steps_per_epoch, saver.due if not save_every else saver.now),
        Hook(1, interrupted),
    ]


def _own(run: Run) -> list[Hook]:
    """Wrap the user's measurements: what they return joins the row of their step."""

    def wrap(measure: Callable[[State], dict[str, Any]]) -> Callable[[State, Row], None]:
        def call(state: State, row: Row) -> None:
            row.setdefault("step", state.step)
            row.setdefault("epoch", state.step / run.clock.steps_per_epoch)
            with evaluation.evaluating(state.model):
                row |= {name: float(value) for name, value in measure(state).items()}

        return call

    hooks = []
    for node in run.settings.hooks.values():
        measure = maker(node, clock=run.clock)
        every = run.clock.steps(node.arguments["every"])
        hooks.append(Hook(every, wrap(measure)))
    return hooks


def _divergence(state: State, bad: int) -> str:
    step = state.step - len(state.window) + 1 + bad
    return (
        f"the training loss became {float(state.window[bad].loss)} at step {step}; "
        "try a smaller optimizer.lr, or clipping=norm"
    )


def _describe(run: Run, recorder: Recorder) -> None:
    """Record what a run is, before its first step: settings, data, environment, pictures."""
    x, _ = run.prepared.raw_train
    if run.prepared.augment is not None:
        x, _ = run.prepared.augment(0, *(part[:32] for part in run.prepared.raw_train))
    recorder.describe(
        images=x[:32] if x.dim() == 4 else None,
        environment={
            "device": str(run.device),
            "gpus": accelerators(),
            "threads": torch.get_num_threads(),
            "data": {"checksum": run.data.checksum(),
                     **{name: len(run.data.splits[name]) for name in SPLITS}},
            "parameters": run.parameters(),
            "decided": decided(run.decided),
        },
    )  # fmt: skip


def _finish(run: Run, state: State, recorder: Recorder) -> dict[str, Any]:
    """Evaluate every split once with the best weights and write the summary."""
    best_step = state.best.step if state.best.weights else state.step
    state.restore_best()
    splits = [name for name in SPLITS if len(run.data.splits[name])]
    results = {name: run.evaluate(name) for name in splits}
    summary = {
        **results,
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

    def __init__(self, state: State, recorder: Recorder, folder: Path):
        self.state, self.recorder, self.folder = state, recorder, folder
        self.step, self.time = -1, time.monotonic()

    def save(self) -> None:
        """Write a checkpoint unless this step has one."""
        if self.state.step == self.step:
            return
        content = {"step": self.state.step, "state": self.state.pack(),
                   "logs": self.recorder.lengths()}  # fmt: skip
        checkpoints.save(self.folder, self.state.step, content)
        self.step, self.time = self.state.step, time.monotonic()

    def now(self, state: State, row: Row) -> None:
        """Save at this step."""
        self.save()

    def due(self, state: State, row: Row) -> None:
        """Save unless the last checkpoint is less than five seconds old."""
        if time.monotonic() - self.time >= 5:
            self.save()
