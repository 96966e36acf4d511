"""Penalties against numpy and torch's weight decay, at every option of `conf/regularizer`."""

from dataclasses import make_dataclass

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn, optim

from runner.config import Node, check, maker
from runner.foundation.options import own_folder

FOLDER = own_folder() / "regularizer"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("regularizer", dict[str, Node])], kw_only=True)


def penalties(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    content = {name: each | changes for name, each in content.items()}
    return [maker(node) for node in check({"regularizer": content}, SCHEMA).regularizer.values()]


def model():
    """Return a network whose biases and norm scales are far from 0."""
    network = nn.Sequential(
        nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4)
    ).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5, generator=generator)
    return network


def weights(network):
    return [network[0].weight, network[3].weight]


REFERENCES = {  # the penalty, and the weight_decay of torch's that has its gradient
    "none": (lambda network: 0.0, 0.0),
    "l2": (
        lambda network: 1e-4 * sum(float((each.detach().numpy() ** 2).sum())
                                   for each in weights(network)),
        2e-4,
    ),
}  # fmt: skip


def penalty(network, option, **changes):
    def apply(parameters, x):
        return torch.func.functional_call(network, dict(parameters), (x,))

    parameters, x = dict(network.named_parameters()), torch.ones(2, 1, 3, 3, dtype=torch.float64)
    terms = [each(apply, parameters, x) for each in penalties(option, **changes)]
    assert all(term.shape == () for term in terms)
    return sum(terms, torch.zeros((), dtype=torch.float64))


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_penalty_is_the_formula_in_numpy(option):
    expected = REFERENCES[option][0](model())
    assert float(penalty(model(), option).detach()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("option", OPTIONS)
def test_gradient_step_is_that_of_weight_decay_on_weights_alone(option):
    ours, theirs = model(), model()
    total = penalty(ours, option) + sum((each * each.cos()).sum() for each in ours.parameters())
    total.backward()
    optim.SGD(ours.parameters(), lr=0.3).step()
    sum((each * each.cos()).sum() for each in theirs.parameters()).backward()
    decayed = {id(each) for each in weights(theirs)}
    rest = [each for each in theirs.parameters() if id(each) not in decayed]
    groups = [
        {"params": weights(theirs), "weight_decay": REFERENCES[option][1]}, {"params": rest}
    ]  # fmt: skip
    optim.SGD(groups, lr=0.3).step()
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_strength_is_what_was_asked_for(strength):
    network = model()
    squares = sum(float(each.detach().square().sum()) for each in weights(network))
    total = penalty(network, "l2", strength=strength).detach()
    assert float(total) == pytest.approx(strength * squares)
