"""Many models at once: lanes of one program, stacked on a leading axis.

Letters: R lanes, B rows of a batch, C outputs. Lanes share code, shapes and the number of steps;
weights, data order, noise and numbers are each lane's own. Nothing passes from lane to lane, so
what a lane computes does not depend on which others stand beside it, once there are two: a lane
that is alone is given a silent companion, since kernels for one may round differently.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from runner.training.noise import placed
from runner.training.skipping import skipping
from runner.training.stacked import Stacking
from runner.training.state import Outcome, State
from runner.training.step import Ready, Rules, Variants, objective, wide

Tensors = dict[str, Tensor]
Numbers = Mapping[str, Tensor]  # () inside a lane, (R,) outside
Draw = Callable[[int, int], list[Tensor]]  # (step, rows) -> noise of every lane, each (R, ...)
Step = Callable[[Tensor, Tensor, Tensor, bool], Outcome]


@dataclass
class Lanes:
    """A training run of many models between two steps; every tensor has its lanes first.

    `model` lends its code and none of its numbers. `numbers` are those in which lanes may differ,
    in float64. `window` holds the steps since the last logged row. `skips` counts as `State`'s.
    """

    model: nn.Module
    weights: Tensors
    buffers: Tensors
    slots: dict[str, list[Tensor]]
    averages: dict[str, list[Tensor]]
    numbers: Tensors
    step: int = 0
    seen: int = 0  # samples, of each lane
    gradient_norm: Tensor | None = None  # (R,)
    skips: Tensor = field(default_factory=lambda: torch.zeros(0, 2))  # (R, 2)
    window: list[Outcome] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Return how many lanes there are."""
        return len(next(iter(self.weights.values())))

    def lists(self) -> dict[str, list[Tensor]]:
        """Return every list of stacked tensors that a step changes, by name."""
        return {
            "weights": list(self.weights.values()),
            "buffers": list(self.buffers.values()),
            **{f"slots.{name}": tensors for name, tensors in self.slots.items()},
            **{f"averages.{name}": tensors for name, tensors in self.averages.items()},
            "skips": [self.skips],
        }

    def tensors(self) -> Tensors:
        """Return every tensor that a step changes in place, by name."""
        return {f"{part}.{at}": tensor for part, tensors in self.lists().items()
                for at, tensor in enumerate(tensors)}  # fmt: skip

    @property
    def has_average(self) -> bool:
        """Tell whether some weights went into the averages already."""
        return bool(self.averages) and bool(self.averages["count"][0].any())

    def shown(self) -> tuple[Tensors, Tensors]:
        """Return the weights and buffers to validate with: averages where there are some."""
        if not self.has_average:
            return self.weights, self.buffers
        names = averaged_names(self.model)
        mean = dict(zip(names, self.averages["mean"], strict=True))
        return (
            {name: mean.get(name, tensor) for name, tensor in self.weights.items()},
            {name: mean.get(name, tensor) for name, tensor in self.buffers.items()},
        )

    def kept(self, places: Sequence[int]) -> None:
        """Leave only the lanes at these places, in this order; the window must be empty."""
        assert not self.window, "rows are measured before lanes go"
        at = torch.tensor(places, device=next(iter(self.weights.values())).device)

        def of(tensors: Tensors) -> Tensors:
            return {name: each.index_select(0, at) for name, each in tensors.items()}

        def lists(named: dict[str, list[Tensor]]) -> dict[str, list[Tensor]]:
            return {name: [each.index_select(0, at) for each in tensors]
                    for name, tensors in named.items()}  # fmt: skip

        self.weights, self.buffers, self.numbers = map(
            of, (self.weights, self.buffers, self.numbers)
        )
        self.slots, self.averages = lists(self.slots), lists(self.averages)
        self.skips = self.skips.index_select(0, at)
        self.gradient_norm = None


def stacked(states: Sequence[State], numbers: Sequence[Mapping[str, float]]) -> Lanes:
    """Stack the states of models that have not trained yet, and their numbers."""
    first = states[0]
    device = next(first.model.parameters()).device
    packs = [dict(each.model.named_parameters()) for each in states]
    buffers = [dict(each.model.named_buffers()) for each in states]
    persistent = [name for name in buffers[0] if name in first.model.state_dict()]

    def together(tensors: Sequence[Tensor]) -> Tensor:
        # With channels last, sums over pixels would round by how many channels all lanes have.
        return torch.stack([each.detach().contiguous() for each in tensors])

    def lists(named: Sequence[Mapping[str, list[Tensor]]]) -> dict[str, list[Tensor]]:
        return {
            name: [together(each) for each in zip(*(lane[name] for lane in named), strict=True)]
            for name in named[0]
        }

    return Lanes(
        model=first.model,
        weights={name: together([lane[name] for lane in packs]) for name in packs[0]},
        buffers={name: together([lane[name] for lane in buffers]) for name in persistent},
        slots=lists([each.slots for each in states]),
        averages=lists([each.averages for each in states]),
        numbers={
            name: torch.tensor([each[name] for each in numbers], dtype=torch.float64, device=device)
            for name in numbers[0]
        },
        skips=together([each.skips for each in states]),
    )


def averaged_names(model: nn.Module) -> list[str]:
    """Return the names of what an average of weights is taken of, in its order."""
    return [name for name, each in model.state_dict().items() if each.is_floating_point()]


def prepare(
    lanes: Lanes, rules_of: Callable[[Numbers], Rules], draw: Draw, ready: Ready | None = None
) -> Step:
    """Return `step(x, y, factors, measure)`: one update of every lane, in place.

    x is (R, B, ...), y (R, B) or (R, B, C), `factors` (R,) multiply the learning rates.
    `rules_of(numbers)` gives the rules of a lane by its own numbers, on which nothing may branch.
    The outcome has the lanes first too. `ready` is that of the step of one model.
    """
    rules = rules_of({name: each[0] for name, each in lanes.numbers.items()})
    plain, tensors = _updating(lanes, rules_of, rules), lanes.tensors()
    counts = tensors.pop("skips.0")
    careful = skipping(plain, list(tensors.values()), counts) if rules.skips else plain
    update, always = Variants(careful, ready), rules.whole or rules.skips
    device = next(iter(lanes.weights.values())).device
    rates = lanes.numbers["optimizer.lr"]
    lr, t = torch.zeros_like(rates), torch.zeros((), dtype=torch.float64, device=device)

    def step(x: Tensor, y: Tensor, factors: Tensor, measure: bool) -> Outcome:
        noise = draw(lanes.step, x.shape[1])
        lanes.step += 1
        lanes.seen += x.shape[1]
        averaging = bool(lanes.averages) and rules.averaging.due(lanes.step)
        torch.mul(rates, factors, out=lr)
        inputs = (x, y, lr, t.fill_(lanes.step), *noise)
        result = update(measure or always, averaging, inputs)
        lanes.gradient_norm = result[2] if measure else lanes.gradient_norm
        return Outcome(result[0], result[1], y)

    return step


def _updating(
    lanes: Lanes, rules_of: Callable[[Numbers], Rules], rules: Rules
) -> Callable[..., list[Tensor]]:
    """Return `update(measure, averaging, x, y, lr, t, *noise)` of all lanes, in place.

    Lanes are independent, so the gradient of the sum of their objectives holds each lane's own.
    """
    names = averaged_names(lanes.model)
    minimized = across_lanes(functools.partial(_minimized, lanes.model, rules_of))

    def update(
        measure: bool, averaging: bool, x: Tensor, y: Tensor, lr: Tensor, t: Tensor, *noise: Tensor
    ) -> list[Tensor]:
        given = {name: each.detach().requires_grad_() for name, each in lanes.weights.items()}
        total, loss, outputs, fresh = minimized(
            lanes.numbers, list(noise), given, lanes.buffers, x, y
        )
        gradients = torch.autograd.grad(total.sum(), list(given.values()))
        with torch.no_grad():
            change = functools.partial(_changed, rules_of, t, measure, names if averaging else [])
            own = {"lr": lr, "t": t} if t.dim() else {"lr": lr}
            norm, *changed = across_lanes(change)(
                {**lanes.numbers, **own}, list(gradients), lanes.weights, fresh,
                lanes.slots, lanes.averages
            )  # fmt: skip
            state = lanes.weights, lanes.buffers, lanes.slots, lanes.averages
            for old, new in zip(_leaves(state), _leaves(changed), strict=True):
                old.copy_(new)
        return [loss.detach(), outputs.detach(), *norm]

    return update


def _minimized(
    model: nn.Module,
    rules_of: Callable[[Numbers], Rules],
    numbers: Numbers,
    noise: list[Tensor],
    weights: Tensors,
    buffers: Tensors,
    x: Tensor,
    y: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensors]:
    """Return the objective of a lane's batch, with loss, outputs and the changed buffers."""
    rules = rules_of(numbers)
    fresh = {name: each.clone() for name, each in buffers.items()}
    casting: Any = torch.autocast(x.device.type, torch.bfloat16)

    def apply(given: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(model, {**given, **fresh}, (x,))

    with (
        Stacking(),
        placed([*model.modules(), *rules.penalties], noise),
        _set(rules.attributes),
        casting if rules.autocast else contextlib.nullcontext(),
    ):
        total, outcome = objective(apply, weights, x, y, rules.loss, rules.penalties)
    return total, outcome.loss, outcome.outputs, fresh


def _changed(
    rules_of: Callable[[Numbers], Rules],
    t: Tensor,
    measure: bool,
    averaged: Sequence[str],
    numbers: dict[str, Tensor],
    gradients: list[Tensor],
    weights: Tensors,
    buffers: Tensors,
    slots: dict[str, list[Tensor]],
    averages: dict[str, list[Tensor]],
) -> tuple[list[Tensor], Tensors, Tensors, dict[str, list[Tensor]], dict[str, list[Tensor]]]:
    """Return the length of a lane's gradient, if measured, and the lane's new state."""
    rules, lr, t = rules_of(numbers), numbers["lr"], numbers.get("t", t)  # t: lanes may skip steps
    direction: Sequence[Tensor] = gradients
    norm = [_length(direction)] if measure else []
    for clip in rules.clips:
        direction = clip(direction, list(weights.values()))
    decayed = _projected(weights, rules.decays, lr)
    hyper = {**rules.optimizer.hyper, "lr": lr}
    updated, slots = rules.optimizer.update(list(decayed.values()), direction, slots, hyper, t)
    weights = _projected(dict(zip(weights, updated, strict=True)), rules.projections, lr)
    if averaged:
        held = {**weights, **buffers}
        averages = rules.averaging.update(averages, [held[name] for name in averaged], t)
    return norm, weights, buffers, slots, averages


def across_lanes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of one lane as that of all, whose arguments have the lanes first.

    A kernel without a rule for stacking runs for one lane after the other; whether lanes pay all
    the same is found out by trying, so that torch's warning of it would tell nobody anything.
    """
    stacked = vmap(function)

    def call(*arguments: Any) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            return stacked(*arguments)

    return call


def _length(tensors: Sequence[Tensor]) -> Tensor:
    """Return the 2-norm over all tensors together, by kernels that can be stacked."""
    return torch.stack([each.norm() for each in tensors]).norm()


@contextlib.contextmanager
def _set(attributes: Sequence[tuple[nn.Module, str, Tensor]]) -> Iterator[None]:
    """Let modules have these numbers inside."""
    before = [(module, name, getattr(module, name)) for module, name, _ in attributes]
    try:
        for module, name, number in attributes:
            setattr(module, name, number)
        yield
    finally:
        for module, name, number in before:
            setattr(module, name, number)


def _projected(weights: Tensors, rules: Sequence[Any], lr: Tensor) -> Tensors:
    for rule in rules:
        weights = {**weights, **rule(weights, lr)}
    return weights


def _leaves(state: Sequence[Any]) -> list[Tensor]:
    """Return all tensors of (weights, buffers, slots, averages), in one order."""
    weights, buffers, *lists = state
    nested = [each for named in lists for name in sorted(named) for each in named[name]]
    return [*(weights[n] for n in sorted(weights)), *(buffers[n] for n in sorted(buffers)), *nested]


def predicted(lanes: Lanes, rules_of: Callable[[Numbers], Rules], x: Tensor, y: Tensor) -> Outcome:
    """Return loss (R,), outputs (R, B, C) and targets (R, B) of rows that all lanes share.

    The caller switches the model's mode; averages of weights stand for them where there are some.
    """

    def one(numbers: Numbers, weights: Tensors, buffers: Tensors) -> tuple[Tensor, Tensor]:
        rules = rules_of(numbers)
        casting = torch.autocast(x.device.type, torch.bfloat16, enabled=rules.autocast)
        with _set(rules.attributes), casting:
            outputs = functional_call(lanes.model, {**weights, **buffers}, (x,))
            return rules.loss(wide(outputs), y).mean(), outputs

    loss, outputs = across_lanes(one)(lanes.numbers, *lanes.shown())
    return Outcome(loss, outputs, y.expand(lanes.count, *y.shape))
