"""One lane of many as what it is beside them: a job, with a record and a state of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from runner.assemble.run import Run
from runner.execution.divergence import (
    NotFinite,
    refuse_gradient,
    refuse_losses,
    refuse_standstill,
)
from runner.recording.recorder import Recorder
from runner.training.lanes import Lanes, Tensors
from runner.training.loop import Row
from runner.training.state import Best, Outcome, State, on_host


@dataclass
class Lane:
    """A job while it trains: what is its own beside its numbers in the stack."""

    id: str
    run: Run
    recorder: Recorder
    schedule: dict[str, Any]
    stopping: dict[str, Any]
    best: Best = field(default_factory=Best)  # its weights stand in the stack of all


def of_lane(window: Sequence[Outcome], at: int) -> list[Outcome]:
    """Return the steps of many lanes as those of one."""
    return [Outcome(*(each[at] for each in outcome)) for outcome in window]


def unsound(
    stack: Lanes, at: int, lane: Lane, row: Row, window: Sequence[Outcome]
) -> NotFinite | None:
    """Return why a lane cannot go on, if so, as a run alone would raise it."""
    weights = ((name, each[at]) for name, each in stack.weights.items())
    try:
        if lane.run.settings.trainer.skips:
            if "train/loss" not in row:
                refuse_standstill(float(stack.skips[at, 1]), stack.step)
        elif not math.isfinite(row["train/loss"]):
            refuse_losses(of_lane(window, at), stack.step)
        else:
            refuse_gradient(row.get("gradient/norm", 0.0), weights, stack.step)
    except NotFinite as found:
        return found
    return None


def state_of(stack: Lanes, best: Tensors, at: int, lane: Lane) -> State:
    """Return one lane as the state of a run, in that run's own model; `best` are weights of all."""
    state = lane.run.state()
    with torch.no_grad():
        held = {**stack.weights, **stack.buffers}
        own = lane.run.model.state_dict(keep_vars=True)
        for name, tensor in own.items():
            tensor.copy_(held[name][at])
        for mine, stacked in ((state.slots, stack.slots), (state.averages, stack.averages)):
            for name, tensors in mine.items():
                for tensor, lanes in zip(tensors, stacked[name], strict=True):
                    tensor.copy_(lanes[at])
    state.skips.copy_(stack.skips[at])
    state.step, state.seen = stack.step, stack.seen
    state.schedule, state.stopping, state.best = lane.schedule, lane.stopping, lane.best
    if state.best.step:
        state.best.weights = on_host({name: best[name][at] for name in own})
    return state


def packed(lane: Lane) -> dict[str, Any]:
    """Return what a checkpoint of many lanes holds of a job beside its numbers."""
    return {"schedule": on_host(lane.schedule), "stopping": on_host(lane.stopping),
            "best": [lane.best.value, lane.best.step, lane.best.averaged],
            "logs": lane.recorder.lengths(),
            "seconds": lane.recorder.stopwatch.total()}  # fmt: skip
