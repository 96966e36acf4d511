"""Who takes part: each contender by name, what it is, and the function that trains it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

BASELINE, NOTHING, EVERYTHING = "tuned", "nothing", "everything"


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

# A pairing of its own: the same loop, traced, with and without all that a run records.
PAIR: dict[str, Contender] = {
    NOTHING: Contender("ours", "runner, traced, no hooks at all", function="nothing"),
    EVERYTHING: Contender(
        "ours",
        "runner, traced: TensorBoard, metrics file, bar, checkpoints at the default interval, "
        "gradient norm",
        function="everything",
    ),
}

# For sweeps: lanes as one of its processes trains them, `lanes,8,true` being 8 that are compiled.
LANES: dict[str, Contender] = {"lanes": Contender("lanes", "runner, many models at once")}
