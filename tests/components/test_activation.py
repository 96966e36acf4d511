"""Activations against numpy, scipy and torch, at every option of `conf/activation`."""

from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from scipy import special, stats
from torch.func import functional_call, vmap

from runner.config import Node, build, check, maker
from runner.foundation.options import own_folder

FOLDER = own_folder() / "activation"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("activation", Node)], kw_only=True)
LANES = 3

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017
REFERENCES = {
    "identity": lambda z: z,
    "sign": np.sign,
    "sigmoid": special.expit,
    "tanh": np.tanh,
    "softsign": lambda z: z / (1 + np.abs(z)),
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.01 * z),
    "prelu": lambda z: np.where(z > 0, z, 0.25 * z),
    "elu": lambda z: np.where(z > 0, z, np.expm1(z)),
    "selu": lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(z)),
    "gelu": lambda z: z * stats.norm.cdf(z),
    "silu": lambda z: z * special.expit(z),
    "softplus": lambda z: np.logaddexp(0, z),
    "maxout": lambda z: z,  # of pieces that are all alike
}


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"activation": content | changes}, SCHEMA).activation


def made(option, **changes):
    return build(node(option, **changes)).double()


def applied(module, z):
    """Apply an activation to numbers (N,), each as a column, or as many as it takes together."""
    return module(z[:, None].expand(-1, getattr(module, "pieces", 1)))[:, 0]


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_values_are_those_of_the_formula(option):
    z = np.linspace(-8, 8, 1601)
    values = applied(made(option), torch.from_numpy(z)).detach().numpy()
    np.testing.assert_allclose(values, REFERENCES[option](z), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("option", OPTIONS)
def test_gradient_is_the_slope_of_the_formula(option):
    z = np.linspace(-4, 4, 80)  # leaves out the kink at 0
    given = torch.from_numpy(z).requires_grad_()
    (slope,) = torch.autograd.grad(applied(made(option), given).sum(), given)
    reference, width = REFERENCES[option], 1e-6
    expected = (reference(z + width) - reference(z - width)) / (2 * width)
    np.testing.assert_allclose(slope.numpy(), expected, atol=1e-8)


@pytest.mark.parametrize("option", OPTIONS)
def test_each_call_gives_a_module_of_its_own_and_leaves_its_input(option):
    checked, z = node(option), torch.linspace(-2, 2, 8).reshape(4, 2)
    before = z.clone()
    first, second = build(checked), build(checked)
    assert first is not second
    assert not {id(each) for each in first.parameters()} & {id(e) for e in second.parameters()}
    first(z)
    assert torch.equal(z, before)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 4), (5, 6, 4, 3)])
def test_shapes_stay_but_for_the_pieces(option, shape):
    module = made(option)
    given = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = module(given)
    assert values.shape == (5, 6 // getattr(module, "pieces", 1), *shape[2:])
    torch.testing.assert_close(module(given[2:3]), values[2:3])  # no sample sees another


NUMBERS = {
    "leaky_relu": {"slope": [0.01, 0.1, -0.5]},
    "elu": {"alpha": [0.5, 1.0, 2.0]},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_lanes_are_their_solo_selves(option):
    """Lanes have inputs, learned parameters and numbers of their own."""
    generator = torch.Generator().manual_seed(1)
    z = 3 * torch.randn(LANES, 7, 4, 2, generator=generator, dtype=torch.float64)
    numbers, make = NUMBERS.get(option, {}), maker(node(option))
    names = [name for name, _ in made(option).named_parameters()]
    learned = {name: torch.tensor([[0.25], [0.1], [-0.3]], dtype=torch.float64) for name in names}

    def total(z, learned, own):
        return functional_call(make(**own), learned, (z,)).square().sum()

    both = torch.func.grad_and_value(total, argnums=(0, 1))
    lanes = {name: torch.tensor(each, dtype=torch.float64) for name, each in numbers.items()}
    together = vmap(both)(z, learned, lanes)
    for lane in range(LANES):
        own = {name: each[lane] for name, each in numbers.items()}
        alone = both(z[lane], {name: each[lane] for name, each in learned.items()}, own)
        (slopes, slopes_learned), value = together
        ours = (slopes[lane], {n: each[lane] for n, each in slopes_learned.items()}), value[lane]
        torch.testing.assert_close(ours, alone, rtol=1e-10, atol=1e-12)


# ---- numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0, -0.5])
@pytest.mark.parametrize(("option", "name"), [("leaky_relu", "slope"), ("prelu", "start")])
def test_slope_is_what_was_asked_for(option, name, slope):
    z = torch.tensor([-3.0, -0.5, 0.0, 2.0], dtype=torch.float64)
    expected = [slope * -3, slope * -0.5, 0, 2]
    values = made(option, **{name: slope})(z[:, None])[:, 0]
    assert values.tolist() == pytest.approx(expected)


def test_slope_of_prelu_is_learned_and_that_of_leaky_relu_is_not():
    module, z = made("prelu"), torch.tensor([[-3.0, 2.0, -1.0]], dtype=torch.float64)
    (parameter,) = module.parameters()
    (slope,) = torch.autograd.grad(module(z).sum(), [parameter])
    assert slope.item() == pytest.approx(-4)  # the sum of what is below 0
    assert not list(made("leaky_relu").parameters())


@pytest.mark.parametrize("alpha", [0.3, 2.0])
def test_alpha_of_elu_is_where_it_ends(alpha):
    z = np.linspace(-40, 2, 50)
    expected = np.where(z > 0, z, alpha * np.expm1(z))
    values = applied(made("elu", alpha=alpha), torch.from_numpy(z)).numpy()
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert values[0] == pytest.approx(-alpha)


def test_sign_lets_no_gradient_pass():
    z = torch.tensor([[-2.0, 0.0, 3.0]], requires_grad=True)
    values = build(node("sign"))(z)
    assert values.tolist() == [[-1, 0, 1]]
    assert torch.autograd.grad(values.sum(), z)[0].tolist() == [[0, 0, 0]]


# ---- maxout -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(), (4,), (4, 3)])
def test_maxout_is_the_largest_of_neighbours(pieces, shape):
    generator = torch.Generator().manual_seed(pieces)
    z = torch.randn(6, 4 * pieces, *shape, generator=generator, dtype=torch.float64)
    module = made("maxout", pieces=pieces)
    assert module.pieces == pieces
    expected = z.numpy().reshape(6, 4, pieces, *shape).max(2)
    np.testing.assert_array_equal(module(z).numpy(), expected)


def test_maxout_contains_relu_and_the_absolute_value():
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None]
    zeros = torch.zeros_like(x)
    module = made("maxout")
    assert torch.equal(module(torch.cat([x, zeros], 1)), x.relu())
    assert torch.equal(module(torch.cat([x, -x], 1)), x.abs())


@pytest.mark.parametrize("pieces", [2, 5])
def test_maxout_fits_a_convex_curve_by_its_tangents(pieces):
    x = torch.linspace(-1, 1, 2001, dtype=torch.float64)
    at = -1 + (2 * torch.arange(pieces) + 1) / pieces  # where the tangents of x^2 touch
    lines = 2 * at * x[:, None] - at**2
    error = (x**2 - made("maxout", pieces=pieces)(lines)[:, 0]).abs().max()
    assert float(error) == pytest.approx(1 / pieces**2, rel=1e-3)
