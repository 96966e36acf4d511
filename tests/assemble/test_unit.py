"""The unit: its parts in order, and the gain of every option of `conf/activation`."""

import math
from dataclasses import make_dataclass

import pytest
import torch
from omegaconf import OmegaConf
from scipy import integrate, special, stats
from torch import nn

from runner.assemble.unit import Brick, activation_gain, brick
from runner.config import Node, build, check
from runner.foundation.options import own_folder

FOLDER = own_folder() / "activation"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("activation", Node)], kw_only=True)

FORMULAS = {
    "relu": lambda z: max(z, 0),
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "tanh": math.tanh,
    "sigmoid": special.expit,
    "gelu": lambda z: z * stats.norm.cdf(z),
}
ROUNDED = {"relu": 1.4142, "tanh": 1.5925, "gelu": 1.5335}  # as DESIGN.md, section 4, has them


def activation(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return build(check({"activation": content | changes}, SCHEMA).activation)


def gain_by_quadrature(formula):
    def integrand(z):
        return formula(z) ** 2 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    halves = [integrate.quad(integrand, *ends, epsabs=1e-12)[0] for ends in ((-12, 0), (0, 12))]
    return 1 / math.sqrt(sum(halves))


def test_every_activation_has_a_formula():
    assert OPTIONS
    assert set(FORMULAS) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_gain_is_that_of_adaptive_quadrature(option):
    gain = activation_gain(activation(option))
    assert gain == pytest.approx(gain_by_quadrature(FORMULAS[option]), rel=1e-6)
    assert gain == pytest.approx(ROUNDED.get(option, gain), abs=5e-5)


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_gain_of_rectifiers_is_the_closed_form(slope):
    gain = activation_gain(activation("leaky_relu", slope=slope))
    assert gain == pytest.approx(math.sqrt(2 / (1 + slope**2)), rel=1e-6)  # He et al. 2015


def test_gain_of_what_gives_0_everywhere_is_1():
    assert activation_gain(nn.Threshold(100.0, 0.0)) == 1.0


def nothing(layer):
    return nn.Identity()


@pytest.mark.parametrize(
    ("normalization", "dropout", "names"),
    [
        (nothing, nn.Identity, ["layer", "activation"]),
        (lambda layer: nn.BatchNorm1d(4), nn.Identity, ["layer", "normalization", "activation"]),
        (nothing, nn.Dropout, ["layer", "activation", "dropout"]),
        (lambda layer: nn.LayerNorm(4), nn.Dropout,
         ["layer", "normalization", "activation", "dropout"]),
    ],
)  # fmt: skip
def test_parts_stand_in_order_and_absent_ones_are_left_out(normalization, dropout, names):
    layer = nn.Linear(3, 4)
    made = brick(nn.Tanh, normalization, dropout)(layer)
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

    def normalization(layer):
        seen.append(layer)
        return nn.LayerNorm(layer.out_features)

    unit = brick(nn.PReLU, normalization, nn.Identity)
    layers = [nn.Linear(2, 3), nn.Linear(3, 5)]
    first, second = (unit(layer) for layer in layers)
    assert [id(each) for each in seen] == [id(each) for each in layers]
    shared = {id(each) for each in first.parameters()} & {id(each) for each in second.parameters()}
    assert not shared
    assert first.normalization.normalized_shape == (3,)
    assert second.normalization.normalized_shape == (5,)
