"""Simplify a recorded step without changing a bit of what it computes."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch.fx import Graph, Node

aten = torch.ops.aten

INTO: dict[Any, Any] = {  # kernels that can write their result where it belongs, entry by entry
    aten.add.Tensor: aten.add.out,
    aten.sub.Tensor: aten.sub.out,
    aten.mul.Tensor: aten.mul.out,
    aten.div.Tensor: aten.div.out,
    aten.addcmul.default: aten.addcmul.out,
    aten.addcdiv.default: aten.addcdiv.out,
    aten.maximum.default: aten.maximum.out,
}


def simplify(graph: Graph) -> None:
    """Take out views that undo each other, factors of 1, what is computed twice, what nobody uses.

    A node's meta holds the `shape` of its result and whether that is `lasting`: what it is computed
    from is not written to in the step, nor is it.
    """
    for node in list(graph.nodes):
        if node.target is aten.t.default and node.args[0].target is aten.t.default:
            node.replace_all_uses_with(node.args[0].args[0])
        elif node.target is aten.view.default and _is_squeezed_sum(node):
            total = node.args[0]
            total.args = total.args[:2]
            node.replace_all_uses_with(total)
        elif node.target is aten.mul.Scalar and node.args[1] == 1 and _is_same(node):
            node.replace_all_uses_with(node.args[0])
    _computed_once(graph)
    for node in reversed(list(graph.nodes)):
        if node.op == "call_function" and not node.users and not has_effects(node.target):
            graph.erase_node(node)


def written_in_place(graph: Graph, storages: Mapping[Node, int]) -> None:
    """Let kernels write into the fixed tensor that their result is copied to, where nobody minds.

    `storages` tells the memory of every placeholder. Nobody minds if, from the kernel on to the
    copy, nothing else reads that memory, the kernel itself reads it entry by entry, and nobody uses
    the result after the copy, when it may have been written to again.
    """
    order = {node: at for at, node in enumerate(graph.nodes)}
    readers: dict[int, list[Node]] = {}
    for node, storage in storages.items():
        readers.setdefault(storage, []).extend(node.users)
    for copy in [each for each in graph.nodes if each.target is aten.copy_.default]:
        own: Any
        value: Any
        own, value = copy.args[:2]
        if copy.users or own not in storages or not isinstance(value, Node):
            continue
        kernel = INTO.get(value.target)
        alike = value.meta.get("layout") == own.meta.get("layout") is not None
        between = any(order[value] < order[each] < order[copy] for each in readers[storages[own]])
        late = any(order[each] > order[copy] for each in value.users)
        aliases = any(each is not own and storages.get(each) == storages[own]
                      for each in value.all_input_nodes)  # fmt: skip
        if (
            kernel is None
            or not alike
            or between
            or late
            or aliases
            or value.kwargs.keys() - {"alpha"}
        ):
            continue
        with graph.inserting_before(value):
            made = graph.call_function(kernel, value.args, {**value.kwargs, "out": own})
        order[made] = order[value]
        graph.erase_node(copy)
        value.replace_all_uses_with(made)
        graph.erase_node(value)


def _is_same(node: Node) -> bool:
    """Tell whether a result of the same numbers also lies in memory as what it is made of."""
    source: Any
    source, layout = node.args[0], node.meta.get("layout")
    return bool(node.meta.get("lasting")) and layout == source.meta.get("layout") is not None


def has_effects(kernel: Any) -> bool:
    """Tell whether a kernel does more than return tensors; batch norm's does so unsaid."""
    if kernel is operator.getitem:
        return False
    return kernel._schema.is_mutable or "batch_norm" in kernel._schema.name


def _computed_once(graph: Graph) -> None:
    """Let equal calls of lasting tensors be one."""
    known: dict[Any, Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function" or not node.meta.get("lasting") or has_effects(node.target):
            continue
        key = node.target, repr(node.args), repr(sorted(node.kwargs.items()))
        if (first := known.setdefault(key, node)) is not node:
            node.replace_all_uses_with(first)


def _is_squeezed_sum(view: Node) -> bool:
    """Tell whether this view drops just the axes of length 1 that a sum has kept."""
    total: Any
    total, shape = view.args[:2]
    if total.target is not aten.sum.dim_IntList or len(total.args) != 3 or len(total.users) > 1:
        return False
    axes = {axis % len(total.meta["shape"]) for axis in total.args[1]}
    left = [size for axis, size in enumerate(total.meta["shape"]) if axis not in axes]
    return total.args[2] is True and left == shape
