"""Activations against numpy and scipy, at every option of `conf/activation`."""

from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from scipy import special, stats

from runner.config import Node, build, check
from runner.foundation.options import own_folder

FOLDER = own_folder() / "activation"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("activation", Node)], kw_only=True)

REFERENCES = {
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "tanh": np.tanh,
    "sigmoid": special.expit,
    "gelu": lambda z: z * stats.norm.cdf(z),
}


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"activation": content | changes}, SCHEMA).activation


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_values_are_those_of_the_formula(option):
    z = np.linspace(-8, 8, 1601)
    values = build(node(option))(torch.from_numpy(z)[:, None])[:, 0].numpy()
    np.testing.assert_allclose(values, REFERENCES[option](z), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("option", OPTIONS)
def test_gradient_is_the_slope_of_the_formula(option):
    z = np.linspace(-4, 4, 80)  # leaves out the kink at 0
    given = torch.from_numpy(z).requires_grad_()
    (slope,) = torch.autograd.grad(build(node(option))(given[:, None]).sum(), given)
    reference, width = REFERENCES[option], 1e-6
    expected = (reference(z + width) - reference(z - width)) / (2 * width)
    np.testing.assert_allclose(slope.numpy(), expected, atol=1e-8)


@pytest.mark.parametrize("option", OPTIONS)
def test_each_call_gives_a_module_of_its_own_and_leaves_its_input(option):
    checked, z = node(option), torch.linspace(-2, 2, 9)
    before = z.clone()
    assert build(checked) is not build(checked)
    build(checked)(z)
    assert torch.equal(z, before)


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0, -0.5])
def test_slope_of_leaky_relu_is_what_was_asked_for(slope):
    z = torch.tensor([-3.0, -0.5, 0.0, 2.0], dtype=torch.float64)
    expected = [slope * -3, slope * -0.5, 0, 2]
    assert build(node("leaky_relu", slope=slope))(z).tolist() == pytest.approx(expected)
