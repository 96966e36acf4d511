"""What happens after steps of a run: measure, validate, judge, the user's own measurements."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from runner.assemble.run import Run
from runner.config import maker
from runner.foundation.errors import Diverged, Misconfigured, RunnerError
from runner.recording.recorder import Stopwatch
from runner.training import evaluation
from runner.training.loop import Hook, Row
from runner.training.state import State, nonfinite

Call = Callable[[State, Row], bool | None]


def periods(run: Run) -> tuple[int, int]:
    """Return after how many steps a row is logged, and after how many an evaluation is made."""
    trainer = run.settings.trainer
    return run.clock.steps(trainer.log_every), run.clock.steps(trainer.evaluate_every)


def measuring(run: Run, stopwatch: Stopwatch) -> list[Hook]:
    """Return the hooks that fill a row, in order; each evaluation has a row of its own.

    The stopwatch rests while anything but training goes on.
    """
    log, evaluate = periods(run)
    return [
        *_deadline(run, stopwatch),
        Hook(log, _measure(run, stopwatch)),
        Hook(evaluate, _measure(run, stopwatch)),
        Hook(evaluate, _validate(run)),
        *_own(run, stopwatch),
        Hook(evaluate, _judge(run)),
    ]


def _deadline(run: Run, stopwatch: Stopwatch) -> list[Hook]:
    if run.settings.trainer.minutes is None:
        return []
    seconds = 60 * run.settings.trainer.minutes
    return [Hook(1, lambda state, row: stopwatch.total() >= seconds)]


def _measure(run: Run, stopwatch: Stopwatch) -> Call:
    """Sum up the steps since the last row: one transfer to the host, one check for nan."""

    def measure(state: State, row: Row) -> None:
        if not state.window:
            return
        measured, _ = evaluation.measure(state.window, run.metrics)
        if not math.isfinite(measured["loss"]):
            refuse_nonfinite(state)
        stopwatch.rest()
        factor = run.schedule.at(state.step - 1, state.schedule)
        row |= {"step": state.step, "epoch": state.step / run.clock.steps_per_epoch}
        row |= {f"train/{name}": value for name, value in measured.items()}
        row["lr"] = run.optimizer.hyper["lr"] * factor
        if state.gradient_norm is not None:
            row["gradient/norm"] = float(state.gradient_norm)
            state.gradient_norm = None
        state.window.clear()

    return measure


def refuse_nonfinite(state: State) -> None:
    """Raise `Diverged`, naming the step, if a loss since the last row is nan or infinite."""
    if (bad := nonfinite(state.window)) is not None:
        step = state.step - len(state.window) + 1 + bad
        raise Diverged(
            f"the training loss became {float(state.window[bad].loss)} at step {step}; "
            "try a smaller optimizer.lr, or clipping=norm"
        )


def _validate(run: Run) -> Call:
    def validate(state: State, row: Row) -> None:
        if not len(run.data.splits["valid"]):
            return
        with state.averaged():
            run.collect()
            row |= {f"valid/{name}": value for name, value in run.evaluate("valid").items()}

    return validate


def _judge(run: Run) -> Call:
    """Keep the best weights, tell the schedule, ask the stopping rule."""

    def judge(state: State, row: Row) -> bool:
        value = run.sign * row[run.goal]
        if run.goal.startswith("valid/"):
            state.consider(value)
        if state.ended:  # by the clock, at a step whose gradient need not have been measured
            return False
        try:
            state.schedule = run.schedule.observe(state.schedule, row, value)
            state.stopping, stop = run.stopping.observe(state.stopping, row, value)
        except ValueError as error:
            raise Misconfigured(str(error)) from error
        return bool(stop)

    return judge


def _number(value: float | Tensor) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)


def _own(run: Run, stopwatch: Stopwatch) -> list[Hook]:
    """Wrap the user's measurements: what they return joins the row of their step."""

    def wrap(key: str, measure: Callable[[State], dict[str, float]]) -> Call:
        def call(state: State, row: Row) -> None:
            stopwatch.rest()
            row.setdefault("step", state.step)
            row.setdefault("epoch", state.step / run.clock.steps_per_epoch)
            try:
                with evaluation.evaluating(state.model, gradients=True):
                    measured = {name: _number(value) for name, value in measure(state).items()}
            except Exception as error:  # whatever the user's own code does
                where = f"{key} failed at step {state.step}"
                raise RunnerError(f"{where}: {error!r}; the traceback is in error.txt") from error
            if taken := set(measured) & set(row):
                raise Misconfigured(f"{key}: '{min(taken)}' is measured already; use another name")
            row |= measured

        return call

    nodes = run.settings.hooks.values()
    return [
        Hook(run.clock.steps(node.arguments["every"]), wrap(node.key, maker(node, clock=run.clock)))
        for node in nodes
    ]
