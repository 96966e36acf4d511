"""The unit: its parts in order, wider layers for maxout, and the gain of every activation."""

import math
from dataclasses import make_dataclass
from functools import partial

import pytest
import torch
from omegaconf import OmegaConf
from scipy import integrate, special, stats
from torch import nn

from runner.assemble.unit import Brick, activation_gain, brick, widened
from runner.components.normalization import Normalization
from runner.components.normalization.absent import weight
from runner.config import Node, build, check
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "activation"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("activation", Node)], kw_only=True)

SELU = 1.6732632423543772, 1.0507009873554805
FORMULAS = {
    "identity": lambda z: z,
    "sign": lambda z: math.copysign(1, z),
    "relu": lambda z: max(z, 0),
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "prelu": lambda z: z if z > 0 else 0.25 * z,
    "elu": lambda z: z if z > 0 else math.expm1(z),
    "selu": lambda z: SELU[1] * (z if z > 0 else SELU[0] * math.expm1(z)),
    "tanh": math.tanh,
    "sigmoid": special.expit,
    "gelu": lambda z: z * stats.norm.cdf(z),
    "silu": lambda z: z * special.expit(z),
    "softplus": lambda z: math.log1p(math.exp(z)),
    "softsign": lambda z: z / (1 + abs(z)),
    "sine": math.sin,
}
ROUNDED = {"relu": 1.4142, "tanh": 1.5925, "gelu": 1.5335}  # as the lectures' tables have them


def activation(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return build(check({"activation": content | changes}, SCHEMA).activation)


def expectation(integrand):
    def weighted(z):
        return integrand(z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    ends = [(-12, 0), (0, 12)]
    return sum(integrate.quad(weighted, *each, epsabs=1e-12)[0] for each in ends)


def gain_by_quadrature(formula):
    return 1 / math.sqrt(expectation(lambda z: formula(z) ** 2))


def test_every_activation_has_a_formula():
    assert OPTIONS
    assert set(OPTIONS) <= {*FORMULAS, "maxout"}


@pytest.mark.parametrize("option", [each for each in OPTIONS if each != "maxout"])
def test_gain_is_that_of_adaptive_quadrature(option):
    gain = activation_gain(activation(option))
    assert gain == pytest.approx(gain_by_quadrature(FORMULAS[option]), rel=1e-5)
    assert gain == pytest.approx(ROUNDED.get(option, gain), abs=5e-5)


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_gain_of_rectifiers_is_the_closed_form(slope):
    for rectifier in (activation("leaky_relu", slope=slope), nn.PReLU(init=slope)):
        gain = activation_gain(rectifier)
        assert gain == pytest.approx(math.sqrt(2 / (1 + slope**2)), rel=1e-6)  # He et al. 2015


def test_gain_of_what_gives_0_everywhere_is_1():
    assert activation_gain(nn.Threshold(100.0, 0.0)) == 1.0


class Largest(nn.Module):
    """Maxout, as far as a unit can tell."""

    def __init__(self, pieces):
        super().__init__()
        self.pieces = pieces

    def forward(self, x):
        return x.unflatten(1, (-1, self.pieces)).amax(2)


@pytest.mark.parametrize("pieces", [1, 2, 3, 5])
def test_gain_of_the_largest_of_several_is_that_of_their_order_statistic(pieces):
    def integrand(z):
        return z * z * pieces * stats.norm.cdf(z) ** (pieces - 1)

    gain = activation_gain(Largest(pieces))
    assert gain == pytest.approx(1 / math.sqrt(expectation(integrand)), rel=1e-6)
    z = torch.randn(100_000, pieces, generator=torch.Generator().manual_seed(0))
    assert gain == pytest.approx(float(z.amax(1).square().mean()) ** -0.5, rel=0.02)


# The parts


def unknown(option):
    raise AssertionError(f"no layer names an activation, and here is {option}")


def nothing(layer):
    return nn.Identity()


def unit_of(activation, make=nothing, dropout=nn.Identity, named=unknown, **place):
    return brick(activation, Normalization(make, **place), dropout, named)


@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize(
    ("make", "dropout", "absent"),
    [
        (nothing, nn.Identity, {"normalization", "dropout"}),
        (lambda layer: nn.BatchNorm1d(4), nn.Identity, {"dropout"}),
        (nothing, nn.Dropout, {"normalization"}),
        (lambda layer: nn.LayerNorm(4), nn.Dropout, set()),
    ],
)
def test_parts_stand_in_order_and_absent_ones_are_left_out(make, dropout, absent, position):
    order = ["layer", "normalization", "activation", "dropout"]
    if position == "after":
        order[1:3] = ["activation", "normalization"]
    names, layer = [name for name in order if name not in absent], nn.Linear(3, 4)
    made = unit_of(nn.Tanh, make, dropout, position=position)(layer)
    assert [name for name, _ in made.named_children()] == names
    assert made.layer is layer
    assert isinstance(made, Brick)
    assert made.gain == activation_gain(nn.Tanh())
    expected = layer(torch.ones(2, 3))
    for name in names[1:]:
        expected = getattr(made.eval(), name)(expected)
    assert torch.equal(made(torch.ones(2, 3)), expected)


def test_each_unit_has_parts_of_its_own_and_normalizations_see_their_layer():
    seen = []

    def make(layer):
        seen.append(layer)
        return nn.LayerNorm(layer.out_features)

    unit = unit_of(nn.PReLU, make)
    layers = [nn.Linear(2, 3), nn.Linear(3, 5)]
    first, second = (unit(layer) for layer in layers)
    assert [id(each) for each in seen] == [id(each) for each in layers]
    shared = {id(each) for each in first.parameters()} & {id(each) for each in second.parameters()}
    assert not shared
    assert all(each.dtype is torch.float32 for each in first.parameters())
    assert first.normalization.normalized_shape == (3,)
    assert second.normalization.normalized_shape == (5,)


def test_a_layer_may_name_its_activation():
    names = {"sigmoid": nn.Sigmoid, "identity": nn.Identity}
    unit = unit_of(nn.Tanh, named=names.__getitem__)
    made = [unit(nn.Linear(2, 2), name) for name in (None, "sigmoid", "identity", None)]
    kinds = [type(getattr(each, "activation", None)) for each in made]
    assert kinds == [nn.Tanh, nn.Sigmoid, type(None), nn.Tanh]
    gains = [activation_gain(make()) for make in (nn.Tanh, nn.Sigmoid, nn.Identity, nn.Tanh)]
    assert [each.gain for each in made] == gains
    assert gains[2] == pytest.approx(1)


# The units that are normalized


@pytest.mark.parametrize(
    ("layers", "normed"), [("all", {0, 1, 2}), ([], set()), ([0], {0}), ([2, 1], {1, 2})]
)
def test_units_are_counted_from_0_in_order_of_construction(layers, normed):
    unit = unit_of(nn.ReLU, lambda layer: nn.LayerNorm(2), layers=layers)
    made = [unit(nn.Linear(2, 2)) for _ in range(3)]
    assert {at for at, each in enumerate(made) if hasattr(each, "normalization")} == normed
    unit.refuse_missing()


def test_a_unit_that_is_not_there_is_refused():
    unit = unit_of(nn.ReLU, layers=[0, 3])
    with pytest.raises(Misconfigured, match=r"no unit 0; the model has no units"):
        unit.refuse_missing()
    for _ in range(3):
        unit(nn.Linear(2, 2))
    with pytest.raises(Misconfigured, match=r"^normalization.layers: no unit 3; .* units 0 to 2"):
        unit.refuse_missing()


def test_a_normalization_that_does_not_fit_is_named_with_its_unit():
    def make(layer):
        if layer.out_features == 7:
            raise ValueError("7 is odd")
        return nn.Identity()

    unit = unit_of(nn.ReLU, make)
    unit(nn.Linear(2, 4))
    message = r"normalization: unit 1, Linear\(in_features=4, out_features=7, bias=True\): 7 is odd"
    with pytest.raises(Misconfigured, match=message):
        unit(nn.Linear(4, 7))


# Maxout


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(3, 4),
        nn.Linear(3, 4, bias=False),
        nn.Conv1d(3, 4, 5, stride=2, padding=1, dilation=2),
        nn.Conv2d(4, 6, (3, 2), padding="same", groups=2, bias=False, padding_mode="circular"),
    ],
)
def test_layers_are_widened_with_all_their_settings(layer):
    wide = widened(layer, 3)
    assert widened(layer, 1) is layer
    assert type(wide) is type(layer)
    assert wide.weight.shape == (3 * layer.weight.shape[0], *layer.weight.shape[1:])
    assert (wide.bias is None) == (layer.bias is None)
    settings = {"in_features", "in_channels", "kernel_size", "stride", "padding", "dilation",
                "groups", "padding_mode"}  # fmt: skip
    for name in settings & vars(layer).keys():
        assert getattr(wide, name) == getattr(layer, name)


def test_what_cannot_be_widened_is_refused():
    with pytest.raises(ValueError, match="several pieces can stand behind a Flatten"):
        widened(nn.Flatten(), 2)


@pytest.mark.parametrize(("position", "width"), [("before", 12), ("after", 4)])
@pytest.mark.parametrize("layer", [nn.Linear(3, 4), nn.Conv2d(3, 4, 1)])
def test_maxout_gives_the_width_asked_for(position, width, layer):
    def make(layer):
        return nn.GroupNorm(1, layer.weight.shape[0])

    made = unit_of(partial(Largest, 3), make, position=position)(layer)
    x = torch.ones(2, 3) if isinstance(layer, nn.Linear) else torch.ones(2, 3, 5, 5)
    assert made(x).shape == layer(x).shape
    assert made.normalization.num_channels == width
    assert made.gain == activation_gain(Largest(3))


def test_weight_normalization_reaches_the_wider_layer():
    unit = brick(partial(Largest, 2), weight(position="before", layers="all"), nn.Identity, unknown)
    made = unit(nn.Linear(3, 4))
    assert [name for name, _ in made.layer.named_parameters()] == [
        "bias", "parametrizations.weight.original0", "parametrizations.weight.original1"
    ]  # fmt: skip
    assert made.layer.weight.shape == (8, 3)
    assert [name for name, _ in made.named_children()] == ["layer", "activation"]
