"""Make a step ready: traced, or compiled, and held to what the plain step does.

On CUDA the kernels of a step, whoever wrote them, are launched together, as a CUDA graph.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from runner.training.tracing import Function, Program, Untraceable, trace

WARM_UP = 3  # launches before a capture, in which libraries take the memory they work in


class Changing(Protocol):
    """What a step changes: the state of one model, or of many."""

    model: nn.Module

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that a step changes in place, by name."""
        ...


class Traced:
    """Replace functions that change a state's tensors by their records.

    What cannot be recorded stays as it is, and `refusal` says why: what a step computes does not
    depend on it.
    """

    def __init__(self, state: Changing):
        self.state = state
        self.refusal = ""
        self.newest: tuple[Program, Sequence[Tensor]] | None = None  # with inputs of its shapes

    def __call__(self, function: Function, inputs: Sequence[Tensor]) -> Function:
        """Return the record of a function, or the function."""
        if self.refusal:
            return function
        try:
            with preserved(self.state):
                program = trace(function, inputs)
            self._compare(function, program, inputs)
            ready = launched_at_once(program, inputs, self.state)
        except Exception as error:  # a fault of the function itself shows when it runs plainly
            self.refusal = _first_line(error)
            return function
        self.newest = program, inputs
        return ready

    def _compare(self, function: Function, program: Program, inputs: Sequence[Tensor]) -> None:
        """Raise `Untraceable` unless both do the same, bit by bit, with other inputs.

        What the function took from elsewhere, or from these inputs by other ways than torch's,
        shows here.
        """
        others = [_another(each) for each in inputs]
        left = [_left_by(run, others, self.state) for run in (function, program)]
        for one, other in zip(*left, strict=True):
            if not torch.allclose(one, other, rtol=0, atol=0, equal_nan=True):
                raise Untraceable("it does not go by its inputs alone")


def _another(tensor: Tensor) -> Tensor:
    """Return other numbers that are as valid: another scalar, or some of the rows twice."""
    if not tensor.dim():
        return 2 * tensor + 1e-3
    return tensor[torch.arange(len(tensor), device=tensor.device) // 2]


def _left_by(run: Function, inputs: Sequence[Tensor], state: Changing) -> list[Tensor]:
    """Return what a function gives and what it makes of the state, which stays as it was."""
    with preserved(state):
        results = [*run(*inputs), *state.tensors().values()]
        return [each.detach().clone() for each in results]


@contextlib.contextmanager
def preserved(state: Changing) -> Iterator[None]:
    """Give the state's tensors their numbers back at the end, and the model its tensors."""
    tensors = state.tensors()
    kept = [each.detach().clone() for each in tensors.values()]
    buffers = dict(state.model.named_buffers())
    try:
        yield
    finally:
        for name, buffer in buffers.items():
            owner, _, last = name.rpartition(".")
            setattr(state.model.get_submodule(owner), last, buffer)
        with torch.no_grad():
            for tensor, numbers in zip(tensors.values(), kept, strict=True):
                tensor.copy_(numbers)


class Compiled(Traced):
    """Compile the first function, that of the ordinary step, and trace the others.

    Compiled kernels round differently from torch's own, so which functions are compiled must not
    depend on chance: the first one, whatever it costs. One that cannot be compiled is traced, and
    `failure` says why.
    """

    def __init__(self, state: Changing, cache: Path):
        super().__init__(state)
        self.cache, self.failure, self.first = cache, "", True

    def __call__(self, function: Function, inputs: Sequence[Tensor]) -> Function:
        """Return the compiled function the first time, then records."""
        traced = super().__call__(function, inputs)
        if self.refusal or not self.first:
            return traced
        self.first = False
        try:
            with preserved(self.state):
                program = trace(function, inputs, hoist=False)
            with preserved(self.state):
                run = compiled(program, inputs, self.cache)
                run(*inputs)
            return launched_at_once(run, inputs, self.state)
        except Exception as error:  # a compiler fails in ways of its own
            self.failure = f"it cannot be compiled: {_first_line(error)}"
            return traced


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def compiled(program: Program, inputs: Sequence[Tensor], cache: Path) -> Function:
    """Return the same by kernels that inductor writes, kept in the folder `cache`.

    The record goes to inductor as it is: `torch.compile` would read it anew, and look at every
    tensor before every step for what cannot change here.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache))
    from torch import _guards, _inductor
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    fixed = program.fixed
    # Without an environment of shapes, which stand fixed here, inductor keeps no graph on disk.
    mode = FakeTensorMode(shape_env=ShapeEnv(assume_static_by_default=True))
    shapes: list[Any] = [mode.from_tensor(each, static_shapes=True) for each in [*inputs, *fixed]]
    with torch.no_grad(), _guards.tracing(_guards.TracingContext(mode)):
        kernels = _inductor.compile(GraphModule({}, program.graph), shapes)

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        with torch.no_grad():
            return kernels(*inputs, *fixed)

    return run


def launched_at_once(function: Function, inputs: Sequence[Tensor], state: Changing) -> Function:
    """Return a function of CUDA tensors as one launch; of others, the function.

    The graph reads and writes tensors of its own, so inputs are copied in and results out.
    """
    if inputs[0].device.type != "cuda":
        return function
    held = [each.clone() for each in inputs]
    aside, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    with preserved(state):
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                function(*held)
        torch.cuda.current_stream().wait_stream(aside)
        with torch.cuda.graph(graph):
            results = function(*held)

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        torch._foreach_copy_(held, inputs, non_blocking=True)
        graph.replay()
        return [each.clone() for each in results]

    return run
