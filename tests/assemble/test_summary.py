"""The summary of a model: every parameter once, FLOPs by the formulas, nothing left behind."""

import copy
from math import prod

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from runner.assemble.summary import Row, summarize
from runner.assemble.unit import brick
from runner.config import build, check_node, maker
from runner.foundation import options

GROUPS = options.groups([options.own_folder()])
OPTIONS = sorted(GROUPS["architecture"])
LARGE = {"probe_6x4096"}  # as any mlp, and 80 million parameters


def rectified(layer, activation=None):
    return nn.Sequential(layer, nn.Identity() if activation == "identity" else nn.ReLU())


def model_of(option, inputs=(1, 32, 32), unit=rectified):
    node = check_node(options.node("architecture", option), "architecture", "architecture")
    return build(node, inputs, 10, unit)


def parameters(rows):
    return sum(row.parameters for row in rows)


def flops(rows):
    return sum(row.flops for row in rows)


def rows_by_name(rows):
    return {row.name: row for row in rows}


def test_a_perceptron_row_by_row():
    model = nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(6, 5), nn.ReLU()), nn.Linear(5, 4, bias=False)
    )
    assert summarize(model, torch.zeros(7, 2, 3)) == [
        Row("0", "Flatten", (6,), 0, 0),
        Row("1.0", "Linear", (5,), 35, 60),
        Row("1.1", "ReLU", (5,), 0, 0),
        Row("2", "Linear", (4,), 20, 40),
    ]


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.Conv2d(4, 6, (1, 3), groups=2),
     nn.Conv2d(4, 8, 3, dilation=2, bias=False)],
)  # fmt: skip
def test_a_convolution_is_a_product_at_each_place(layer):
    (row,) = summarize(layer, torch.zeros(3, 4, 9, 8))
    assert row.shape == tuple(layer(torch.zeros(1, 4, 9, 8)).shape[1:])
    assert row.flops == 2 * layer.weight.numel() * prod(row.shape[1:])
    assert row.parameters == sum(each.numel() for each in layer.parameters())


class Mixed(nn.Module):
    """Attention by the fused kernel, in a module with parameters and a layer of its own."""

    def __init__(self, heads, width):
        super().__init__()
        self.heads = heads
        self.scale = nn.Parameter(torch.ones(width))
        self.inner = nn.Linear(width, width)

    def forward(self, x):
        each = (x * self.scale).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(each, each, each)
        return self.inner(mixed.transpose(1, 2).flatten(2))


@pytest.mark.parametrize(("heads", "width", "tokens"), [(1, 4, 5), (4, 24, 10)])
def test_attention_counts_both_products_beside_the_layers_inside(heads, width, tokens):
    whole, inner = summarize(Mixed(heads, width), torch.zeros(2, tokens, width))
    assert whole == Row("", "Mixed", (tokens, width), width, 4 * tokens * tokens * width)
    products = 2 * tokens * width * width
    assert inner == Row("inner", "Linear", (tokens, width), width * (width + 1), products)


def test_the_vision_transformer_counts_its_attention():
    rows = rows_by_name(summarize(model_of("vit"), torch.zeros(1, 1, 32, 32)))
    tokens, width = 64, 64
    assert rows["2.branch.1"].flops == 4 * tokens * tokens * width
    assert rows["2.branch.1.projected"].flops == 2 * tokens * width * 3 * width
    assert rows["1"] == Row("1", "Tokens", (tokens, width), tokens * width, 0)


@pytest.mark.parametrize("option", [each for each in OPTIONS if each not in LARGE])
def test_every_parameter_of_every_architecture_is_counted_once(option):
    inputs = (1,) if option == "cubic" else (1, 8, 8) if option == "quadratic" else (1, 32, 32)
    model = model_of(option, inputs)
    rows = summarize(model, torch.zeros(2, *inputs))
    assert parameters(rows) == sum(each.numel() for each in model.parameters())
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.shape for row in rows)
    assert rows[-1].shape == (10,)
    assert flops(rows) >= 2 * rows[-1].parameters - 20  # of the last layer at least


@pytest.mark.parametrize("norm", sorted(GROUPS["normalization"]))
@pytest.mark.parametrize("activation", ["relu", "prelu", "maxout"])
def test_what_stands_in_the_units_counts_too(norm, activation):
    chosen = {"normalization": norm, "activation": activation, "dropout": "none"}
    nodes = {group: check_node(options.node(group, option), group, group)
             for group, option in chosen.items()}  # fmt: skip
    makers = {group: maker(node) for group, node in nodes.items()}
    unit = brick(makers["activation"], build(nodes["normalization"]), makers["dropout"], None)
    model = model_of("cnn", unit=unit)
    rows = summarize(model, torch.zeros(2, 1, 32, 32))
    assert parameters(rows) == sum(each.numel() for each in model.parameters())
    convolutions = [row for row in rows if row.kind == "Conv2d"]
    assert [row.shape[0] for row in convolutions] == [
        channels * (2 if activation == "maxout" else 1) for channels in (16, 32, 64)
    ]
    assert all(row.flops for row in convolutions)


def test_flops_are_of_one_sample():
    model = model_of("cnn")
    once, often = (summarize(model, torch.zeros(count, 1, 32, 32)) for count in (1, 5))
    assert once == often
    assert flops(once) > 0


def test_shared_parameters_count_where_they_come_first():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.ReLU())
    model[1].weight = model[0].weight
    rows = summarize(model, torch.zeros(1, 3))
    assert [row.parameters for row in rows] == [12, 3, 0]
    assert [row.flops for row in rows] == [18, 18, 0]


def test_a_layer_called_twice_has_one_row_and_the_flops_of_both():
    layer = nn.Linear(3, 3)
    (row,) = summarize(nn.Sequential(layer, layer), torch.zeros(1, 3))
    assert row == Row("0", "Linear", (3,), 12, 36)


@pytest.mark.parametrize("inside", [False, True])
def test_the_parametrization_of_a_weight_belongs_to_its_layer(inside):
    layer = parametrizations.weight_norm(nn.Linear(6, 5))  # g and v in place of W
    model = nn.Sequential(layer, nn.ReLU()) if inside else layer
    row = summarize(model, torch.zeros(2, 6))[0]
    assert row == Row("0" if inside else "", "Linear", (5,), 5 + 30 + 5, 60)


def test_a_layer_that_is_not_called_still_counts():
    model = nn.Linear(3, 2)
    model.unused = nn.Linear(4, 4)
    rows = summarize(model, torch.zeros(1, 3))
    assert rows == [Row("", "Linear", (2,), 8, 12), Row("unused", "Linear", None, 20, 0)]


class Restless(nn.Module):
    """What a summary could disturb: a counter, a running mean, a draw, the mode."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.norm = nn.BatchNorm1d(3)
        self.seen = 0

    def forward(self, x):
        self.calls += 1
        self.seen += 1
        return self.norm(x) + torch.rand_like(x)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_and_the_generators_are_left_as_they_were(training):
    model = Restless().train(training)
    model.norm.eval()
    before, mode = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    rows = summarize(model, torch.ones(4, 3))
    assert [row.kind for row in rows] == ["BatchNorm1d"]
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), mode)
    assert (model.training, model.norm.training, model.seen) == (training, False, 0)
    assert all(not each._forward_hooks for each in model.modules())
    assert all(each.grad is None for each in model.parameters())


def test_a_model_that_cannot_run_says_so_and_keeps_no_hooks():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        summarize(model, torch.zeros(1, 3))
    assert all(not each._forward_hooks for each in model.modules())
