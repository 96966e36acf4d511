"""A model as a graph for TensorBoard: a node for each layer and for what is done between layers.

One forward pass of a few samples is watched. A module without parts is one node, whatever it
computes; other modules are groups of those inside. Tensors are followed by their identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.versions_pb2 import VersionDef
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from runner.training.evaluation import evaluating

MOST = 2000  # nodes; with more nobody sees anything
PRODUCER = 22  # version of the format
WEIGHTS = "parametrizations"  # what computes a weight is no layer


def traced(model: nn.Module, x: Tensor) -> GraphDef | None:
    """Return the graph of a model given samples x (B, ...); None where it cannot be followed."""
    try:
        with evaluating(model), _Watch(model) as watch:
            watch.node("input", "Placeholder", (), x)
            watch.node("output", "Output", (model(x),), None)
    except Exception:  # whatever a model of the user's own does to be followed: no run fails of it
        return None
    if len(watch.nodes) > MOST:
        return None
    return GraphDef(node=watch.nodes, versions=VersionDef(producer=PRODUCER))


class _Watch(TorchFunctionMode):
    """Note which tensors each layer and each function is given, and which it gives."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.nodes: list[NodeDef] = []
        self._made: dict[int, str] = {}  # by a tensor's identity, what gave it
        self._kept: list[Tensor] = []  # so that no other gets it
        self._scopes: list[str] = []  # of the modules that are at work
        self._inside = 0  # layers, whose own functions are not shown
        self._used = {name for name, _ in _parts(model)}  # names of modules, and of nodes
        self._handles: list[Any] = []

    def __enter__(self) -> _Watch:
        """Begin to watch."""
        for name, module in _parts(self.model):
            enter, leave = self._hooks(name, module)
            self._handles += [
                module.register_forward_pre_hook(enter),
                module.register_forward_hook(leave, with_kwargs=True),
            ]
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Take all hooks away."""
        super().__exit__(*error)
        for handle in self._handles:
            handle.remove()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Note a function that is called between layers."""
        result = func(*args, **(kwargs or {}))
        given = (args, kwargs)
        follows = any(id(each) in self._made for each in _tensors(given))
        if follows and not self._inside and next(_tensors(result), None) is not None:
            scope = self._scopes[-1] if self._scopes else ""
            name = self._free(f"{scope}/{_called(func)}".lstrip("/"))
            self.node(name, _called(func), given, result)
        return result

    def node(self, name: str, kind: str, given: Any, result: Any, note: str = "") -> None:
        """Add a node, and note what it gives."""
        found = list(_tensors(result))
        inputs = dict.fromkeys(self._made[id(each)] for each in _tensors(given)
                               if id(each) in self._made)  # fmt: skip
        shapes = AttrValue.ListValue(shape=[_shape(each) for each in found])
        attributes = {"_output_shapes": AttrValue(list=shapes)}
        if note:
            attributes["settings"] = AttrValue(s=note.encode())
        self.nodes.append(NodeDef(name=name, op=kind, input=list(inputs), attr=attributes))
        self._kept += found
        self._made |= {id(each): name for each in found}

    def _hooks(
        self, scope: str, module: nn.Module
    ) -> tuple[Callable[..., None], Callable[..., Any]]:
        layer = next(_inner(module), None) is None
        kind = _kind(module)
        seen = count()

        def enter(module: nn.Module, given: Any) -> None:
            self._scopes.append(scope)
            self._inside += layer

        def leave(module: nn.Module, given: Any, words: Any, result: Any) -> Any:
            if layer and isinstance(result, Tensor) and id(result) in self._made:
                result = result.view_as(result)  # what a layer gives on as it is, by another name
            self._scopes.pop()
            self._inside -= layer
            if layer and not self._inside:
                name = self._free(scope) if next(seen) else scope or self._free(kind)
                size = sum(each.numel() for each in module.parameters())
                note = f"{module.extra_repr()}; {size:,} parameters" if size else ""
                self.node(name, kind, (given, words), result, note)
            return result

        return enter, leave

    def _free(self, name: str) -> str:
        """Return a name that nothing has yet, and take it."""
        further = (f"{name}_{at}" for at in count(2))
        free = name if name not in self._used else next(o for o in further if o not in self._used)
        self._used.add(free)
        return free


def _parts(model: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield a model and all modules in it, but for those that compute weights.

    What has but a number has its class beside it.
    """
    yield name, model
    for child, module in _inner(model):
        own = f"{child}_{_kind(module)}" if child.isdigit() else child
        yield from _parts(module, f"{name}/{own}".lstrip("/"))


def _kind(module: nn.Module) -> str:
    return type(module).__name__.removeprefix("Parametrized")


def _inner(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    return ((name, each) for name, each in module.named_children() if name != WEIGHTS)


def _tensors(content: Any) -> Iterator[Tensor]:
    """Yield the tensors in what a function is given or gives."""
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, list | tuple | dict):
        for each in content.values() if isinstance(content, dict) else content:
            yield from _tensors(each)


def _called(func: Callable[..., Any]) -> str:
    """Return a function's name: `add` for `__add__` and `add_`, `mT` for its getter."""
    name = str(getattr(func, "__name__", "function"))
    owner = getattr(func, "__self__", None) if name == "__get__" else None
    return str(getattr(owner, "__name__", name)).strip("_")


def _shape(tensor: Tensor) -> TensorShapeProto:
    """Return a tensor's shape, its first size, the number of samples, unknown."""
    sizes = [-1, *tensor.shape[1:]] if tensor.dim() else []
    return TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])
