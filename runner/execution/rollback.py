"""What becomes of a run that met nan or infinity: it goes back to where it was sound, or ends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.assemble.run import Run
from runner.execution.divergence import ROLLBACKS, NotFinite, diverged
from runner.execution.record import origin
from runner.execution.replay import cause
from runner.foundation.errors import Interrupted
from runner.recording import directory
from runner.recording.console import Terminal
from runner.training import checkpoints
from runner.training.state import State, on_host


def after_divergence(
    found: NotFinite, run: Run, folder: Path, saves: Path, terminal: Terminal
) -> dict[str, Any]:
    """Return the checkpoint to go on from; raise `Diverged` where the run is not to go on.

    A run that rolls back goes back to its anchor, the state of the last period of saving, with half
    the learning rate. That is written before the logs are cut, so that a kill in between loses
    nothing, and later checkpoints go. Where the anchor is depends on steps alone and on no clock.
    """
    assert run.begun is not None, "it was trained"
    state = run.begun.state
    if run.settings.trainer.on_nonfinite == "rollback" and state.rollbacks < ROLLBACKS:
        packed = {**_halved(state), "seconds": found.seconds, **origin(run, folder)}
        checkpoints.save(saves, packed["step"], packed)
        epoch = packed["step"] / run.clock.steps_per_epoch
        directory.set_status(folder, step=packed["step"], epoch=epoch)
        done = state.rollbacks + 1
        terminal.warn(
            f"{found}; back to step {packed['step']} with half the learning rate "
            f"(rollback {done} of {ROLLBACKS})"
        )
        if found.signal:
            raise Interrupted(found.signal, f"saved step {packed['step']}") from None
        return packed
    rollbacks, reason = state.rollbacks, cause(run, saves, found.step)
    raise diverged(found, run, folder, reason, rollbacks) from None


def anchored(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a rollback takes from a checkpoint: all but what it has of its own."""
    state = {name: each for name, each in content["state"].items() if name != "rollbacks"}
    return {"step": content["step"], "state": state, "logs": content["logs"]}


def _halved(state: State) -> dict[str, Any]:
    """Return the anchor with the state of a run that has gone back once more, and itself."""
    anchor = state.anchor
    assert anchor is not None, "a run that may go back knows where to"
    sound = on_host({**anchor["state"], "rollbacks": state.rollbacks + 1})
    return {**anchor, "state": sound, "anchor": anchor}
