"""Initialization: which tensors are filled, with what gain, from whose stream."""

from dataclasses import make_dataclass
from itertools import pairwise

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from runner.assemble.initialize import initialize
from runner.assemble.unit import activation_gain, brick
from runner.components.initializer import Initializer, Trial
from runner.components.initializer.random import kaiming_normal
from runner.components.normalization import Normalization
from runner.components.normalization.absent import weight
from runner.components.normalization.batchwise import batch
from runner.config import Node, check, maker
from runner.foundation.options import own_folder

FOLDER = own_folder() / "activation"
ACTIVATIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("activation", Node)], kw_only=True)
STANDING = batch(
    affine=True, momentum=0.1, eps=1e-5, inference="running", position="before", layers="all"
)
WEIGHT = weight(position="before", layers="all")
NONE = Normalization(lambda layer: nn.Identity())
KAIMING = kaiming_normal(gain="auto", fan="in", bias=0.0)


def activation(option):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return maker(check({"activation": content}, SCHEMA).activation)


def unit_of(make=nn.Tanh, normalization=STANDING):
    return brick(make, normalization, nn.Identity, {"sigmoid": nn.Sigmoid}.__getitem__)


def perceptron(widths=(5, 6, 7, 3), make=nn.Tanh, normalization=STANDING):
    unit = unit_of(make, normalization)
    *hidden, last = (nn.Linear(*pair) for pair in pairwise(widths))
    return nn.Sequential(nn.Flatten(), *map(unit, hidden), last)


def convolutional():
    return nn.Sequential(
        unit_of()(nn.Conv2d(2, 3, 3)), unit_of()(nn.Conv2d(3, 3, 1)), nn.Flatten(), nn.Linear(48, 4)
    )


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("model", "shapes"),
    [
        (perceptron(), [(6, 5), (7, 6), (3, 7)]),
        (perceptron(normalization=WEIGHT), [(6, 5), (7, 6), (3, 7)]),
        (convolutional(), [(3, 2, 3, 3), (3, 3, 1, 1), (4, 48)]),
    ],
)
def test_layers_are_filled_once_in_order_with_the_gain_of_what_follows(model, shapes):
    seen, tanh = [], activation_gain(nn.Tanh())

    def constant(weight, gain, generator):
        assert weight.dtype is torch.float64
        seen.append((tuple(weight.shape), gain))
        weight.fill_(len(seen))

    initialize(model, Initializer(constant), generator())
    assert seen == [*[(shape, tanh) for shape in shapes[:-1]], (shapes[-1], 1.0)]
    layers = [each for each in model.modules() if isinstance(each, nn.Linear | nn.Conv2d)]
    for count, layer in enumerate(layers, 1):
        torch.testing.assert_close(layer.weight, torch.full_like(layer.weight, count))


def test_a_layer_with_an_activation_of_its_own_has_its_gain():
    unit, seen = unit_of(), []
    model = nn.Sequential(unit(nn.Linear(2, 2)), unit(nn.Linear(2, 2), "sigmoid"))
    initialize(model, Initializer(lambda weight, gain, stream: seen.append(gain)), generator())
    assert seen == [activation_gain(nn.Tanh()), activation_gain(nn.Sigmoid())]


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_biases_start_from_one_number_and_normalizations_stay_as_they_are(value):
    model = perceptron()
    initialize(model, KAIMING._replace(bias=value), generator())
    layers = [each for each in model.modules() if isinstance(each, nn.Linear)]
    norms = [each for each in model.modules() if hasattr(each, "running_var")]
    assert len(layers) == 3
    assert len(norms) == 2
    assert all((layer.bias == torch.tensor(value)).all() for layer in layers)
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)


def test_biases_may_be_drawn_by_a_rule():
    def draw(bias, weight, stream):
        bias.uniform_(1, 2, generator=stream).add_(weight.shape[1])

    model = nn.Sequential(nn.Linear(4, 50), nn.Linear(50, 3, bias=False))
    initialize(model, KAIMING._replace(bias=draw), generator())
    assert 5 < model[0].bias.min() < model[0].bias.max() < 6
    assert model[1].bias is None


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.places = nn.Parameter(torch.full((4, 3), 9.0))
        self.register_buffer("frozen", torch.full((4, 3), 8.0))


def test_what_is_no_layer_stays_as_it_was_constructed():
    model = nn.ModuleList([Tokens(), nn.LayerNorm((2, 3)), nn.Embedding(2, 3), nn.PReLU()])
    before = {name: each.clone() for name, each in model.state_dict().items()}
    initialize(model, KAIMING, generator())
    for name, each in model.state_dict().items():
        assert torch.equal(each, before[name])


@pytest.mark.parametrize("normalization", [STANDING, WEIGHT])
def test_weights_are_a_function_of_the_generator_alone(normalization):
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(len(models))  # construction leaves other numbers behind each time
        models.append(perceptron(normalization=normalization))
        state = torch.get_rng_state()
        initialize(models[-1], KAIMING, generator(seed))
        assert torch.equal(torch.get_rng_state(), state)
    first, again, other = ([each.detach() for each in model.parameters()] for model in models)
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert any(not torch.equal(*pair) for pair in zip(first, other, strict=True))


def test_precision_does_not_change_the_starting_point():
    double, single = perceptron().double(), perceptron().float()
    for model in (double, single):
        initialize(model, KAIMING, generator())
    for exact, rounded in zip(double.parameters(), single.parameters(), strict=True):
        assert torch.equal(exact.float(), rounded)
    assert not torch.equal(double[1].layer.weight.float().double(), double[1].layer.weight)


def test_the_whole_model_is_adjusted_after_filling():
    seen = []

    def adjust(model, trial, stream):
        seen.append((float(model[-1].bias[0].detach()), trial.x.shape))

    trial = Trial(torch.ones(7, 5), torch.ones(7), None)
    initialize(perceptron(), KAIMING._replace(bias=0.5, adjust=adjust), generator(), trial)
    assert seen == [(0.5, (7, 5))]


def test_activations_were_found():
    assert len(ACTIVATIONS) >= 5


@pytest.mark.parametrize("option", ACTIVATIONS)
def test_kaiming_keeps_the_second_moment_through_many_layers(option):
    width = 400
    model = perceptron([width] * 7, activation(option), NONE).double()
    initialize(model, KAIMING, generator())
    signal = torch.randn(100, width, generator=generator(1), dtype=torch.float64) / model[1].gain
    with torch.no_grad():
        for layer in list(model)[1:-1]:
            signal = layer(signal)
            assert float(signal.square().mean() * layer.gain**2) == pytest.approx(1, rel=0.2)
