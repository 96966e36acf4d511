"""Find the first number that was not finite: the steps before it again, then one under watch.

Everything in a step is a function of (seed, step), so that the replay comes to the same state.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from runner.assemble.lanes import alike
from runner.assemble.run import Run
from runner.execution.divergence import BATCH, LOSS, Cause
from runner.execution.hooks import advancing, judging
from runner.foundation.errors import UnusableCheckpoint
from runner.training import checkpoints, step
from runner.training.state import State, broken

LIMIT = 60.0  # seconds that a replay may take
QUICK = 2.0  # while others wait for it
LARGE = 1e6  # outputs that no loss is made for
TRIED = 1.0  # seconds after which it is clear how long it will take


def cause(run: Run, saves: Path, bad: int) -> Cause | None:
    """Return what first went wrong on the way to step `bad` of a run, or None.

    Goes on from a checkpoint among `saves`, else from the start, with the step that was trained
    with, and so changes the run's state. None where nothing is found, or not in time: a run has
    diverged whatever becomes of its replay.
    """
    assert run.begun is not None, "it was trained"
    try:
        packed = _before(saves, bad) or alike(run, run.settings).state().pack()
        run.begun.state.unpack(packed)
        return found(run, run.begun.state, run.begun.step, bad, LIMIT)
    except Exception:
        return None


def cause_of(run: Run, bad: int) -> Cause | None:
    """Return the same for a lane, from its start as a run alone, with little time to spare.

    It rounds differently there, so that it may not go wrong in the same step; then None.
    """
    try:
        own = alike(run, run.settings)
        state = own.state()
        return found(own, state, own.stepping(state), bad, QUICK)
    except Exception:
        return None


def _before(saves: Path, bad: int) -> dict[str, Any] | None:
    """Return the newest whole state that was saved before this step was made."""
    for path in checkpoints.listed(saves):
        with contextlib.suppress(UnusableCheckpoint):
            content = checkpoints.read(path)
            if content["step"] < bad:
                state: dict[str, Any] = content["state"]
                return state
    return None


def found(run: Run, state: State, made: step.Step, bad: int, limit: float) -> Cause | None:
    """Bring a state to the step before `bad` by `made`, and watch both for what goes wrong."""
    if not _brought(run, state, advancing(run, made), max(bad - 2, 0), limit):
        return None
    if broken(state.model.named_parameters()):
        return None
    while state.step < bad:
        subject, of_loss = _watched(run, state)
        if of_loss and state.step < bad:
            return None  # it went another way
        if subject:
            return Cause(state.step, subject, state.step < bad)
    return None


def _brought(
    run: Run, state: State, advance: Callable[[State], Any], until: int, limit: float
) -> bool:
    """Train up to this step, recording nothing; tell whether it was reached in time."""
    begun, first = time.monotonic(), state.step
    judges = judging(run) if run.schedule.watches is not None else []
    while state.step < until:
        state.window.append(advance(state))
        row: dict[str, Any] = {}
        for hook in judges:
            if state.step % hook.every == 0:
                hook.call(state, row)
        if not judges:
            state.window.clear()
        spent = time.monotonic() - begun
        if spent > TRIED and spent / (state.step - first) * (until - first) > limit:
            return False
    return True


def _watched(run: Run, state: State) -> tuple[str, bool]:
    """Make one plain step; return what was first not finite in it, and whether the loss was not."""
    gradients: list[tuple[str, Tensor]] = []
    names = [name for name, _ in state.model.named_parameters()]

    def spy(given: Sequence[Tensor], parameters: Sequence[Tensor]) -> Sequence[Tensor]:
        gradients.extend(zip(names, given, strict=True))
        return given

    rules = run.rules()
    plain = step.prepare(state, replace(rules, clips=[spy, *rules.clips], skips=False))
    batch = run.batches()(state.step)
    with _layers(state.model) as layers:
        outcome = advancing(run, plain)(state)
    if not outcome.loss.isfinite():
        first = [BATCH] if broken(_numbers(zip("xy", batch, strict=True))) else layers
        largest = outcome.outputs.abs().max().item()
        loss = LOSS if largest < LARGE else f"the loss of outputs up to {largest:.1e}"
        return [*first, loss][0], True
    if name := broken(reversed(gradients)):  # backward goes from the last to the first
        return f"the gradient of '{name}'", False
    if name := broken(state.model.named_parameters()):
        return f"the update of '{name}'", False
    return "", False


def _numbers(named: Any) -> list[tuple[str, Tensor]]:
    return [(name, each) for name, each in named if each.is_floating_point()]


@contextlib.contextmanager
def _layers(model: nn.Module) -> Iterator[list[str]]:
    """Give the layers whose output is not finite, in the order they ran inside."""
    met: list[str] = []

    def look(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, given: Any, result: Any) -> None:
            if isinstance(result, Tensor) and broken(_numbers([("output", result)])):
                met.append(f"layer '{name}' ({type(module).__name__}) of the network")

        return hook

    handles = [
        module.register_forward_hook(look(name))
        for name, module in model.named_modules()
        if not any(module.children())
    ]
    try:
        yield met
    finally:
        for handle in handles:
            handle.remove()
