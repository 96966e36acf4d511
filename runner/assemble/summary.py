"""A table of a model: its layers, the shapes they give, their parameters and FLOPs."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


class Row(NamedTuple):
    """A layer: dotted name, class, shape of its output for one sample, parameters, FLOPs.

    The shape is None where the layer was not called. FLOPs are those of one sample's forward
    pass in evaluation mode.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    parameters: int
    flops: int


def summarize(model: nn.Module, x: Tensor) -> list[Row]:
    """Return a row for each layer, in order; `x` is one sample or more, (B, *shape).

    Products of matrices, convolutions and attention are counted, a multiplication with its
    addition as 2 FLOPs; what goes element by element (activations, normalizations, biases) is
    not. A parameter that two layers share is counted where it comes first, so that the column
    adds up to the number of parameters. The model is left as it is: a copy runs.
    """
    trial = copy.deepcopy(model).eval()
    shapes: dict[str, tuple[int, ...]] = {}
    flops: dict[str, int] = defaultdict(int)
    counter = FlopCounterMode(display=False, custom_mapping=_FURTHER)
    watching = _watched(trial, counter, shapes, flops)
    with _without_drawing(x.device), torch.no_grad(), watching, counter:
        trial(x[:1])
    own = _own_parameters(trial)
    return [
        Row(name, _kind(module), shapes.get(name), own[name], flops[name])
        for name, module in _layers(trial)
        if own[name] or flops[name] or _is_leaf(module)
    ]


def _attention(
    query: Any, key: Any, value: Any, *further: Any, out_shape: Any = None, **settings: Any
) -> int:
    """Return the FLOPs of softmax(Q K') V from the shapes (B, heads, T, D) of its tensors."""
    *many, tokens, width = query
    count = torch.Size(many).numel() * tokens * key[-2]
    return 2 * count * (width + value[-1])


# The fused kernel of CPUs, which torch's own counter does not know.
_FURTHER = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}


@contextmanager
def _without_drawing(device: torch.device) -> Iterator[None]:
    """Leave the global generators as they were, whatever a module draws in a forward pass."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


@contextmanager
def _watched(
    model: nn.Module,
    counter: FlopCounterMode,
    shapes: dict[str, tuple[int, ...]],
    flops: dict[str, int],
) -> Iterator[None]:
    """Note what each layer gives, and its FLOPs without those of layers inside it."""
    inside = [0]  # FLOPs seen below each layer that is running now
    began: list[int] = []

    def enter(module: nn.Module, given: Any) -> None:
        began.append(counter.get_total_flops())
        inside.append(0)

    def leave(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(module: nn.Module, given: Any, result: Any) -> None:
            total = counter.get_total_flops() - began.pop()
            flops[name] += total - inside.pop()
            inside[-1] += total
            first = result[0] if isinstance(result, tuple) and result else result
            if isinstance(first, Tensor):
                shapes[name] = tuple(first.shape[1:])

        return note

    handles = []
    for name, module in model.named_modules():
        handles += [
            module.register_forward_pre_hook(enter),
            module.register_forward_hook(leave(_owner(name))),
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _layers(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield every module that is a layer or holds some; a parametrization belongs to its layer."""
    for name, module in model.named_modules():
        if name == _owner(name) and not isinstance(module, nn.Identity):
            yield name, module


def _own_parameters(model: nn.Module) -> dict[str, int]:
    """Return how many numbers each layer learns, without those of layers inside it."""
    own: dict[str, int] = defaultdict(int)
    for name, parameter in model.named_parameters():  # each tensor once
        own[_owner(name.rpartition(".")[0])] += parameter.numel()
    return own


def _owner(name: str) -> str:
    """Return the layer a module belongs to: the part of its name before `parametrizations`."""
    return f".{name}".partition(".parametrizations")[0].removeprefix(".")


def _is_leaf(module: nn.Module) -> bool:
    return all(name == "parametrizations" for name, _ in module.named_children())


def _kind(module: nn.Module) -> str:
    """Return the class of a layer, without the prefix that a parametrization gives it."""
    kind = type(module)
    parametrized = "parametrizations" in dict(module.named_children())
    return (kind.__mro__[1] if parametrized else kind).__name__
