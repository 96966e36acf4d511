"""The training step of one model: loss, gradient, clipping, decay, update, projection, average."""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from runner.foundation import rng
from runner.training.state import Outcome, State

Loss = Callable[[Tensor, Tensor], Tensor]
Penalty = Callable[[Callable[..., Tensor], Mapping[str, Tensor], Tensor], Tensor]
Project = Callable[[Mapping[str, Tensor], float], Mapping[str, Tensor]]
Clip = Callable[[Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a step obeys; each part is given as a value, none is imported here.

    optimizer  hyper, init, update, needs, in_place (`runner.components.optimizer`)
    average    (averages, tensors, t) -> averages, after each update
    population the inputs of the whole training set, for layers that normalize by it
    accumulate in how many parts a batch is run, to spare memory
    """

    loss: Loss
    penalties: Sequence[Penalty]
    decays: Sequence[Project]
    projections: Sequence[Project]
    clips: Sequence[Clip]
    optimizer: Any
    average: Callable[..., dict[str, list[Tensor]]]
    population: Tensor
    seed: int
    autocast: bool = False
    accumulate: int = 1


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
    mean = loss(wide(outputs), y).mean()
    total = mean
    for penalty in penalties:
        total = total + penalty(apply, parameters, x)
    return total, Outcome(mean.detach(), outputs.detach(), y)


def wide(outputs: Tensor) -> Tensor:
    """Return outputs in float32 at least: a loss of bfloat16 numbers has three digits."""
    return outputs.float() if outputs.dtype is torch.bfloat16 else outputs


def prepare(state: State, rules: Rules) -> Callable[[Tensor, Tensor, float, bool], Outcome]:
    """Return `step(x, y, factor, measure)`: one update of the state's model, in place.

    `factor` multiplies the learning rate. With `measure` the norm of the gradient, before
    clipping, is left in `state.gradient_norm`. The state's tensors keep their storage.
    """
    model, optimizer = state.model, rules.optimizer
    parameters = dict(model.named_parameters())
    tensors = list(parameters.values())
    draw, collect = _drawing(model, rules, tensors[0].device), collecting(model, rules.population)
    minimized = _minimized(model, parameters, tensors, rules)
    take = _by_objective if optimizer.needs == "objective" else _by_gradient
    update = take(tensors, minimized, draw, rules)
    write = optimizer.in_place or _written_back(optimizer.update)
    averaged = state.averaged_tensors()

    def step(x: Tensor, y: Tensor, factor: float, measure: bool) -> Outcome:
        collect()
        outcome, direction, norm = update(x, y, state.step, measure)
        state.gradient_norm = norm if measure else state.gradient_norm
        lr = optimizer.hyper["lr"] * factor
        if rules.decays:
            _projected(parameters, rules.decays, lr)
        write(tensors, direction, state.slots, {**optimizer.hyper, "lr": lr}, state.step + 1)
        if rules.projections:
            _projected(parameters, rules.projections, lr)
        if state.averages:
            _averaged(state.averages, rules, averaged, state.step + 1)
        state.step += 1
        state.seen += len(x)
        return outcome

    return step


def length(tensors: Sequence[Tensor]) -> Tensor:
    """Return the 2-norm over all tensors together."""
    return torch.stack([each.norm() for each in tensors]).norm()


def _by_gradient(
    tensors: list[nn.Parameter],
    minimized: Callable[..., tuple[Tensor, Outcome]],
    draw: Callable[[int], Callable[[int], None]],
    rules: Rules,
) -> Callable[..., tuple[Outcome, Sequence[Tensor], Tensor | None]]:
    """Return a function that gives outcome, clipped gradient and, if asked, its norm before."""

    def gradient(x: Tensor, y: Tensor, fresh: Callable[[int], None]) -> tuple[Outcome, Any]:
        fresh(len(x))
        total, outcome = minimized(tensors, x, y)
        return outcome, torch.autograd.grad(total, tensors)

    def in_parts(x: Tensor, y: Tensor, fresh: Callable[[int], None]) -> tuple[Outcome, Any]:
        parts = [
            (len(rows) / len(x), *gradient(rows, targets, fresh))
            for rows, targets in zip(
                x.tensor_split(rules.accumulate), y.tensor_split(rules.accumulate), strict=True
            )
            if len(rows)
        ]
        outputs, targets = (torch.cat([outcome[at] for _, outcome, _ in parts]) for at in (1, 2))
        mean = sum((outcome.loss * share for share, outcome, _ in parts), outputs.new_zeros(()))
        scaled = [[each * share for each in gradients] for share, _, gradients in parts]
        return Outcome(mean, outputs, targets), [sum(each) for each in zip(*scaled, strict=True)]

    compute = gradient if rules.accumulate == 1 else in_parts

    def update(
        x: Tensor, y: Tensor, step: int, measure: bool
    ) -> tuple[Outcome, Sequence[Tensor], Tensor | None]:
        outcome, raw = compute(x, y, draw(step))
        gradients: Sequence[Tensor] = list(map(_laid_out_as, raw, tensors))
        norm = length(gradients) if measure else None
        for clip in rules.clips:
            gradients = clip(gradients, tensors)
        return outcome, gradients, norm

    return update


def _by_objective(
    tensors: list[nn.Parameter],
    minimized: Callable[..., tuple[Tensor, Outcome]],
    draw: Callable[[int], Callable[[int], None]],
    rules: Rules,
) -> Callable[..., tuple[Outcome, Callable[..., Tensor], Tensor | None]]:
    """Return a function that gives outcome and the objective of this batch, noise held fixed."""

    def update(
        x: Tensor, y: Tensor, step: int, measure: bool
    ) -> tuple[Outcome, Callable[..., Tensor], Tensor | None]:
        draw(step)(len(x))
        total, outcome = minimized(tensors, x, y)
        norm = length(torch.autograd.grad(total, tensors)) if measure else None
        return outcome, lambda given: minimized(given, x, y)[0], norm

    return update


def _minimized(
    model: nn.Module, parameters: Mapping[str, Tensor], own: Sequence[Tensor], rules: Rules
) -> Callable[..., tuple[Tensor, Outcome]]:
    """Return `minimized(tensors, x, y)`, a plain call where the tensors are the model's own."""
    device = own[0].device.type
    forward = functools.partial(torch.autocast, device, torch.bfloat16)
    casting = forward if rules.autocast else contextlib.nullcontext

    def apply(given: Mapping[str, Tensor], x: Tensor) -> Tensor:
        if given is parameters:
            return model(x)
        return torch.func.functional_call(model, dict(given), (x,))

    def minimized(given: Sequence[Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Outcome]:
        same = given is own or all(map(operator.is_, own, given))
        named = parameters if same else dict(zip(parameters, given, strict=True))
        with casting():
            return objective(apply, named, x, y, rules.loss, rules.penalties)

    return minimized


def _drawing(
    model: nn.Module, rules: Rules, device: torch.device
) -> Callable[[int], Callable[[int], None]]:
    """Return `draw(step)(count)`: fresh noise for every module and penalty that wants some."""
    candidates = [*model.modules(), *rules.penalties]
    noisy: list[Any] = [each for each in candidates if hasattr(each, "draw")]

    def draw(step: int) -> Callable[[int], None]:
        generator = rng.generator(rules.seed, "dropout", step, device)

        def fresh(count: int) -> None:
            for module in noisy:
                module.draw(count, generator)

        return fresh

    return draw if noisy else lambda step: lambda count: None


def collecting(model: nn.Module, population: Tensor) -> Callable[[], None]:
    """Return what runs the whole training set through layers that normalize by it."""
    collectors: list[Any] = [each for each in model.modules() if hasattr(each, "collecting")]

    def collect() -> None:
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        for each in collectors:
            each.train()
            each.collecting = True
        with torch.no_grad():
            model(population)
        for each in collectors:
            each.collecting = False
        for module, training in modes:
            module.training = training

    return collect if collectors else lambda: None


def _laid_out_as(gradient: Tensor, parameter: Tensor) -> Tensor:
    """Return the gradient in the parameter's memory order.

    A convolution may give its gradient channels last. Fused kernels walk both tensors' memory
    side by side and would pair the wrong numbers; `backward()` takes care of it, `grad` does not.
    """
    if gradient.stride() == parameter.stride():
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


def _written_back(update: Callable[..., Any]) -> Callable[..., None]:
    """Apply a pure update and write its results in place."""

    def write(parameters: Sequence[Tensor], direction: Any, slots: Any, hyper: Any, t: int) -> None:
        with torch.no_grad():
            updated, remembered = update(parameters, direction, slots, hyper, t)
            for parameter, tensor in zip(parameters, updated, strict=True):
                parameter.copy_(tensor)
            _put(slots, remembered)

    return write


@torch.no_grad()
def _projected(parameters: Mapping[str, Tensor], rules: Sequence[Project], lr: float) -> None:
    """Let each rule in turn change parameters in place."""
    for rule in rules:
        for name, tensor in rule(parameters, lr).items():
            parameters[name].copy_(tensor)


@torch.no_grad()
def _averaged(averages: dict[str, list[Tensor]], rules: Rules, own: list[Tensor], t: int) -> None:
    """Let the weights of this step go into the averages."""
    _put(averages, rules.average(averages, own, t))


def _put(kept: dict[str, list[Tensor]], fresh: Mapping[str, Sequence[Tensor]]) -> None:
    """Copy lists of tensors into those of the state."""
    for name, tensors in fresh.items():
        for own, tensor in zip(kept[name], tensors, strict=True):
            own.copy_(tensor)
