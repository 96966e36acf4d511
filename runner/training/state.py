"""Everything that changes while a model trains: what a checkpoint holds, and nothing else."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from runner.foundation.errors import UnusableCheckpoint

TENSORS = ("model", "slots", "averages", "window", "weights")  # parts of a checkpoint


class Outcome(NamedTuple):
    """What one training step leaves behind, on the device."""

    loss: Tensor  # () mean of the losses of the batch, without penalties
    outputs: Tensor  # (B, C)
    targets: Tensor  # (B,) or (B, C)


@dataclass
class Best:
    """The weights with the best objective so far; `value` is better when lower."""

    value: float = math.inf
    step: int = 0
    averaged: bool = False  # the weights are an average
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class State:
    """A training run between two steps.

    `step` counts the updates made. `slots` is what the optimizer remembers: lists of tensors by
    name, or an optimizer of torch's own. `averages` holds "mean", like `averaged_tensors`, and
    "count", how many weights went into it. `window` holds the steps since the last logged row.
    `skips` counts steps that were left out: all, and those since the last that was not. `rollbacks`
    counts how often the run went back.
    """

    model: nn.Module
    slots: Any
    schedule: dict[str, Any]
    stopping: dict[str, Any]
    averages: dict[str, list[Tensor]] = field(default_factory=dict)
    step: int = 0
    seen: int = 0  # samples
    ended: bool = False  # by a hook, before the budget was spent
    gradient_norm: Tensor | None = None
    skips: Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.float64))
    rollbacks: int = 0
    anchor: dict[str, Any] | None = None  # what a rollback goes back to, as checkpoints hold it
    best: Best = field(default_factory=Best)
    window: list[Outcome] = field(default_factory=list)

    def pack(self) -> dict[str, Any]:
        """Return tensors, numbers, strings, lists and dicts alone, safe to load anywhere."""
        return {
            "step": self.step,
            "seen": self.seen,
            "ended": self.ended,
            "skipped": self.skipped,
            "unmoved": self.unmoved,
            "rollbacks": self.rollbacks,
            "model": on_host(dict(self.model.state_dict())),
            "slots": _plain(self.slots),
            "averages": _plain(self.averages),
            "schedule": on_host(self.schedule),
            "stopping": on_host(self.stopping),
            "best": {"value": self.best.value, "step": self.best.step,
                     "averaged": self.best.averaged, "weights": self.best.weights},
            "window": [[each.cpu() for each in outcome] for outcome in self.window],
        }  # fmt: skip

    def unpack(self, packed: dict[str, Any]) -> None:
        """Take back what `pack` gave; the tensors that training updates stay where they are."""
        self.verify(packed)
        self.step, self.seen, self.ended = packed["step"], packed["seen"], packed["ended"]
        self.rollbacks = packed["rollbacks"]
        self.skips.copy_(torch.tensor([packed["skipped"], packed["unmoved"]]))
        self.model.load_state_dict(packed["model"])
        for own, stored in ((self.slots, packed["slots"]), (self.averages, packed["averages"])):
            _take_back(own, stored)
        self.schedule, self.stopping = packed["schedule"], packed["stopping"]
        self.best = Best(**packed["best"])
        device = next(self.model.parameters()).device
        self.window = [
            Outcome(*(tensor.to(device) for tensor in outcome)) for outcome in packed["window"]
        ]

    def verify(self, packed: dict[str, Any]) -> None:
        """Raise `UnusableCheckpoint` with the first parts that are not as this state has them."""
        own = self.pack()
        found: dict[str, Any] = {name: packed.get(name) for name in own}
        wrong = [name for name, part in found.items() if part is None]
        for part in ("model", "averages", *(["slots"] if isinstance(self.slots, dict) else [])):
            wrong += _misfits(own[part], found[part], part)
        for part in ("schedule", "stopping", "best"):
            names = found[part] if isinstance(found[part], dict) else {}
            wrong += [f"{part}.{name}: absent" for name in own[part] if name not in names]
        if not wrong and found["best"]["weights"] != {}:
            wrong += _misfits(own["model"], found["best"]["weights"], "best.weights")
        if not wrong:
            window = found["window"] if isinstance(found["window"], list) else [None]
            wrong += [f"window.{at}: no step" for at, row in enumerate(window)
                      if len(_shapes(row, "")) != len(Outcome._fields)]  # fmt: skip
        if not wrong:
            numbers = [name for name in own if name not in TENSORS]
            wrong += [line for name in numbers for line in _unlike(own[name], found[name], name)]
        if wrong:
            lines = [f"  {line}" for line in wrong[:5]]
            raise UnusableCheckpoint(
                "\n".join([f"the checkpoint is for another model ({len(wrong)} differ):", *lines])
            )

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that a step changes in place, by name."""
        lists = {"slots": self.slots, "averages": self.averages}
        parts = {
            f"{part}.{name}.{at}": tensor
            for part, slots in lists.items()
            if isinstance(slots, dict)
            for name, tensors in slots.items()
            for at, tensor in enumerate(tensors)
        }
        own = self.model.state_dict(keep_vars=True)
        model = {f"model.{name}": tensor for name, tensor in own.items()}
        return {**model, **parts, "skips": self.skips}

    @property
    def skipped(self) -> int:
        """Return how many steps were left out."""
        return int(self.skips[0])

    @property
    def unmoved(self) -> int:
        """Return how many of the newest steps were left out, one after the other."""
        return int(self.skips[1])

    def averaged_tensors(self) -> list[Tensor]:
        """Return what an average of weights is taken of: parameters, and statistics of layers."""
        state = self.model.state_dict(keep_vars=True)
        return [tensor for tensor in state.values() if tensor.is_floating_point()]

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the averages stand for the weights inside, where there are some already."""
        if not self.has_average:
            yield
            return
        own = self.averaged_tensors()
        kept = [tensor.detach().clone() for tensor in own]
        self._put(self.averages["mean"])
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, tensors: list[Tensor]) -> None:
        for own, tensor in zip(self.averaged_tensors(), tensors, strict=True):
            own.copy_(tensor)

    @property
    def has_average(self) -> bool:
        """Tell whether some weights went into the averages already."""
        return bool(self.averages) and bool(self.averages["count"][0])

    def consider(self, value: float) -> None:
        """Keep the weights of this step if they are the best; averages compete among themselves."""
        if self.has_average and not self.best.averaged:
            self.best = Best(averaged=True)
        if value < self.best.value:
            with self.averaged():
                self.remember(value)

    def remember(self, value: float) -> None:
        """Keep the weights of this step as the best."""
        weights = on_host(dict(self.model.state_dict()))
        self.best = Best(value, self.step, self.has_average, weights)

    def restore_best(self) -> None:
        """Put the best weights into the model, or the last ones, averaged if they are."""
        if self.best.weights:
            self.model.load_state_dict(self.best.weights)
        elif self.has_average:
            self._put(self.averages["mean"])


def _shapes(content: Any, name: str) -> dict[str, str]:
    """Return the shape and type of every tensor under its full name."""
    if isinstance(content, Tensor):
        return {name: f"{tuple(content.shape)} {content.dtype}".replace("torch.", "")}
    if not isinstance(content, dict | list):
        return {}
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    parts = [_shapes(each, f"{name}.{key}") for key, each in pairs]
    return {key: shape for part in parts for key, shape in part.items()}


def _misfits(own: Any, stored: Any, name: str) -> list[str]:
    """Return a line for each tensor that has not the same shape and type in both."""
    expected, found = _shapes(own, name), _shapes(stored, name)
    return [
        f"{key}: {found.get(key, 'absent')} in the checkpoint, "
        f"{expected.get(key, 'absent')} in the model"
        for key in {**expected, **found}
        if expected.get(key) != found.get(key)
    ]


def _unlike(own: Any, found: Any, name: str) -> list[str]:
    """Return a line for each number, or section of numbers, that is of another kind than here."""
    if isinstance(own, dict) and isinstance(found, dict):
        return [line for key in own if key not in TENSORS
                for line in _unlike(own[key], found[key], f"{name}.{key}")]  # fmt: skip
    kind = (int, float) if isinstance(own, float) else type(own)
    fits = isinstance(found, kind) and isinstance(found, bool) == isinstance(own, bool)
    if isinstance(found, int) and abs(found) >= 2**63:
        fits = False
    return [] if fits else [f"{name}: expected {type(own).__name__}, found {type(found).__name__}"]


def _plain(slots: Any) -> Any:
    """Return slots as a checkpoint holds them; torch's own optimizers know how to pack theirs."""
    return on_host(slots.state_dict() if isinstance(slots, torch.optim.Optimizer) else slots)


def _take_back(slots: Any, stored: Any) -> None:
    if isinstance(slots, torch.optim.Optimizer):
        slots.load_state_dict(stored)
        _uncast(slots, stored)
        return
    for name, tensors in slots.items():
        for tensor, value in zip(tensors, stored[name], strict=True):
            tensor.copy_(value)


def _uncast(optimizer: torch.optim.Optimizer, stored: dict[str, Any]) -> None:
    """Give back their type to tensors that torch cast to that of the parameters when it loaded.

    It does so to numbers it keeps in float32 beside parameters in float64, such as NAdam's.
    """
    keys = [key for group in stored["param_groups"] for key in group["params"]]
    tensors = [tensor for group in optimizer.param_groups for tensor in group["params"]]
    for key, tensor in zip(keys, tensors, strict=True):
        loaded = optimizer.state[tensor] if key in stored["state"] else {}
        for name, value in loaded.items():
            kept = stored["state"][key][name]
            if isinstance(value, Tensor) and value.dtype != kept.dtype:
                loaded[name] = kept.to(value.device)


def on_host(content: Any) -> Any:
    """Copy every tensor in nested dicts and lists to the host."""
    if isinstance(content, Tensor):
        return content.detach().to("cpu", copy=True)
    if isinstance(content, dict):
        return {key: on_host(each) for key, each in content.items()}
    if isinstance(content, list | tuple):
        return type(content)(on_host(each) for each in content)
    return content


def nonfinite(window: list[Outcome]) -> int | None:
    """Return the place of the first step of the window whose loss is nan or infinite."""
    if not window:
        return None
    finite = torch.stack([outcome.loss for outcome in window]).isfinite().cpu()
    return None if finite.all() else int((~finite).nonzero()[0])


def broken(named: Iterable[tuple[str, Tensor]]) -> str | None:
    """Return the name of the first tensor that holds nan or an infinity."""
    pairs = [(name, tensor.detach()) for name, tensor in named if tensor.numel()]
    if not pairs:
        return None
    ends = [torch.stack(tensor.aminmax()).double() for _, tensor in pairs]
    finite = torch.stack(ends).isfinite().all(1).cpu()
    return None if finite.all() else pairs[int((~finite).nonzero()[0])][0]
