"""Initializers: variance by fan-in, mean, shape, streams, at every option of `conf/initializer`."""

from dataclasses import make_dataclass
from math import sqrt

import pytest
import torch
from omegaconf import OmegaConf

from runner.config import Node, check, maker
from runner.foundation.options import own_folder

FOLDER = own_folder() / "initializer"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("initializer", Node)], kw_only=True)

# Variance from what a sum of `fan_in` terms sees, in a weight that gives `fan_out` terms back.
VARIANCES = {
    "normal": lambda fan_in, fan_out, gain: 0.01**2,
    "xavier_fan_in": lambda fan_in, fan_out, gain: 1 / fan_in,
    "glorot_normal": lambda fan_in, fan_out, gain: 2 / (fan_in + fan_out),
    "kaiming_normal": lambda fan_in, fan_out, gain: gain**2 / fan_in,
}
SHAPES = {(400, 700): (700, 400), (96, 128, 5, 3): (128 * 15, 96 * 15)}  # linear, convolution


def fill(option, shape, activation_gain=1.0, seed=0, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    node = check({"initializer": content | changes}, SCHEMA).initializer
    weight = torch.full(shape, 7.0, dtype=torch.float64)
    maker(node)(weight, activation_gain, torch.Generator().manual_seed(seed))
    return weight


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(VARIANCES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gain", [1.0, sqrt(2)])
def test_weights_are_normal_with_the_variance_of_the_formula(option, shape, gain):
    weight, expected = fill(option, shape, gain), VARIANCES[option](*SHAPES[shape], gain)
    assert weight.var() == pytest.approx(expected, rel=0.03)
    assert weight.mean() == pytest.approx(0, abs=5 * sqrt(expected / weight.numel()))
    assert (weight**4).mean() / expected**2 == pytest.approx(3, rel=0.06)  # kurtosis of a normal


def test_glorot_normal_is_what_torch_calls_xavier():
    for shape in SHAPES:
        reference = torch.nn.init.xavier_normal_(
            torch.zeros(shape, dtype=torch.float64), generator=torch.Generator().manual_seed(3)
        )
        assert fill("glorot_normal", shape).std() == pytest.approx(
            float(reference.std()), rel=0.015
        )


@pytest.mark.parametrize("gain", [0.5, 1.0, 3.0])
def test_a_number_overrides_the_gain_of_the_activation(gain):
    weight = fill("kaiming_normal", (400, 700), activation_gain=sqrt(2), gain=gain)
    assert weight.var() == pytest.approx(gain**2 / 700, rel=0.03)


@pytest.mark.parametrize("option", OPTIONS)
def test_equal_generators_give_equal_weights_and_nothing_else_is_drawn_from(option):
    globally = torch.get_rng_state()
    first, again, other = (fill(option, (30, 20), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), globally)


@pytest.mark.parametrize("std", [0.0, 0.2])
def test_normal_has_the_spread_asked_for(std):
    assert fill("normal", (400, 700), std=std).std() == pytest.approx(std, rel=0.015)
