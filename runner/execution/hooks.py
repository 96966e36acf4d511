"""One step of a run, and what happens after steps: measure, validate, judge, the user's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from runner.assemble.run import Run
from runner.config import maker
from runner.execution.divergence import refuse_gradient, refuse_losses, refuse_standstill
from runner.foundation.errors import Misconfigured, RunnerError
from runner.recording.recorder import Stopwatch
from runner.training import evaluation
from runner.training.loop import Hook, Row
from runner.training.skipping import sound_ones
from runner.training.state import Outcome, State
from runner.training.step import Step

Call = Callable[[State, Row], bool | None]


class Judged(Protocol):
    """What has the memory of a schedule and of a stopping rule: a run's state, or a lane."""

    schedule: dict[str, Any]
    stopping: dict[str, Any]


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


def judging(run: Run) -> list[Hook]:
    """Return the hooks by which evaluations change how a run goes on: no clock, nobody else's."""
    log, evaluate = periods(run)
    measure = _measure(run, Stopwatch())
    return [
        Hook(log, measure),
        Hook(evaluate, measure),
        Hook(evaluate, _validate(run)),
        Hook(evaluate, _judge(run)),
    ]


def advancing(run: Run, step: Step) -> Callable[[State], Outcome]:
    """Return `advance(state)`: the next batch, the learning rate of the moment, one update."""
    clock, batch = run.clock, run.batches()
    log, evaluate = periods(run)

    def due(done: int) -> bool:
        return done % log == 0 or done % evaluate == 0 or done == clock.total

    def advance(state: State) -> Outcome:
        factor = factor_at(run, state, state.step)
        return step(*batch(state.step), factor, due(state.step + 1))

    return advance


def _deadline(run: Run, stopwatch: Stopwatch) -> list[Hook]:
    if run.settings.trainer.minutes is None:
        return []
    seconds = 60 * run.settings.trainer.minutes
    return [Hook(1, lambda state, row: stopwatch.total() >= seconds)]


def factor_at(run: Run, state: State, step: int) -> float:
    """Return the factor on the learning rate for the update after `step`: rollbacks halve it."""
    return scheduled(run, state, step) * 0.5**state.rollbacks


def scheduled(run: Run, judged: Judged, step: int) -> float:
    """Return the schedule's factor for the update after `step`; raises `RunnerError` without."""
    try:
        return run.schedule.at(step, judged.schedule)
    except (Exception, SystemExit) as error:  # whatever the user's own code does
        raise _failed("schedule", step, error) from error


def is_stopped(run: Run, judged: Judged, row: Row, value: float) -> bool:
    """Tell the schedule of an evaluation, and ask the stopping rule whether that was the last.

    Raises `Misconfigured` for what they say against their configuration, else `RunnerError`.
    """
    asked = "schedule"
    try:
        judged.schedule = run.schedule.observe(judged.schedule, row, value)
        asked = "stopping"
        judged.stopping, stop = run.stopping.observe(judged.stopping, row, value)
    except ValueError as error:
        raise Misconfigured(str(error)) from error
    except (Exception, SystemExit) as error:
        raise _failed(asked, row["step"], error) from error
    return bool(stop)


def _failed(key: str, step: int, error: BaseException) -> RunnerError:
    """Return what to tell of a component that failed on the way, most likely the user's own."""
    where = f"{key} failed at step {step}"
    return RunnerError(f"{where}: {error!r}; the traceback is in error.txt")


def _measure(run: Run, stopwatch: Stopwatch) -> Call:
    """Sum up the steps since the last row: one transfer to the host, one check for nan.

    Where steps are left out, a row may have no sound one to sum up.
    """

    def measure(state: State, row: Row) -> None:
        if not state.window:
            return
        window = _sound(run, state)
        measured = evaluation.measure(window, run.metrics)[0] if window else {}
        if not math.isfinite(measured.get("loss", 0.0)):
            refuse_losses(window, state.step)
        stopwatch.rest()
        factor = factor_at(run, state, state.step - 1)
        row |= {"step": state.step, "epoch": state.step / run.clock.steps_per_epoch}
        row |= {f"train/{name}": value for name, value in measured.items()}
        row["lr"] = run.optimizer.hyper["lr"] * factor
        if state.gradient_norm is not None:
            row["gradient/norm"] = float(state.gradient_norm)
            state.gradient_norm = None
        if run.settings.trainer.skips:
            row["train/skipped"] = state.skipped
        elif "gradient/norm" in row:
            refuse_gradient(row["gradient/norm"], state.model.named_parameters(), state.step)
        state.window.clear()

    return measure


def _sound(run: Run, state: State) -> list[Outcome]:
    """Return the steps since the last row without those left out; some must move, sometime."""
    if not run.settings.trainer.skips:
        return state.window
    if not (window := sound_ones(state.window)):
        refuse_standstill(state.unmoved, state.step)
    return window


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
        if "train/loss" not in row:  # every step since the last row was left out
            return False
        value = run.sign * row[run.goal]
        if run.goal.startswith("valid/"):
            state.consider(value)
        if state.ended:  # by the clock, at a step whose gradient need not have been measured
            return False
        return is_stopped(run, state, row, value)

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
                raise _failed(key, state.step, error) from error
            if taken := set(measured) & set(row):
                raise Misconfigured(f"{key}: '{min(taken)}' is measured already; use another name")
            row |= measured

        return call

    nodes = run.settings.hooks.values()
    return [
        Hook(run.clock.steps(node.arguments["every"]), wrap(node.key, maker(node, clock=run.clock)))
        for node in nodes
    ]
