"""Initialization: which tensors are filled, with what gain, from whose stream."""

from dataclasses import make_dataclass

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from runner.assemble.initialize import initialize
from runner.assemble.unit import activation_gain, brick
from runner.components.architecture import cnn, mlp
from runner.components.initializer import kaiming_normal
from runner.components.normalization import batch, none
from runner.config import Node, check, maker
from runner.foundation.options import own_folder

FOLDER = own_folder() / "activation"
ACTIVATIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("activation", Node)], kw_only=True)


def activation(option):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return maker(check({"activation": content}, SCHEMA).activation)


def standing(layer):
    return batch(layer, momentum=0.1, eps=1e-5)


def perceptron(hidden=(6, 7), make=nn.Tanh, normalization=standing):
    unit = brick(make, normalization, nn.Identity)
    return mlp((5,), 3, unit, hidden=list(hidden))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def fill(weight, gain, generator):
    kaiming_normal(weight, gain, generator, gain="auto")


@pytest.mark.parametrize(
    ("model", "shapes"),
    [
        (perceptron(), [(6, 5), (7, 6), (3, 7)]),
        (cnn((2, 8, 8), 4, brick(nn.Tanh, standing, nn.Identity), channels=[3], kernel=3, pool=2),
         [(3, 2, 3, 3), (4, 48)]),
    ],
)  # fmt: skip
def test_layers_are_filled_once_in_order_with_the_gain_of_what_follows(model, shapes):
    seen, tanh = [], activation_gain(nn.Tanh())

    def constant(weight, gain, generator):
        seen.append((tuple(weight.shape), gain))
        weight.fill_(len(seen))

    initialize(model, constant, generator())
    assert seen == [*[(shape, tanh) for shape in shapes[:-1]], (shapes[-1], 1.0)]
    weights = [each for each in model.parameters() if each.dim() >= 2]
    for count, weight in enumerate(weights, 1):
        assert (weight == count).all()


def test_biases_are_0_and_normalizations_stay_as_they_are():
    model = perceptron()
    initialize(model, fill, generator())
    layers = [each for each in model.modules() if isinstance(each, nn.Linear)]
    norms = [each for each in model.modules() if hasattr(each, "running_var")]
    assert len(layers) == 3
    assert len(norms) == 2
    assert all((layer.bias == 0).all() for layer in layers)
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)


def test_weights_are_a_function_of_the_generator_alone():
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(models))  # construction leaves other numbers behind each time
        models.append(perceptron())
        state = torch.get_rng_state()
        initialize(models[-1], fill, generator(seed))
        assert torch.equal(torch.get_rng_state(), state)
    first, again, other = ([each.detach() for each in model.parameters()] for model in models)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_precision_does_not_change_the_starting_point():
    double, single = perceptron().double(), perceptron().float()
    for model in (double, single):
        initialize(model, fill, generator())
    for exact, rounded in zip(double.parameters(), single.parameters(), strict=True):
        assert torch.equal(exact.float(), rounded)
    assert not torch.equal(double[1].layer.weight.float().double(), double[1].layer.weight)


def test_activations_were_found():
    assert len(ACTIVATIONS) >= 5


@pytest.mark.parametrize("option", ACTIVATIONS)
def test_kaiming_keeps_the_second_moment_through_many_layers(option):
    unit = brick(activation(option), none, nn.Identity)
    model = mlp((600,), 3, unit, hidden=[600] * 5).double()
    initialize(model, fill, generator())
    signal = torch.randn(100, 600, generator=generator(1), dtype=torch.float64) / model[1].gain
    with torch.no_grad():
        for layer in list(model)[1:-1]:
            signal = layer(signal)
            assert float(signal.square().mean() * layer.gain**2) == pytest.approx(1, rel=0.2)
