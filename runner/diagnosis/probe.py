"""Look into a network: what its layers give forward and what comes back, on a few rows.

A copy is looked at: as it trains, so that batch normalization goes by the rows given, but without
dropout. The run itself is not touched.

For each layer with weights, z its unit's pre-activations (B, ...), a the activations, L the mean
loss of the rows:

    mean, std    of a
    zero         share of a that is exactly 0
    flat         share of z where the slope is below 2 % of the activation's largest: a tanh beyond
                 +-0.99, a rectifier that is off
    dead         share of units that are flat on every row
    gradient     root mean square of B dL/dz, the gradient of a single row's loss
    weight       root mean square of the weights
    spread       the same of their differences from the mean unit: 0 where all units are alike
    weight_gradient  the same of dL/dw
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from runner.components.dropout import Dropout
from runner.diagnosis.layers import FLAT, Layer, layers, slopes, tails
from runner.training.step import wide

MOST = 2**19  # numbers of a layer's activations; of more, rows are taken evenly
Loss = Callable[[Tensor, Tensor], Tensor]
Numbers = dict[str, float]


class Seen(NamedTuple):
    """What passed a layer: pre-activations, activations, and the gradient of the mean loss."""

    z: Tensor
    a: Tensor
    gradient: Tensor | None


class Probe(NamedTuple):
    """What was found: of each layer by name, and of the network."""

    layers: dict[str, Numbers]
    network: Numbers
    seen: dict[str, Seen]


def trial(model: nn.Module) -> nn.Module:
    """Return a copy to look at: as in training, but without dropout."""
    copied = copy.deepcopy(model).train()
    for part in copied.modules():
        if isinstance(part, Dropout | nn.modules.dropout._DropoutNd):
            part.eval()
    return copied


def probe(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> Probe:
    """Run rows x (B, ...) with targets y forward and back through a copy."""
    copied = trial(model)
    watched = layers(copied)
    with torch.enable_grad(), _watching(watched) as passed:
        value = loss(wide(copied(x)), y).mean()
        weights = [each.weight for each in watched]
        wanted = [*(passed[each.name][0] for each in watched if each.name in passed), *weights]
        found = list(torch.autograd.grad(value, wanted, allow_unused=True))
    names = [each.name for each in watched if each.name in passed]
    backward = dict(zip(names, found, strict=False))
    of_weights = dict(zip([each.name for each in watched], found[len(names) :], strict=True))
    seen = {
        name: Seen(passed[name][0].detach(), passed[name][1].detach(), backward[name])
        for name in names
    }
    with torch.no_grad():
        rows = {
            each.name: _numbers(each, seen[each.name], of_weights[each.name])
            for each in watched
            if each.name in seen
        }
    present = [each for each in of_weights.values() if each is not None]
    length = torch.stack([each.norm() for each in present]).norm() if present else value * 0
    network = {"loss": float(value.detach()), "gradient": float(length.detach())}
    return Probe(_on_host(rows), network, seen)


@contextmanager
def _watching(watched: Sequence[Layer]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Note pre-activations and activations of each layer; of a layer used twice, the last."""
    passed: dict[str, tuple[Tensor, Tensor]] = {}

    def note(name: str, activated: bool) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
            passed[name] = (given[0] if activated else result, result)

        return hook

    handles = [
        (each.activation or each.layer).register_forward_hook(
            note(each.name, each.activation is not None)
        )
        for each in watched
    ]
    try:
        yield passed
    finally:
        for handle in handles:
            handle.remove()


def _numbers(each: Layer, seen: Seen, of_weights: Tensor | None) -> dict[str, Tensor]:
    apart = max(1, seen.z.numel() // MOST)
    z, a, gradient = seen.z[::apart], seen.a[::apart], seen.gradient
    weight = each.weight
    variance, mean = torch.var_mean(a, correction=0)
    numbers = {"mean": mean, "std": variance.sqrt(), "zero": (a == 0).sum() / a.numel()}
    if each.activation is not None and (slope := slopes(each.activation, z)) is not None:
        flat = slope.abs() < FLAT * tails(each.activation).slope
        of_units = flat.movedim(each.axis, 0).flatten(1).sum(1)  # (D,)
        count = flat.numel() // len(of_units)
        numbers |= {
            "flat": of_units.sum() / flat.numel(),
            "dead": (of_units == count).double().mean(),
        }
    if gradient is not None:
        numbers["gradient"] = len(gradient) * _rms(gradient)
    by_unit = weight.flatten(1)
    numbers |= {"weight": _rms(weight), "spread": _rms(by_unit - by_unit.mean(0))}
    if of_weights is not None:
        numbers["weight_gradient"] = _rms(of_weights)
    return numbers


def _rms(tensor: Tensor) -> Tensor:
    return tensor.norm() / tensor.numel() ** 0.5


def _on_host(rows: dict[str, dict[str, Tensor]]) -> dict[str, Numbers]:
    """Read all numbers in one transfer."""
    flat = [value.double() for numbers in rows.values() for value in numbers.values()]
    values = iter(torch.stack(flat).tolist() if flat else [])
    return {name: {key: next(values) for key in numbers} for name, numbers in rows.items()}
