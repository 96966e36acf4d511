"""The training step of one model: forward, loss, gradient, clipping, update."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from runner.foundation import rng
from runner.training.state import Outcome, State

Loss = Callable[[Tensor, Tensor], Tensor]
Penalty = Callable[[Callable[..., Tensor], Mapping[str, Tensor], Tensor], Tensor]
Clip = Callable[[Sequence[Tensor]], Sequence[Tensor]]


def objective(
    apply: Callable[..., Tensor],
    parameters: Mapping[str, Tensor],
    x: Tensor,
    y: Tensor,
    loss: Loss,
    penalties: Sequence[Penalty],
) -> tuple[Tensor, Outcome]:
    """Return what is minimized, mean loss + penalties, and what is logged.

    `apply(parameters, x)` runs the model; the function is pure, so that one model and many
    stacked ones share it.
    """
    outputs = apply(parameters, x)
    mean = loss(outputs, y).mean()
    total = mean
    for penalty in penalties:
        total = total + penalty(apply, parameters, x)
    return total, Outcome(mean.detach(), outputs.detach(), y)


def prepare(
    state: State,
    *,
    loss: Loss,
    penalties: Sequence[Penalty],
    clips: Sequence[Clip],
    optimizer: Any,
    seed: int,
    autocast: bool,
) -> Callable[[Tensor, Tensor, float, bool], Outcome]:
    """Return `step(x, y, factor, measure)`: one update of the state's model, in place.

    `factor` multiplies the learning rate. With `measure` the norm of the gradient, before
    clipping, is left in `state.gradient_norm`. The state's tensors keep their storage.
    """
    model, slots = state.model, state.slots
    parameters = dict(model.named_parameters())
    tensors = list(parameters.values())
    device = tensors[0].device
    draw, apply = _drawing(model, seed, device), _applying(model, parameters)
    write = optimizer.fused or _by_tensor(optimizer)
    forward = functools.partial(torch.autocast, device.type, torch.bfloat16)
    casting = forward if autocast else contextlib.nullcontext

    def step(x: Tensor, y: Tensor, factor: float, measure: bool) -> Outcome:
        draw(state.step, len(x))
        with casting():
            total, outcome = objective(apply, parameters, x, y, loss, penalties)
        gradients: Sequence[Tensor] = list(
            map(_laid_out_as, torch.autograd.grad(total, tensors), tensors)
        )
        if measure:
            state.gradient_norm = torch.stack([each.norm() for each in gradients]).norm()
        for clip in clips:
            gradients = clip(gradients)
        hyper = {**optimizer.hyper, "lr": optimizer.hyper["lr"] * factor}
        with torch.no_grad():
            write(tensors, gradients, slots, hyper, state.step + 1)
        state.step += 1
        state.seen += len(x)
        return outcome

    return step


def _drawing(model: nn.Module, seed: int, device: torch.device) -> Callable[[int, int], None]:
    """Return `draw(step, count)`: fresh noise for every module that wants some."""
    noisy: list[Any] = [module for module in model.modules() if hasattr(module, "draw")]

    def draw(step: int, count: int) -> None:
        generator = rng.generator(seed, "dropout", step, device)
        for module in noisy:
            module.draw(count, generator)

    return draw if noisy else lambda step, count: None


def _applying(model: nn.Module, own: Mapping[str, Tensor]) -> Callable[..., Tensor]:
    """Return `apply(parameters, x)`, a plain call where the parameters are the model's own."""

    def apply(parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        if parameters is own:
            return model(x)
        return torch.func.functional_call(model, dict(parameters), (x,))

    return apply


def _laid_out_as(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Return the gradient in the parameter's memory order.

    A convolution may give its gradient channels last. Fused kernels walk both tensors' memory
    side by side and would pair the wrong numbers; `backward()` takes care of it, `grad` does not.
    """
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _by_tensor(optimizer: Any) -> Callable[..., None]:
    """Apply a pure update to each tensor in turn and write the results in place."""

    def write(
        parameters: Sequence[nn.Parameter],
        gradients: Sequence[Tensor],
        slots: Sequence[dict[str, Tensor]],
        hyper: Mapping[str, float],
        t: int,
    ) -> None:
        for parameter, gradient, slot in zip(parameters, gradients, slots, strict=True):
            updated, remembered = optimizer.update(parameter, gradient, slot, hyper, t)
            parameter.copy_(updated)
            for name, tensor in remembered.items():
                slot[name].copy_(tensor)

    return write
