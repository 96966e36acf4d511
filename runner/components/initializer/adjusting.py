"""Initializers that look at the whole model, some with a batch of training rows in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from math import sqrt
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.utils import parametrize

from runner.components.initializer.kind import Initializer, Trial
from runner.components.initializer.layers import Layer, fans, set_weight, weighted
from runner.components.initializer.structured import draw_orthogonal
from runner.foundation.ranges import Finite, KeepProbability, Natural


def lsuv(*, bias: Finite) -> Initializer:
    """Draw orthogonal weights; layer by layer, divide them until the output's variance is 1.

    The variance is over all features and samples of a batch of training rows, before activation
    (layer-sequential unit-variance, Mishkin and Matas 2015). What a layer gives is proportional
    to its weight, but for a bias that is the same everywhere, so that one division is enough.
    """

    def fill(weight: Tensor, activation_gain: float, generator: Generator) -> None:
        draw_orthogonal(weight, generator)

    def adjust(model: nn.Module, trial: Trial, generator: Generator) -> None:
        for layer, outputs in _outputs(model, trial.x):
            deviation = outputs.std(correction=0)
            _refuse_constant(layer, deviation)
            set_weight(layer, layer.weight / deviation)

    return Initializer(fill, bias, adjust)


def data_dependent(*, rounds: Natural, rate: KeepProbability) -> Initializer:
    """Give each feature mean 0 and variance 1 on training rows, then balance the layers' rates.

    First, layer by layer, w <- w / sigma and b <- -mu / sigma, with mean and standard deviation
    of each feature over a batch. Then, for `rounds` rounds, W_k <- r_k W_k with
    r_k = (C_k / C)^(rate / 2), where C_k is the length of the gradient over that of the weight,
    both as root mean squares, and C the geometric mean of all C_k. The r_k multiply to 1 and each
    bias takes up the factors so far, so that a plain network of ReLUs still gives the same, and
    rate 1 balances it at once (Krahenbuhl et al. 2016). The gradient is that of a random linear
    function of the outputs.
    """

    def fill(weight: Tensor, activation_gain: float, generator: Generator) -> None:
        weight.normal_(0, sqrt(1 / fans(weight)[0]), generator=generator)

    def adjust(model: nn.Module, trial: Trial, generator: Generator) -> None:
        layers = []
        for layer, outputs in _outputs(model, trial.x):
            _standardize(layer, outputs)
            layers.append(layer)
        for _ in range(rounds):
            _balance(model, layers, trial.x, generator, rate)

    return Initializer(fill, 0.0, adjust)


def fixup(*, bias: Finite) -> Initializer:
    """Draw as `kaiming_normal` does, then shrink residual branches: depth needs no normalization.

    In each of the L branches of m layers the last weight is 0 and the others are multiplied by
    L^(-1 / (2 m - 2)); the last layer of the model is 0 (Zhang et al. 2019). The paper's scalar
    biases and multipliers are parts of its architecture and not here.

    Raises `ValueError` for a model without residual branches.
    """

    def fill(weight: Tensor, activation_gain: float, generator: Generator) -> None:
        weight.normal_(0, activation_gain / sqrt(fans(weight)[0]), generator=generator)

    return Initializer(fill, bias, _shrink)


def _shrink(model: nn.Module, trial: Trial, generator: Generator) -> None:
    """Scale the layers of residual branches as `fixup` says."""
    modules = [getattr(module, "branch", None) for module in model.modules()]
    branches = [layers for each in modules if isinstance(each, nn.Module)
                if (layers := weighted(each))]  # fmt: skip
    if not branches:
        raise ValueError(
            "fixup is for residual networks, and this model has no residual branches; "
            "use architecture=resnet or another initializer, such as kaiming_normal"
        )
    for *first, last in branches:
        for layer in first:
            set_weight(layer, layer.weight * len(branches) ** (-1 / (2 * len(first))))
        set_weight(last, torch.zeros_like(last.weight))
    inside = {layer for layers in branches for layer in layers}
    outside = [layer for layer in weighted(model) if layer not in inside]
    for layer in outside[-1:]:
        set_weight(layer, torch.zeros_like(layer.weight))


def _outputs(model: nn.Module, x: Tensor) -> Iterator[tuple[Layer, Tensor]]:
    """Yield each layer with what it gives for a batch, in the order in which they run.

    The batch runs anew for each, so that changes to the layers before it are seen.
    """
    latest: dict[Layer, Tensor] = {}
    with ExitStack() as hooks:
        for layer in weighted(model):
            note = _noting(layer, latest)
            hooks.callback(layer.register_forward_hook(note).remove)
        _forward(model, x)
        for layer in list(latest):
            _forward(model, x)
            yield layer, latest[layer]


def _noting(layer: Layer, latest: dict[Layer, Tensor]) -> Callable[..., None]:
    def note(module: nn.Module, given: Any, outputs: Tensor) -> None:
        latest[layer] = outputs

    return note


@torch.no_grad()
def _forward(model: nn.Module, x: Tensor) -> None:
    model(x)


def _standardize(layer: Layer, outputs: Tensor) -> None:
    """Rescale and shift each feature of a layer to mean 0 and variance 1."""
    axis = -1 if isinstance(layer, nn.Linear) else 1
    features = outputs.movedim(axis, 0).flatten(1)  # (D, B ...)
    deviation, mean = torch.std_mean(features, 1, correction=0)
    _refuse_constant(layer, deviation)
    set_weight(layer, layer.weight / deviation.reshape(-1, *[1] * (layer.weight.dim() - 1)))
    if layer.bias is not None:
        with torch.no_grad():
            layer.bias.copy_((layer.bias - mean) / deviation)


def _balance(
    model: nn.Module, layers: list[Layer], x: Tensor, generator: Generator, rate: float
) -> None:
    """Bring the ratio of gradient to weight of each layer towards the geometric mean of all."""
    with torch.enable_grad(), parametrize.cached():  # a normed weight is one tensor throughout
        outputs = model(x)
        direction = torch.randn(outputs.shape, generator=generator, dtype=torch.float64)
        weights = [layer.weight for layer in layers]
        gradients = torch.autograd.grad((outputs * direction.to(outputs)).sum(), weights)
    ratios = [_length(g) / _length(w) for g, w in zip(gradients, weights, strict=True)]
    logs = torch.stack(ratios).log()
    if not logs.isfinite().all():
        at = int((~logs.isfinite()).nonzero()[0])
        raise ValueError(
            f"no gradient reaches {_named(layers[at])}, so that there is nothing to balance; "
            "use another activation, initializer.rounds=0 or another initializer"
        )
    factors = ((logs - logs.mean()) * rate / 2).exp()
    for layer, factor, so_far in zip(layers, factors, factors.cumprod(0), strict=True):
        set_weight(layer, layer.weight * factor)
        if layer.bias is not None:
            with torch.no_grad():
                layer.bias.mul_(so_far)


def _length(tensor: Tensor) -> Tensor:
    """Return the root mean square of the entries."""
    return tensor.detach().double().square().mean().sqrt()


def _refuse_constant(layer: Layer, deviation: Tensor) -> None:
    if not (deviation > 0).all() or not deviation.isfinite().all():
        raise ValueError(
            f"{_named(layer)} gives the same for every row of data, and cannot be scaled to "
            "variance 1; use another activation or another initializer"
        )


def _named(layer: Layer) -> str:
    sizes = " x ".join(map(str, layer.weight.shape))
    return f"the layer with a weight of {sizes}"
