"""The graph of a model against `torch.fx`, which follows it symbolically."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from runner.recording.graph import MOST, traced


class Residual(nn.Module):
    """Two ways around each other, a function between, one layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.skip = nn.Identity()
        self.branch = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4))
        self.again = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, 3)."""
        x = self.skip(x) + self.branch(x)
        x = F.relu(self.again(self.again(x)))
        return x[:, :3] * 2


X = torch.zeros(2, 4)


def plain(name: str) -> str:
    """Return a node's name as fx has it: without classes."""
    return "/".join(part.split("_")[0] if part[0].isdigit() else part for part in name.split("/"))


def test_layers_functions_and_what_they_are_given() -> None:
    model = Residual()
    graph = traced(model, X)
    assert graph is not None
    symbolic = fx.symbolic_trace(model).graph
    assert len(graph.node) == len(symbolic.nodes)
    found = {node.name: list(node.input) for node in graph.node}
    partners = dict(zip(symbolic.nodes, graph.node, strict=True))
    for theirs, ours in partners.items():
        assert found[ours.name] == [partners[each].name for each in theirs.all_input_nodes]
        if theirs.op == "call_module":
            assert plain(ours.name).removesuffix("_2") == theirs.target.replace(".", "/")
            assert ours.op == type(model.get_submodule(theirs.target)).__name__
        elif theirs.op == "call_function":
            assert ours.op == theirs.target.__name__
    assert [node.name for node in graph.node if node.op == "Linear"] == [
        "branch/0_Linear", "again", "again_2"]  # fmt: skip


def test_shapes_and_settings_are_told() -> None:
    graph = traced(Residual(), X)
    assert graph is not None
    nodes = {node.name: node for node in graph.node}
    (shape,) = nodes["branch/0_Linear"].attr["_output_shapes"].list.shape
    assert [size.size for size in shape.dim] == [-1, 4], "the number of rows is not the model's"
    settings = nodes["branch/0_Linear"].attr["settings"].s.decode()
    assert settings == "in_features=4, out_features=4, bias=True; 20 parameters"


def test_the_model_is_as_it_was() -> None:
    model = Residual().train()
    before = copy.deepcopy(model.state_dict())
    expected = model.eval()(X)
    model.train()
    assert traced(model, X) is not None
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in model.modules())
    torch.testing.assert_close(model.eval()(X), expected)


def test_what_computes_a_weight_is_no_layer() -> None:
    model = nn.utils.parametrizations.weight_norm(nn.Linear(4, 2))
    graph = traced(nn.Sequential(model, nn.ReLU()), X)
    assert graph is not None
    assert [node.op for node in graph.node] == ["Placeholder", "Linear", "ReLU", "Output"]


def test_a_model_that_is_one_layer() -> None:
    graph = traced(nn.Linear(4, 2), X)
    assert graph is not None
    assert [(node.name, list(node.input)) for node in graph.node] == [
        ("input", []), ("Linear", ["input"]), ("output", ["Linear"])]  # fmt: skip


class Refuses(nn.Module):
    """Fail unless the input is a plain tensor of many rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Raise."""
        raise ValueError(f"{len(x)} rows")


class Long(nn.Module):
    """Do more than anybody could look at."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x, having added 1 very often."""
        for _ in range(MOST):
            x = x + 1
        return self.last(x)


@pytest.mark.parametrize("model", [Refuses(), Long()])
def test_what_cannot_be_shown_is_left_out(model: nn.Module) -> None:
    assert traced(nn.Sequential(model), X) is None
    assert not model._forward_hooks
