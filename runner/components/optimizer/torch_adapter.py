"""The classes of torch.optim, and those of the user's own, as optimizers of ours."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from runner.components.optimizer.kind import Hyper, Optimizer, Tensors

FULL_BATCH = (torch.optim.LBFGS, torch.optim.Rprop)


def by_torch(
    make: Callable[[list[Tensor]], torch.optim.Optimizer], arguments: Mapping[str, Any]
) -> Optimizer:
    """Let a class of torch.optim update the weights; the slots are the object it makes.

    `make` is the class with these arguments filled in. lr, the class's own where none is given, is
    written into every group of parameters before each step. A class whose `step` cannot do
    without a closure needs the objective. Solo only: torch keeps its state in the object.

    Raises ValueError for arguments that the class refuses, in its own words.
    """
    trial = _trial(make, arguments)
    closure = inspect.signature(type(trial).step).parameters.get("closure")
    searches = closure is not None and closure.default is inspect.Parameter.empty

    def in_place(
        ws: Tensors, direction: Any, slots: torch.optim.Optimizer, hyper: Hyper, t: float
    ) -> None:
        own = _parameters(slots)
        assert all(w is given for w, given in zip(own, ws, strict=True)), "made for other tensors"
        for group in slots.param_groups:
            group["lr"] = hyper["lr"]
        if searches:
            slots.step(_closure(own, direction))
        else:
            for w, g in zip(own, direction, strict=True):
                w.grad = g
            slots.step()
        slots.zero_grad()

    def update(
        ws: Tensors, direction: Any, slots: torch.optim.Optimizer, hyper: Hyper, t: float
    ) -> tuple[list[Tensor], torch.optim.Optimizer]:
        own = [each.detach().clone().requires_grad_() for each in ws]
        twin = make(own)
        twin.load_state_dict(copy.deepcopy(slots.state_dict()))
        in_place(own, direction, twin, hyper, t)
        return [each.detach() for each in own], twin

    return Optimizer(
        {"lr": trial.defaults["lr"]},
        lambda parameters: make(list(parameters)),
        update,
        needs="objective" if searches else "gradient",
        in_place=in_place,
        full_batch=isinstance(trial, FULL_BATCH),
    )


def _trial(
    make: Callable[[list[Tensor]], torch.optim.Optimizer], arguments: Mapping[str, Any]
) -> torch.optim.Optimizer:
    """Make one for a single weight, to hear of wrong arguments before there is a model."""
    try:
        trial = make([torch.zeros(1, 1, requires_grad=True)])
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        given = ", ".join(f"{name}={value}" for name, value in arguments.items())
        raise ValueError(f"it cannot be made with {given or 'no arguments'}: {error}") from error
    if not isinstance(trial, torch.optim.Optimizer) or "lr" not in trial.defaults:
        raise ValueError(f"{type(trial).__name__} is no optimizer with an lr")
    if isinstance(trial, torch.optim.SparseAdam):
        raise ValueError("SparseAdam takes sparse gradients alone; use optimizer=adam")
    return trial


def _parameters(slots: torch.optim.Optimizer) -> list[Tensor]:
    return [each for group in slots.param_groups for each in group["params"]]


def _closure(own: list[Tensor], objective: Callable[[list[Tensor]], Tensor]) -> Callable[[], float]:
    """Return what torch calls to hear the objective and find the gradient in `grad`."""

    def closure() -> float:
        for each in own:
            each.grad = None
        with torch.enable_grad():
            total = objective(own)
            total.backward(inputs=own)
        for each in own:  # LBFGS takes flat views, which channels last in memory have not
            each.grad = each.grad if each.grad is None else each.grad.contiguous()
        return float(total.detach())

    return closure
