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

from runner.training.noise import noise_of, part_sizes
from runner.training.skipping import skipping
from runner.training.state import Outcome, State
from runner.training.tracing import Function

Loss = Callable[[Tensor, Tensor], Tensor]
Penalty = Callable[[Callable[..., Tensor], Mapping[str, Tensor], Tensor], Tensor]
Project = Callable[[Mapping[str, Tensor], float], Mapping[str, Tensor]]
Clip = Callable[[Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]]
Ready = Callable[[Function, Sequence[Tensor]], Function]
Step = Callable[[Tensor, Tensor, float, bool], Outcome]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What a step obeys; each part is given as a value, none is imported here.

    optimizer  hyper, init, update, needs, in_place (`runner.components.optimizer`)
    averaging  update, due (`runner.components.averaging`)
    skips      a step whose loss or gradient is not finite leaves the state as it was
    whole      every step is one function, of plain arithmetic: what a compiler makes most of
    population the inputs of the whole training set, for layers that normalize by it
    accumulate in how many parts a batch is run, to spare memory
    attributes numbers of modules that differ between lanes: (module, name, number)
    """

    loss: Loss
    penalties: Sequence[Penalty]
    decays: Sequence[Project]
    projections: Sequence[Project]
    clips: Sequence[Clip]
    optimizer: Any
    averaging: Any
    population: Tensor
    seed: int
    autocast: bool = False
    accumulate: int = 1
    skips: bool = False
    whole: bool = False
    attributes: Sequence[tuple[nn.Module, str, Tensor]] = ()


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


def prepare(state: State, rules: Rules, ready: Ready | None = None) -> Step:
    """Return `step(x, y, factor, measure)`: one update of the state's model, in place.

    `factor` multiplies the learning rate. With `measure` the norm of the gradient, before
    clipping, is left in `state.gradient_norm`. The state's tensors keep their storage.

    All that depends on tensors alone is one function of x, y, the learning rate, the number t of
    the update, and the noise of layers and penalties; `ready(function, inputs)` may return a
    faster one that does the same for inputs of these shapes.
    """
    model, optimizer = state.model, rules.optimizer
    device = next(model.parameters()).device
    collect = collecting(model, rules.population)
    noisy = [*model.modules(), *rules.penalties]
    draw, place = noise_of(noisy, rules.seed, rules.accumulate, device)
    update, always = _updating(state, rules, place), rules.whole or rules.skips
    if rules.skips:
        counts = (tensors := state.tensors()).pop("skips")
        update = skipping(update, list(tensors.values()), counts)
    ready_update = Variants(update, ready)
    lr, t = torch.zeros(2, dtype=torch.float64, device=device)

    def step(x: Tensor, y: Tensor, factor: float, measure: bool) -> Outcome:
        collect()
        noise = draw(state.step, len(x))
        state.step += 1
        state.seen += len(x)
        rate = optimizer.hyper["lr"] * factor
        averaging = bool(state.averages) and rules.averaging.due(state.step)
        if not is_traceable(state, optimizer):
            result = update(measure, averaging, x, y, rate, state.step, *noise)
        else:
            inputs = (x, y, lr.fill_(rate), t.fill_(state.step), *noise)
            result = ready_update(measure or always, averaging, inputs)
        state.gradient_norm = result[2] if measure else state.gradient_norm
        return Outcome(result[0], result[1], y)

    return step


class Variants:
    """The kinds of an update: measured or not, with averages or without, of batches so large.

    Each is made ready when it is first met.
    """

    def __init__(self, update: Function, ready: Ready | None):
        self.update, self.ready = update, ready
        self.known: dict[Any, Function] = {}

    def __call__(
        self, measure: bool, averaging: bool, inputs: Sequence[Tensor]
    ) -> Sequence[Tensor]:
        """Run the update on inputs that begin with x and y."""
        variant = measure, averaging, inputs[0].shape, inputs[1].shape
        if variant not in self.known:
            function = functools.partial(self.update, measure, averaging)
            self.known[variant] = self.ready(function, inputs) if self.ready else function
        return self.known[variant](*inputs)


def is_traceable(state: State, optimizer: Any) -> bool:
    """Tell whether the update is a function of tensors: no search, no state in objects."""
    return optimizer.needs == "gradient" and isinstance(state.slots, dict)


def length(tensors: Sequence[Tensor]) -> Tensor:
    """Return the 2-norm over all tensors together."""
    return torch.stack(torch._foreach_norm(list(tensors))).norm()


def _updating(state: State, rules: Rules, place: Callable[[Sequence[Tensor]], None]) -> Function:
    """Return `update(measure, averaging, x, y, lr, t, *noise)`, which changes the state's tensors.

    It returns loss, outputs and, to be measured, the norm of the gradient.
    """
    model, optimizer = state.model, rules.optimizer
    parameters = dict(model.named_parameters())
    tensors = list(parameters.values())
    averaged = state.averaged_tensors()
    minimized = _minimized(model, parameters, tensors, rules)
    by = _by_objective if optimizer.needs == "objective" else _by_gradient
    direct = by(tensors, minimized, place, rules)
    in_place = None if rules.whole else optimizer.in_place
    write = in_place or _written_back(optimizer.update)

    def update(
        measure: bool, averaging: bool, x: Tensor, y: Tensor, lr: Any, t: Any, *noise: Tensor
    ) -> list[Tensor]:
        loss, outputs, direction, norm = direct(x, y, noise, measure)
        if rules.decays:
            _projected(parameters, rules.decays, lr)
        write(tensors, direction, state.slots, {**optimizer.hyper, "lr": lr}, t)
        if rules.projections:
            _projected(parameters, rules.projections, lr)
        if averaging:
            _averaged(state.averages, rules, averaged, t)
        return [loss, outputs, *norm]

    return update


def _by_gradient(
    tensors: list[nn.Parameter],
    minimized: Callable[..., tuple[Tensor, Outcome]],
    place: Callable[[Sequence[Tensor]], None],
    rules: Rules,
) -> Callable[..., tuple[Tensor, Tensor, Sequence[Tensor], list[Tensor]]]:
    """Return a function that gives loss, outputs, clipped gradient and, if asked, its norm."""

    def gradient(x: Tensor, y: Tensor, noise: Sequence[Tensor]) -> tuple[Tensor, Tensor, Any]:
        place(noise)
        total, outcome = minimized(tensors, x, y)
        return outcome.loss, outcome.outputs, torch.autograd.grad(total, tensors)

    def in_parts(x: Tensor, y: Tensor, noise: Sequence[Tensor]) -> tuple[Tensor, Tensor, Any]:
        sizes = part_sizes(len(x), rules.accumulate)
        each = len(noise) // len(sizes)
        parts = [
            (size / len(x), *gradient(rows, targets, noise[at * each : (at + 1) * each]))
            for at, (size, rows, targets) in enumerate(
                zip(sizes, x.split(sizes), y.split(sizes), strict=True)
            )
        ]
        outputs = torch.cat([part[2] for part in parts])
        loss = sum((loss * share for share, loss, _, _ in parts), outputs.new_zeros(()))
        scaled = [[each * share for each in gradients] for share, _, _, gradients in parts]
        return loss, outputs, [sum(each) for each in zip(*scaled, strict=True)]

    compute = gradient if rules.accumulate == 1 else in_parts

    def direct(
        x: Tensor, y: Tensor, noise: Sequence[Tensor], measure: bool
    ) -> tuple[Tensor, Tensor, Sequence[Tensor], list[Tensor]]:
        loss, outputs, raw = compute(x, y, noise)
        gradients: Sequence[Tensor] = list(map(_laid_out_as, raw, tensors))
        norm = [length(gradients)] if measure else []
        for clip in rules.clips:
            gradients = clip(gradients, tensors)
        return loss, outputs, gradients, norm

    return direct


def _by_objective(
    tensors: list[nn.Parameter],
    minimized: Callable[..., tuple[Tensor, Outcome]],
    place: Callable[[Sequence[Tensor]], None],
    rules: Rules,
) -> Callable[..., tuple[Tensor, Tensor, Callable[..., Tensor], list[Tensor]]]:
    """Return a function that gives loss, outputs and the objective of this batch, noise fixed."""

    def direct(
        x: Tensor, y: Tensor, noise: Sequence[Tensor], measure: bool
    ) -> tuple[Tensor, Tensor, Callable[..., Tensor], list[Tensor]]:
        place(noise)
        total, outcome = minimized(tensors, x, y)
        norm = [length(torch.autograd.grad(total, tensors))] if measure else []
        return outcome.loss, outcome.outputs, lambda given: minimized(given, x, y)[0], norm

    return direct


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

    def write(parameters: Sequence[Tensor], direction: Any, slots: Any, hyper: Any, t: Any) -> None:
        with torch.no_grad():
            updated, remembered = update(parameters, direction, slots, hyper, t)
            for parameter, tensor in zip(parameters, updated, strict=True):
                parameter.copy_(tensor)
            _put(slots, remembered)

    return write


@torch.no_grad()
def _projected(parameters: Mapping[str, Tensor], rules: Sequence[Project], lr: Any) -> None:
    """Let each rule in turn change parameters in place."""
    for rule in rules:
        for name, tensor in rule(parameters, lr).items():
            parameters[name].copy_(tensor)


@torch.no_grad()
def _averaged(averages: dict[str, list[Tensor]], rules: Rules, own: list[Tensor], t: Any) -> None:
    """Let the weights of this step go into the averages."""
    _put(averages, rules.averaging.update(averages, own, t))


def _put(kept: dict[str, list[Tensor]], fresh: Mapping[str, Sequence[Tensor]]) -> None:
    """Copy lists of tensors into those of the state."""
    for name, tensors in fresh.items():
        for own, tensor in zip(kept[name], tensors, strict=True):
            own.copy_(tensor)
