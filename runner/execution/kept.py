"""What is kept of a run: in its own checkpoints, or in those of the batch it trained in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from runner.execution.execute import CHECKPOINT_PARTS
from runner.execution.lanes import PARTS
from runner.foundation.errors import UnusableCheckpoint
from runner.recording import directory
from runner.training import checkpoints
from runner.training.state import State


def packed_of(folder: Path, state: State, warn: Callable[[str], None]) -> dict[str, Any]:
    """Return the newest state that is kept of a run, for a job of a sweep with its batch."""
    status = directory.status(folder)
    if (batch := status.get("batch")) is None:
        saves = folder / directory.CHECKPOINTS
    else:
        together = folder.parent / directory.BATCHES / batch
        saves = together / status.get("id", "")
        if not checkpoints.listed(saves):
            content = checkpoints.load(together, warn, PARTS)
            return _of_lane(content, status.get("id", ""), state)
    packed: dict[str, Any] = checkpoints.load(saves, warn, CHECKPOINT_PARTS)["state"]
    return packed


def _of_lane(content: dict[str, Any], key: str, state: State) -> dict[str, Any]:
    """Return what a batch's checkpoint holds of one job, as the checkpoint of a run has it.

    `state` is one of such a run. Of a job that has ended the best weights are kept, else the last.
    """
    packed = state.pack()
    if key in content["results"]:
        kept = content["results"][key]
        best = _best(kept["best"], kept["weights"])
        return {**packed, "step": kept["step"], "model": kept["weights"], "best": best}
    if key not in content["members"]:
        raise UnusableCheckpoint(f"nothing is kept of job {key} yet")
    at, lanes = content["members"].index(key), content["lanes"]
    names = [*dict(state.model.named_parameters()), *_buffers(state)]
    stacked = zip(names, [*lanes["weights"], *lanes["buffers"]], strict=True)
    best = {name: tensor[at] for name, tensor in content["best"].items()}
    for part in ("slots", "averages"):
        packed[part] = {name: [each[at] for each in lanes[f"{part}.{name}"]]
                        for name in packed[part]}  # fmt: skip
    return {
        **packed,
        "step": content["step"],
        "seen": content["seen"],
        "model": {name: tensor[at] for name, tensor in stacked},
        "best": _best(content["jobs"][key]["best"], best),
    }


def _buffers(state: State) -> list[str]:
    kept = state.model.state_dict()
    return [name for name, _ in state.model.named_buffers() if name in kept]


def _best(best: Sequence[Any], weights: dict[str, Tensor]) -> dict[str, Any]:
    value, step, averaged = best
    kept = weights if step else {}
    return {"value": value, "step": step, "averaged": averaged, "weights": kept}
