"""What an optimizer is: numbers in `hyper`, state as data, an update without memory.

The same update serves one model and many: numbers may be tensors with one entry per lane, and
nothing branches on a number. The few that do are for one model alone and say so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import torch
from torch import Tensor

from runner.foundation.ranges import Range

Tensors = list[Tensor] | tuple[Tensor, ...]
Slot = dict[str, Tensor]  # what is remembered of one parameter
Slots = dict[str, list[Tensor]]  # the same of all, each list in the order of the parameters
Hyper = Mapping[str, float]
Objective = Callable[[Tensors], Tensor]
Rule = Callable[[Tensor, Tensor, Slot, Hyper, float], tuple[Tensor, Slot]]

Between = Annotated[float, Range(0, 1, low_open=True, high_open=True)]  # (0, 1)
MoreThanOne = Annotated[float, Range(low=1, low_open=True)]


class Optimizer(NamedTuple):
    """An update rule.

    hyper       the numbers, `lr` among them; a schedule multiplies `lr`, and the step gives the
                product as a float64 tensor ()
    init        parameters -> slots: lists of tensors by name, one tensor for each parameter
    update      (parameters, gradients, slots, hyper, t) -> (parameters, slots), changing nothing
                it is given; t = 1, 2, ... counts updates, a whole number or a float64 tensor
    needs       "objective": the second argument of an update is instead a differentiable function
                `objective(parameters) -> scalar`, the same for every call within an update
    in_place    (parameters, gradients, slots, hyper, t) -> None, the same arithmetic written into
                the tensors, for one model; or None
    full_batch  the rule is meant for gradients without noise
    """

    hyper: dict[str, float]
    init: Callable[[Tensors], Any]
    update: Callable[[Tensors, Any, Any, Hyper, float], tuple[list[Tensor], Any]]
    needs: Literal["gradient", "objective"] = "gradient"
    in_place: Callable[[Tensors, Any, Any, Hyper, float], None] | None = None
    full_batch: bool = False


def zeros(*names: str) -> Callable[[Tensors], Slots]:
    """Return an `init` that starts these slots at zero."""

    def init(parameters: Tensors) -> Slots:
        return {name: [torch.zeros_like(each) for each in parameters] for name in names}

    return init


def as_kernels_take(lr: float | Tensor) -> float | Tensor:
    """Return a learning rate as torch's fused kernels take it: on CUDA a tensor of float32."""
    return lr.float() if isinstance(lr, Tensor) and lr.is_cuda else lr


def by_tensor(rule: Rule) -> Callable[..., tuple[list[Tensor], Slots]]:
    """Make an update of a rule for one tensor: (w, g, slot, hyper, t) -> (w, slot)."""

    def update(
        parameters: Tensors, gradients: Tensors, slots: Slots, hyper: Hyper, t: float
    ) -> tuple[list[Tensor], Slots]:
        each = [{name: tensors[at] for name, tensors in slots.items()}
                for at in range(len(parameters))]  # fmt: skip
        pairs = [
            rule(w, g, slot, hyper, t)
            for w, g, slot in zip(parameters, gradients, each, strict=True)
        ]
        remembered = {name: [slot[name] for _, slot in pairs] for name in slots}
        return [w for w, _ in pairs], remembered

    return update
