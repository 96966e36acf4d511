"""One lane of many as what it is beside them: a job, with a record and a state of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from runner.assemble.run import Run
from runner.execution.divergence import (
    NotFinite,
    refuse_gradient,
    refuse_losses,
    refuse_standstill,
)
from runner.execution.probing import Probing
from runner.foundation.errors import Diverged, RunnerError
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
    probing: Probing
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


def model_of(stack: Lanes, at: int, lane: Lane) -> nn.Module:
    """Return the model of one lane, with the weights it has in the stack."""
    held = {**stack.weights, **stack.buffers}
    with torch.no_grad():
        for name, tensor in lane.run.model.state_dict(keep_vars=True).items():
            tensor.copy_(held[name][at])
    return lane.run.model


def state_of(stack: Lanes, best: Tensors, at: int, lane: Lane) -> State:
    """Return one lane as the state of a run, in that run's own model; `best` are weights of all."""
    state, own = lane.run.state(), model_of(stack, at, lane).state_dict()
    with torch.no_grad():
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


def final(lane: Lane, state: State, result: object) -> dict[str, Any]:
    """Return what a checkpoint of many lanes holds of a job that has ended."""
    return {"step": state.step, "best": [lane.best.value, lane.best.step, lane.best.averaged],
            "weights": on_host(dict(lane.run.model.state_dict())),
            "failure": str(result) if isinstance(result, RunnerError) else None,
            "diverged": isinstance(result, Diverged)}  # fmt: skip


def unpack(lane: Lane, known: dict[str, Any]) -> None:
    """Take back what a checkpoint holds of a job; raises `LookupError` if that is not all."""
    for begun, part in ((lane.schedule, "schedule"), (lane.stopping, "stopping")):
        if absent := begun.keys() - known[part].keys():
            raise LookupError(f"{', '.join(sorted(absent))} of {lane.id}")
    lane.schedule, lane.stopping = known["schedule"], known["stopping"]
    lane.best = Best(*known["best"])


def packed(lane: Lane) -> dict[str, Any]:
    """Return what a checkpoint of many lanes holds of a job beside its numbers."""
    return {"schedule": on_host(lane.schedule), "stopping": on_host(lane.stopping),
            "best": [lane.best.value, lane.best.step, lane.best.averaged],
            "logs": lane.recorder.lengths(),
            "seconds": lane.recorder.stopwatch.total()}  # fmt: skip
