"""Who takes part: each contender by name, what it is, and the function that trains it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

BASELINE = "tuned"
NOTHING, EVERYTHING = "nothing", "everything"
UNSAVED, SAVED, SAVED_OFTEN = "unsaved", "saved", "saved-each-epoch"
UNPROBED, PROBED, PROBED_FULL = "unprobed", "probed", "probed-full"


@dataclass(frozen=True)
class Contender:
    """A function `train(task, **arguments)` in a module of this folder, and what it is in words."""

    module: str
    text: str
    arguments: dict[str, Any] = field(default_factory=dict)
    function: str = "train"

    def load(self) -> Callable[..., None]:
        """Import the function; raises whatever keeps a framework from being imported."""
        os.environ["KERAS_BACKEND"] = "torch"  # read when Keras is imported
        if self.module == "with_lightning":
            from runner.foundation.vision import torchvision

            torchvision()  # it imports that, and cannot where it is of another build than torch
        function: Callable[..., None] = getattr(
            importlib.import_module(f"benchmarks.{self.module}"), self.function
        )
        return function


def _ours(compiling: str, text: str, **further: bool) -> Contender:
    return Contender("ours", text, {"compiling": compiling, **further}, "steps")


def _two(name: str, module: str, documented: str, fast: str, **more: Any) -> dict[str, Contender]:
    """Return a framework with its documentation's feed, and with ours."""
    return {
        name: Contender(module, documented, {"fast": False, **more}),
        f"{name}-fast": Contender(module, fast, {"fast": True, **more}),
    }


_LOADER = "DataLoader over single samples, images transformed; default torch.optim"
_READY = "our ready batches, fused torch.optim"

CONTENDERS: dict[str, Contender] = {
    "tuned": Contender(
        "by_hand",
        "data set as tensors, normalized once, randperm and index_select, batched augmentation, "
        "fused torch.optim",
        {"tuned": True},
    ),
    "typical": Contender("by_hand", _LOADER, {"tuned": False}),
    "eager": _ours("false", "runner, compile=false, metrics every 100 steps"),
    "traced": _ours("trace", "runner, compile=trace, metrics every 100 steps"),
    "compiled": _ours("true", "runner, compile=true, metrics every 100 steps"),
    "default": _ours(
        "auto", "runner, everything on auto, threads too, metrics every 100 steps", calibrated=True
    ),
    **_two(
        "lightning", "with_lightning",
        f"Trainer by default (logger, checkpoints, bar); {_LOADER}",
        f"Trainer by default (logger, checkpoints, bar); {_READY}",
    ),
    **_two(
        "barebones", "with_lightning",
        f"Lightning's Trainer(barebones=True); {_LOADER}",
        f"Lightning's Trainer(barebones=True); {_READY}",
        barebones=True,
    ),
    **_two(
        "ignite", "with_ignite",
        f"create_supervised_trainer; {_LOADER}",
        f"create_supervised_trainer; {_READY}",
    ),
    **_two(
        "keras", "with_keras",
        "fit on arrays, augmentation by its layers, channels last, its own optimizers",
        "fit on our ready batches, channels first, its own optimizers",
    ),
    **_two(
        "skorch", "with_skorch",
        "fit on arrays, or on a data set of transformed images where it augments; "
        "default torch.optim",
        f"fit with {_READY}",
    ),
    **_two(
        "accelerate", "with_accelerate",
        f"model, optimizer and batches prepared; {_LOADER}",
        f"model and optimizer prepared; {_READY}",
    ),
    **_two(
        "fastai", "with_fastai",
        "Learner; DataLoader over single samples, images transformed; its own optimizers",
        "Learner; our ready batches, its own optimizers",
    ),
}  # fmt: skip

_ALL = "TensorBoard, metrics file, bar, gradient norm"
# Pairings of their own: the same loop, traced, with and without something that a run does.
PAIR: dict[str, Contender] = {
    NOTHING: Contender("ours", "runner, traced, no hooks at all", function="nothing"),
    EVERYTHING: Contender(
        "ours",
        f"runner, traced: {_ALL}, checkpoints at the default interval",
        function="everything",
    ),
    UNSAVED: Contender(
        "ours", f"runner, traced: {_ALL}, no checkpoint", {"saves": "1000000000steps"}, "everything"
    ),
    SAVED: Contender("ours", "the same with checkpoints at the default interval",
                     function="everything"),
    SAVED_OFTEN: Contender("ours", "the same with a checkpoint each epoch", {"saves": "1epochs"},
                           "everything"),
    UNPROBED: Contender("ours", f"runner, traced: {_ALL}, no probe", {"probes": "none"},
                        "everything"),
    PROBED: Contender("ours", "the same with probes=light", function="everything"),
    PROBED_FULL: Contender("ours", "the same with probes=full", {"probes": "full"}, "everything"),
}  # fmt: skip


@dataclass(frozen=True)
class Pairing:
    """A loop against the same with more: a title, names from `PAIR`, and what they differ in."""

    title: str
    base: str
    others: tuple[str, ...]
    note: str


PAIRINGS = (
    Pairing(
        "With everything on",
        NOTHING,
        (EVERYTHING,),
        f"The traced loop as `runner` runs it ({_ALL} on logged steps, checkpoints at the default "
        "interval, probes as below) against the same loop without any of it.",
    ),
    Pairing(
        "With probes",
        UNPROBED,
        (PROBED, PROBED_FULL),
        "The traced loop with all else on: probes, so many looks in a round as a run of its length "
        "has by default (before the first step, after 1, 2, 4, 8 ... epochs and after the last "
        "step), evenly spread, against none.",
    ),
    Pairing(
        "With checkpoints",
        UNSAVED,
        (SAVED, SAVED_OFTEN),
        f"The traced loop with all else on ({_ALL}): checkpoints at the default interval (the end "
        "of an epoch, at most every 5 s), or at the end of each epoch, against none.",
    ),
)

# For sweeps: lanes as one of its processes trains them, `lanes,8,true` being 8 that are compiled.
LANES: dict[str, Contender] = {"lanes": Contender("lanes", "runner, many models at once")}
