"""The dry step: a shape mistake costs a second and names its layer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from runner.foundation import rng
from runner.foundation.errors import Misconfigured, out_of_memory
from runner.training.evaluation import evaluating


def dry_step(model: nn.Module, x: Tensor, y: Tensor, minimized: Callable[..., Tensor]) -> None:
    """Run forward, loss and backward once on real samples, on a copy of the model.

    `minimized(model, x, y)` is the training objective. A pass in evaluation mode comes first, in
    which layers see the shapes they will draw noise for. Raises `Misconfigured`.
    """
    with _naming_the_layer(model), evaluating(model):
        model(x)
    trial = copy.deepcopy(model).train()
    generator = rng.generator(0, "dry step", device=x.device)
    for module in trial.modules():
        if callable(draw := getattr(module, "draw", None)):
            draw(len(x), generator)
    with _naming_the_layer(trial):
        total = minimized(trial, x, y)
        torch.autograd.grad(total, list(trial.parameters()))


@contextmanager
def _naming_the_layer(model: nn.Module) -> Iterator[None]:
    entered: list[tuple[str, nn.Module, tuple[int, ...]]] = []

    def enter(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda module, given: entered.append((name, module, _shape(given)))

    def leave(module: nn.Module, given: Any, result: Any) -> None:
        entered.pop()

    handles = []
    for name, module in model.named_modules():
        handles += [
            module.register_forward_pre_hook(enter(name)),
            module.register_forward_hook(leave),
        ]
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        if short := out_of_memory(error, "architecture"):
            raise short from error
        reason = str(error).splitlines()[0]
        if not entered:
            raise Misconfigured(reason) from error
        name, module, shape = entered[-1]
        raise Misconfigured(
            f"architecture: layer '{name}' ({module}) cannot take input of shape {shape}: {reason}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()


def _shape(given: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the shape of a layer's input; the parts of a weight are given none."""
    return tuple(getattr(given[0], "shape", ())) if given else ()
