"""Record a function of tensors as the kernels it runs, once, and replay them.

What is recorded stands below autograd: the kernels of the forward pass, those of the backward pass,
those of the update, in their order. The replay calls them without modules, without a graph of
gradients and without what is the same in every step, so that it is faster and its bits are the
same.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Interpreter, Node
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from runner.training.simplify import simplify, written_in_place

aten = torch.ops.aten
Function = Callable[..., Sequence[Tensor]]

RENAMED = {aten.detach.default, aten.alias.default, aten.lift_fresh.default}  # no kernel of theirs
FILLED_LIKE = {"ones_like", "zeros_like", "full_like", "new_ones", "new_zeros", "new_full"}
UNSET = {"empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided"}


class Untraceable(Exception):
    """A function cannot be recorded; the text says why."""


class Program:
    """A recorded function: its kernels as a graph, and the tensors it reached by itself.

    The graph's placeholders are the inputs, then the `fixed` tensors: parameters, buffers, slots.
    These are held by reference, so their storage must stay what it is.
    """

    def __init__(self, graph: Graph, fixed: list[Tensor]):
        self.graph, self.fixed = graph, fixed
        self._replay = _emitted(graph)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the kernels on inputs of the shapes that were recorded."""
        with torch.no_grad():
            return self._replay(*inputs, *self.fixed)

    def seconds(self, *inputs: Tensor) -> list[tuple[str, float]]:
        """Run the kernels and return the name of each with the time it took."""
        clock = _Clock(GraphModule({}, self.graph))
        with torch.no_grad():
            clock.run(*inputs, *self.fixed)
        return clock.taken


class _Clock(Interpreter):
    """Time each kernel."""

    def __init__(self, module: GraphModule):
        super().__init__(module)
        self.taken: list[tuple[str, float]] = []

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Run one kernel."""
        before = time.perf_counter()
        result = target(*args, **kwargs)
        self.taken.append((str(target), time.perf_counter() - before))
        return result


def trace(function: Function, inputs: Sequence[Tensor], hoist: bool = True) -> Program:
    """Run a function and return its record.

    It may read and write any tensor it can reach, and returns tensors. With `hoist`, views of
    tensors it was not given, such as a transposed weight, are taken once and for all. Raises
    `Untraceable` where the function looks at a number on its way, makes tensors of a size that
    depends on one, or draws.
    """
    recorder = _Recorder()
    with recorder:
        outputs = function(*inputs)
    return _Builder(recorder.calls, inputs, hoist).program(outputs)


class _Recorder(TorchDispatchMode):
    """Keep every kernel that runs, with what it was given and gave: all tensors stay alive."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Do without the compiler, which torch would import, for a second, to be told so."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.data_dependent_output in func.tags:
            raise Untraceable(f"it looks at a number on its way ({func})")
        if torch.Tag.dynamic_output_shape in func.tags and not _is_by_position(func, args):
            raise Untraceable(f"it makes tensors of a size that depends on numbers ({func})")
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise Untraceable(f"it draws random numbers of its own ({func})")
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result


class _Builder:
    """Turn calls into a graph; tensors, all alive, are told apart by their identity.

    A tensor has a node once it was given or made; all others are fixed. Leaving a call out makes
    its results fixed ones.
    """

    def __init__(self, calls: Sequence[tuple[Any, ...]], inputs: Sequence[Tensor], hoist: bool):
        self.calls, self.hoist = calls, hoist
        self.graph = Graph()
        self.nodes = {id(each): self.graph.placeholder(f"input{at}")
                      for at, each in enumerate(inputs)}  # fmt: skip
        self.first = self.graph.placeholder("inputs_end_here")
        self.fixed: dict[int, tuple[Node, Tensor]] = {}
        self.constant: set[int] = set()  # ids of fixed tensors whose numbers never change
        self.written = {_storage(each) for call in calls for each in _written(*call[:3])}

    def program(self, outputs: Sequence[Tensor]) -> Program:
        """Return the whole record."""
        for call in self.calls:
            self.add(*call)
        self.graph.output([self.node(each) for each in outputs])
        self.graph.erase_node(self.first)
        simplify(self.graph)
        if self.hoist:
            storages = {node: _storage(tensor) for node, tensor in self.fixed.values()}
            written_in_place(self.graph, storages)
        for key, (node, _) in list(self.fixed.items()):
            if not node.users:
                self.graph.erase_node(node)
                del self.fixed[key]
        return Program(self.graph, [tensor.detach() for _, tensor in self.fixed.values()])

    def add(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Append a call, unless its result is the same in every replay."""
        given, made = _tensors((args, kwargs)), _tensors(result)
        if self.is_constant(func, given, made):
            self.constant.update(map(id, made))
        elif self.hoist and self.is_lasting_view(func, given, made):
            return
        elif func in RENAMED:
            self.nodes[id(result)] = self.node(args[0])
        else:
            arguments = tree_map_only(Tensor, self.node, (args, kwargs))
            node = self.graph.call_function(func, *arguments)
            node.meta["shape"] = tuple(result.shape) if isinstance(result, Tensor) else None
            node.meta["layout"] = _layout(result)
            node.meta["lasting"] = self.is_lasting(given, made)
            self.name(node, result)

    def name(self, node: Node, result: Any) -> None:
        """Give what a call made its nodes; what it wrote into has one."""
        if isinstance(result, Tensor):
            if not self.is_known(result):
                self.nodes[id(result)] = node
        elif isinstance(result, list | tuple):
            for at, each in enumerate(result):
                if isinstance(each, Tensor) and not self.is_known(each):
                    self.nodes[id(each)] = self.graph.call_function(operator.getitem, (node, at))

    def node(self, tensor: Tensor) -> Node:
        """Return a tensor's node."""
        if id(tensor) in self.nodes:
            return self.nodes[id(tensor)]
        if id(tensor) not in self.fixed:
            with self.graph.inserting_before(self.first):
                node = self.graph.placeholder(f"fixed{len(self.fixed)}")
            node.meta["layout"] = _layout(tensor)
            self.fixed[id(tensor)] = node, tensor
        return self.fixed[id(tensor)][0]

    def is_lasting(self, given: Sequence[Tensor], made: Sequence[Tensor]) -> bool:
        """Tell whether neither what a call is given nor what it makes is written to."""
        return not any(_storage(each) in self.written for each in [*given, *made])

    def is_known(self, tensor: Tensor) -> bool:
        """Tell whether a tensor was seen before."""
        return id(tensor) in self.nodes or id(tensor) in self.fixed

    def is_constant(self, func: Any, given: Sequence[Tensor], made: Sequence[Tensor]) -> bool:
        """Tell whether results are filled with one number, or computed from such alone."""
        name = _name(func)
        if name in UNSET or not made or any(_storage(each) in self.written for each in made):
            return False
        return name in FILLED_LIKE or all(id(each) in self.constant for each in given)

    def is_lasting_view(self, func: Any, given: Sequence[Tensor], made: Sequence[Tensor]) -> bool:
        """Tell whether this is a view of a fixed tensor."""
        if func._schema.is_mutable or len(given) != 1 or id(given[0]) in self.nodes:
            return False
        return all(_storage(each) == _storage(given[0]) for each in made)


def _emitted(graph: Graph) -> Callable[..., tuple[Tensor, ...]]:
    """Write the graph as a Python function, one line a kernel; each result goes after its last use.

    Kernels are called as torch's own bindings are, without the wrapper that makes them printable.
    """
    known: dict[str, Any] = {}

    def text(value: Any) -> str:
        if isinstance(value, Node):
            return value.name
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(text, value))}]"
        if value is None or isinstance(value, bool | int):
            return repr(value)
        known[f"constant{len(known)}"] = value
        return f"constant{len(known) - 1}"

    last = {each: node for node in graph.nodes for each in node.all_input_nodes}
    names = ", ".join(node.name for node in graph.nodes if node.op == "placeholder")
    lines = [f"def replay({names}):"]
    for node in graph.nodes:
        if node.op == "output":
            lines.append(f"    return {text(node.args[0])}")
        elif node.target is operator.getitem:
            lines.append(f"    {node.name} = {text(node.args[0])}[{node.args[1]}]")
        elif node.op == "call_function":
            kernel = f"kernel{len(known)}"
            known[kernel] = node.target._op
            words = [f"{key}={text(value)}" for key, value in node.kwargs.items()]
            call = f"{kernel}({', '.join([*map(text, node.args), *words])})"
            lines.append(f"    {f'{node.name} = ' if node.users else ''}{call}")
        done = [each.name for each in node.all_input_nodes if last[each] is node]
        if done and node.op == "call_function":
            lines.append(f"    del {', '.join(done)}")
    exec("\n".join(lines), known)  # the text is made of names and numbers of this module alone
    return known["replay"]


def _tensors(content: Any) -> list[Tensor]:
    return [each for each in tree_leaves(content) if isinstance(each, Tensor)]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _layout(result: Any) -> Any:
    """Return how a tensor lies in memory, None for other results."""
    if not isinstance(result, Tensor):
        return None
    return tuple(result.shape), result.stride(), result.dtype


def _name(func: Any) -> str:
    return func._schema.name.rpartition("::")[2]


def _is_by_position(func: Any, args: Any) -> bool:
    """Tell whether this picks elements by their numbers: as many as there are numbers."""
    indices = _tensors(args[1:2]) if func is aten.index.Tensor else []
    return bool(indices) and all(each.dtype is torch.int64 for each in indices)


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    """Return the tensors that a call says it writes into."""
    said = [each for each in func._schema.arguments if each.alias_info and each.alias_info.is_write]
    given = dict(zip((each.name for each in func._schema.arguments), args, strict=False)) | kwargs
    return _tensors([given.get(each.name) for each in said])
