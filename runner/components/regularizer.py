"""Regularizers: `(apply, parameters, x) -> scalar`, added to the loss.

`apply(parameters, x)` runs the model, for penalties on its derivatives; `parameters` maps names
to tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from runner.foundation.ranges import NonNegative

Apply = Callable[[Mapping[str, Tensor], Tensor], Tensor]


def l2(
    apply: Apply, parameters: Mapping[str, Tensor], x: Tensor, *, strength: NonNegative
) -> Tensor:
    """Return strength * sum W^2 over weights (two or more dimensions), not biases or norms.

    The gradient is 2 strength W: torch's `weight_decay` is twice this strength.
    """
    squares = [weight.square().sum() for weight in parameters.values() if weight.dim() >= 2]
    return strength * torch.stack(squares).sum()
