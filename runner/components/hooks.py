"""Hooks: measurements of the user's own, `measure(state, *, every) -> {name: number}`.

`state` is the training state (`runner.training.state.State`): the model, its parameters, the
step. Whatever a hook returns is logged beside our own metrics. A hook must not change the state.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from runner.foundation.durations import Period


def weight_norm(state: Any, *, every: Period) -> dict[str, Tensor]:
    """Measure the length of all parameters together, ||theta||_2."""
    lengths = [parameter.norm() for parameter in state.model.parameters()]
    return {"weights/norm": torch.stack(lengths).norm()}
