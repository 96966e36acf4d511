"""Averages over dropout masks against every sub-network written out by hand."""

from itertools import product

import pytest
import torch
from torch import nn

from runner.assemble.masks import MOST_UNITS, averaged_over_masks
from runner.components.dropout import Dropout
from runner.foundation.errors import Misconfigured

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
KEEP = 0.7


def network(average, units=3, inverted=True):
    torch.manual_seed(0)
    layers = [nn.Linear(4, units), nn.Tanh(), Dropout(KEEP, average, inverted=inverted)]
    return nn.Sequential(*layers, nn.Linear(units, 2)).double().eval()


def mean(outputs, weights):
    return torch.einsum("kbc,k->bc", outputs, weights)


def by_hand(model, scale):
    """Add up the outputs of all eight sub-networks, each times its probability."""
    hidden, total = model[1](model[0](X)), 0
    for mask in product((0.0, 1.0), repeat=3):
        odds = torch.tensor([KEEP if kept else 1 - KEEP for kept in mask]).double().prod()
        total = total + odds * model[3](hidden * torch.tensor(mask).double() * scale)
    return total


@pytest.mark.parametrize(("inverted", "scale"), [(True, 1 / KEEP), (False, 1.0)])
def test_exhaustive_is_the_mean_of_all_sub_networks(inverted, scale):
    model = network("exhaustive", inverted=inverted)
    with torch.no_grad():
        outputs = averaged_over_masks(model, 0, mean)(X)
        torch.testing.assert_close(outputs, by_hand(model, scale))
        torch.testing.assert_close(outputs, model(X))  # behind it all is linear: scaling is exact


def test_exhaustive_of_a_nonlinear_blend_is_no_scaling():
    model = network("exhaustive")
    with torch.no_grad():
        squares = averaged_over_masks(model, 0, lambda o, w: mean(o.square(), w))(X)
        assert (squares - model(X).square()).abs().max() > 1e-3


def test_random_masks_come_near_the_exhaustive_average_and_nearer_the_more_there_are():
    with torch.no_grad():
        exact = averaged_over_masks(network("exhaustive"), 0, mean)(X)
        errors = [
            (averaged_over_masks(network(count), 0, mean)(X) - exact).abs().mean()
            for count in (10, 4000)
        ]
    assert 0 < errors[1] < errors[0] / 4
    assert errors[1] < 0.02


def test_the_same_seed_gives_the_same_masks_and_the_model_stays_as_it_was():
    model = network(20)
    before, globally = model(X), torch.random.get_rng_state()
    first, again = (averaged_over_masks(model, 1, mean)(X) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, averaged_over_masks(model, 2, mean)(X))
    assert torch.equal(model(X), before)
    assert torch.equal(torch.random.get_rng_state(), globally)


def test_without_averages_it_is_the_model_itself():
    model = network("none")
    assert averaged_over_masks(model, 0, mean) is model


def test_too_many_units_are_refused():
    with pytest.raises(Misconfigured, match=rf"2\^20 masks; {MOST_UNITS} units are the most"):
        averaged_over_masks(network("exhaustive", units=20), 0, mean)(X)
