"""Everything that changes while a model trains: what a checkpoint holds, and nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from runner.foundation.errors import UnusableCheckpoint


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
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class State:
    """A training run between two steps.

    `step` counts the updates made. `slots` is what the optimizer remembers, one dict for each
    parameter. `window` holds the steps since the last logged row.
    """

    model: nn.Module
    slots: list[dict[str, Tensor]]
    schedule: dict[str, Any]
    stopping: dict[str, Any]
    step: int = 0
    seen: int = 0  # samples
    ended: bool = False  # by a hook, before the budget was spent
    gradient_norm: Tensor | None = None
    best: Best = field(default_factory=Best)
    window: list[Outcome] = field(default_factory=list)

    def pack(self) -> dict[str, Any]:
        """Return tensors, numbers, strings, lists and dicts alone, safe to load anywhere."""
        return {
            "step": self.step,
            "seen": self.seen,
            "ended": self.ended,
            "model": _copied(self.model.state_dict()),
            "slots": [_copied(slot) for slot in self.slots],
            "schedule": dict(self.schedule),
            "stopping": dict(self.stopping),
            "best": {"value": self.best.value, "step": self.best.step,
                     "weights": self.best.weights},
            "window": [[each.cpu() for each in outcome] for outcome in self.window],
        }  # fmt: skip

    def unpack(self, packed: dict[str, Any]) -> None:
        """Take back what `pack` gave; the tensors that training updates stay where they are."""
        self._verify(packed)
        self.step, self.seen, self.ended = packed["step"], packed["seen"], packed["ended"]
        self.model.load_state_dict(packed["model"])
        for slot, stored in zip(self.slots, packed["slots"], strict=True):
            for name, tensor in slot.items():
                tensor.copy_(stored[name])
        self.schedule, self.stopping = packed["schedule"], packed["stopping"]
        self.best = Best(**packed["best"])
        device = next(self.model.parameters()).device
        self.window = [
            Outcome(*(tensor.to(device) for tensor in outcome)) for outcome in packed["window"]
        ]

    def _verify(self, packed: dict[str, Any]) -> None:
        """Raise `UnusableCheckpoint` with the first parts that are not as this state has them."""
        own, found = self.pack(), {name: packed.get(name) for name in self.pack()}
        wrong = [name for name, part in found.items() if part is None]
        for part in ("model", "slots"):
            expected, stored = _shapes(own[part], part), _shapes(found[part], part)
            wrong += [
                f"{name}: {stored.get(name, 'absent')} in the checkpoint, "
                f"{expected.get(name, 'absent')} in the model"
                for name in {**expected, **stored}
                if expected.get(name) != stored.get(name)
            ]
        if wrong:
            lines = [f"  {line}" for line in wrong[:5]]
            raise UnusableCheckpoint(
                "\n".join([f"the checkpoint is for another model ({len(wrong)} differ):", *lines])
            )

    def remember(self, value: float) -> None:
        """Keep the weights of this step as the best."""
        self.best = Best(value, self.step, _copied(self.model.state_dict()))

    def restore_best(self) -> None:
        """Put the best weights into the model, or leave the last ones if none were kept."""
        if self.best.weights:
            self.model.load_state_dict(self.best.weights)


def _shapes(content: Any, name: str) -> dict[str, str]:
    """Return the shape and type of every tensor under its full name."""
    if isinstance(content, Tensor):
        return {name: f"{tuple(content.shape)} {content.dtype}".replace("torch.", "")}
    pairs = content.items() if isinstance(content, dict) else enumerate(content or ())
    parts = [_shapes(each, f"{name}.{key}") for key, each in pairs]
    return {key: shape for part in parts for key, shape in part.items()}


def _copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def nonfinite(window: list[Outcome]) -> int | None:
    """Return the place of the first step of the window whose loss is nan or infinite."""
    if not window:
        return None
    finite = torch.stack([outcome.loss for outcome in window]).isfinite().cpu()
    return None if finite.all() else int((~finite).nonzero()[0])
