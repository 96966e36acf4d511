"""The runner's own loop as a contender."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.gate import Task
from benchmarks.workloads import NEVER, settings
from runner import compose
from runner.assemble.run import Run
from runner.assemble.speed import settled
from runner.execution.hooks import advancing, measuring
from runner.execution.launch import Request, launch
from runner.foundation.durations import ENDLESS
from runner.recording.console import Terminal
from runner.recording.recorder import Stopwatch
from runner.training.loop import Hook, Row, train
from runner.training.state import Outcome, State

LOGGED = 100  # steps between rows, the default
LONG = "trainer.steps=1000000000"
PAIRED = ("compile=trace", LONG)


def steps(task: Task, *, compiling: str = "auto", calibrated: bool = False) -> None:
    """Train with a row of metrics every 100 steps, without validation.

    The budget stays the default one, which `auto` goes by; the loop goes on beyond it. It begins
    shortly before a logged step, so that both kinds of steps are prepared when it is ready.
    """
    threads = "auto" if calibrated else str(task.threads)
    run, state, advance = _begun(task, f"compile={compiling}", f"threads={threads}")
    if calibrated:
        assert run.begun is not None
        task.gate.chosen = f"threads: {torch.get_num_threads()}, {run.begun.way}"
    state.step = LOGGED - 2
    task.gate.warm(3)
    gate = Hook(1, lambda state, row: task.gate())
    train(state, advance, [*measuring(run, Stopwatch()), gate], ENDLESS)


def nothing(task: Task, compiling: str = "trace") -> None:
    """Train with no hook at all: no metrics, no gradient norm, no files."""
    options = (
        f"compile={compiling}",
        LONG,
        f"threads={task.threads}",
        f"trainer.log_every={NEVER}",
    )
    _, state, advance = _begun(task, *options)

    def forget(state: State, row: Row) -> None:
        state.window.clear()
        task.gate()

    train(state, advance, [Hook(1, forget)], ENDLESS)


def everything(task: Task, saves: str = "null", probes: str = "light") -> None:
    """Train as `runner` does: TensorBoard, metrics file, bar, checkpoints, gradient norm, probes.

    A round has as many looks as a run of its length by default, evenly spread.
    """
    saving = f"trainer.save_every={saves}"
    overrides = [
        *PAIRED, saving, f"probes={probes}", f"threads={task.threads}", "output_root=outputs"
    ]  # fmt: skip
    composed = compose.compose([*task.workload.overrides, *overrides])
    request = Request(composed.record, composed.choices, overrides)
    task.gate.warm(LOGGED + 1)
    with Path(os.devnull).open("w") as nowhere:
        terminal = _Gated(task, Console(file=nowhere, force_terminal=True))
        run = _settled(task, *overrides)
        if probes != "none":
            run.probes = run.probes._replace(every=_between_looks(task.workload.long, run))
        launch(run, request, terminal)


def _between_looks(steps: int, run: Run) -> int:
    epoch = run.clock.steps_per_epoch
    looks = sum(run.probes.due(step, epoch) for step in range(1, steps)) + 2
    return steps // looks


class _Gated(Terminal):
    """A terminal with a progress bar, through the gate each time that moves."""

    def __init__(self, task: Task, console: Console):
        super().__init__(console)
        self.gate = task.gate

    def tick(self, step: int) -> None:
        super().tick(step)
        self.gate()


def _settled(task: Task, *overrides: str) -> Run:
    return settled(settings(task.workload, *overrides, f"trainer.evaluate_every={NEVER}"), print)


def _begun(task: Task, *overrides: str) -> tuple[Run, State, Callable[[State], Outcome]]:
    """Return a run, its state and what advances that by a step."""
    run = _settled(task, *overrides)
    assert run.begun is not None
    state, step, _ = run.begun
    return run, state, advancing(run, step)
