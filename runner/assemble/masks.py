"""Averages over dropout masks at test: the network as the ensemble of its sub-networks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from runner.foundation import rng
from runner.foundation.errors import Misconfigured

MOST_UNITS = 14  # 2^14 masks: what an exhaustive average may cost
Forward = Callable[[Tensor], Tensor]


def averaged_over_masks(model: nn.Module, seed: int, blend: Callable[..., Tensor]) -> Forward:
    """Return what predicts for the model: itself, or the average of its sub-networks.

    `blend(outputs, weights)` turns outputs (K, B, C) and weights (K,) that add up to 1 into
    (B, C): means of probabilities for classes, of numbers for a regression.
    """
    layers: list[Any] = [each for each in model.modules() if hasattr(each, "average")]
    kinds = {each.average for each in layers} - {"none"}
    if not kinds:
        return model
    (kind,) = kinds
    if kind == "exhaustive":
        return lambda x: blend(*_every_mask(model, layers, x))
    return lambda x: blend(*_random_masks(model, layers, x, seed, kind))


def _random_masks(
    model: nn.Module, layers: list[Any], x: Tensor, seed: int, count: int
) -> tuple[Tensor, Tensor]:
    generator = rng.generator(seed, "masks", device=x.device)
    model(x)  # shows each layer the shape of its mask
    outputs = []
    with _sampling(layers):
        for _ in range(count):
            for layer in layers:
                layer.draw(len(x), generator)
            outputs.append(model(x))
    return torch.stack(outputs), outputs[0].new_full((count,), 1 / count)


def _every_mask(model: nn.Module, layers: list[Any], x: Tensor) -> tuple[Tensor, Tensor]:
    model(x)
    sizes = [prod(layer.shape) for layer in layers]
    if sum(sizes) > MOST_UNITS:
        raise Misconfigured(
            f"dropout.average: exhaustive means 2^{sum(sizes)} masks; {MOST_UNITS} units are the "
            "most, use a number of masks"
        )
    keeps = [layer.keep for layer, size in zip(layers, sizes, strict=True) for _ in range(size)]
    outputs, weights = [], []
    with _sampling(layers):
        for dropped in product((0.0, 1.0), repeat=sum(sizes)):
            parts = torch.tensor(dropped, device=x.device).split(sizes)
            for layer, part in zip(layers, parts, strict=True):
                layer.noise = part.reshape(1, *layer.shape).expand(len(x), *layer.shape)
            outputs.append(model(x))
            odds = zip(dropped, keeps, strict=True)
            weights.append(prod(1 - keep if gone else keep for gone, keep in odds))
    return torch.stack(outputs), outputs[0].new_tensor(weights)


@contextlib.contextmanager
def _sampling(layers: list[Any]) -> Iterator[None]:
    for layer in layers:
        layer.sampling = True
    try:
        yield
    finally:
        for layer in layers:
            layer.sampling, layer.noise = False, None
