"""Make a step ready: traced, or compiled, and held to what the plain step does.

On CUDA the kernels of a step, whoever wrote them, are launched together, as a CUDA graph.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from runner.training.state import State
from runner.training.tracing import Function, Program, Untraceable, trace

WARM_UP = 3  # launches before a capture, in which libraries take the memory they work in


class Traced:
    """Replace functions that change a state's tensors by their records.

    What cannot be recorded stays as it is, and `refusal` says why: what a step computes does not
    depend on it.
    """

    def __init__(self, state: State):
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
        except Exception as error:  # a fault of the function itself shows when it runs plainly
            self.refusal = str(error).partition("\n")[0]
            return function
        self.newest = program, inputs
        return launched_at_once(program, inputs, self.state)

    def _compare(self, function: Function, program: Program, inputs: Sequence[Tensor]) -> None:
        """Raise `Untraceable` unless both do the same, bit by bit, with other numbers.

        A number that the function took from elsewhere than its inputs shows here.
        """
        others = [each if each.dim() else 2 * each for each in inputs]
        left = [_left_by(run, others, self.state) for run in (function, program)]
        for one, other in zip(*left, strict=True):
            if not torch.allclose(one, other, rtol=0, atol=0, equal_nan=True):
                raise Untraceable("it does not go by its inputs alone")


def _left_by(run: Function, inputs: Sequence[Tensor], state: State) -> list[Tensor]:
    """Return what a function gives and what it makes of the state, which stays as it was."""
    with preserved(state):
        results = [*run(*inputs), *state.tensors().values()]
        return [each.detach().clone() for each in results]


@contextlib.contextmanager
def preserved(state: State) -> Iterator[None]:
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
    depend on chance: the first one, whatever it costs. `seconds` says what it cost.
    """

    def __init__(self, state: State, cache: Path):
        super().__init__(state)
        self.cache, self.seconds = cache, 0.0

    def __call__(self, function: Function, inputs: Sequence[Tensor]) -> Function:
        """Return the compiled function the first time, then records."""
        if self.seconds:
            return super().__call__(function, inputs)
        before = time.perf_counter()
        with preserved(self.state):
            program = trace(function, inputs, hoist=False)
        with preserved(self.state):
            run = compiled(program, self.cache)
            run(*inputs)
        self.seconds = time.perf_counter() - before
        return launched_at_once(run, inputs, self.state)


def compiled(program: Program, cache: Path) -> Function:
    """Return the same by kernels that the compiler writes, kept in the folder `cache`."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache)
    # shapes are fixed and tensors stay: there is nothing to guard against
    options: dict[str, Any] = {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
    module = GraphModule({}, program.graph)
    kernels = torch.compile(module, fullgraph=True, dynamic=False, options=options)
    fixed = program.fixed

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        with torch.no_grad():
            return kernels(*inputs, *fixed)

    return run


def launched_at_once(function: Function, inputs: Sequence[Tensor], state: State) -> Function:
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
