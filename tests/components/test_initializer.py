"""Initializers at every option of `conf/initializer`: variances, forms, rules for whole models."""

from dataclasses import make_dataclass
from itertools import pairwise
from math import exp, sqrt

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.nn.utils import parametrizations

from runner.assemble.initialize import initialize
from runner.components.initializer import Initializer, Trial
from runner.components.initializer.layers import fans, set_weight, weighted
from runner.config import Node, build, check
from runner.foundation.options import own_folder

FOLDER = own_folder() / "initializer"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("initializer", Node)], kw_only=True)

# Variance from what a sum of `fan_in` terms sees, in a weight that gives `fan_out` terms back.
NORMAL = {
    "normal": lambda fan_in, fan_out, gain: 0.01**2,
    "normal_small": lambda fan_in, fan_out, gain: 0.01**2,
    "normal_mid": lambda fan_in, fan_out, gain: 0.05**2,
    "normal_big": lambda fan_in, fan_out, gain: 1,
    "xavier_fan_in": lambda fan_in, fan_out, gain: 1 / fan_in,
    "fan_out": lambda fan_in, fan_out, gain: 1 / fan_out,
    "glorot_normal": lambda fan_in, fan_out, gain: 2 / (fan_in + fan_out),
    "kaiming_normal": lambda fan_in, fan_out, gain: gain**2 / fan_in,
    "defazio_bottou": lambda fan_in, fan_out, gain: 2 / sqrt(fan_in * fan_out),
    "random_walk": lambda fan_in, fan_out, gain: (
        (gain * exp(1.2 / (max(fan_in, 6) - 2.4))) ** 2 / fan_in),
    "multi_restart": lambda fan_in, fan_out, gain: gain**2 / fan_in,
    "data_dependent": lambda fan_in, fan_out, gain: 1 / fan_in,
    "fixup": lambda fan_in, fan_out, gain: gain**2 / fan_in,
}  # fmt: skip
UNIFORM = {
    "uniform": lambda fan_in, fan_out, gain: 0.05**2 / 3,
    "glorot_uniform": lambda fan_in, fan_out, gain: 2 / (fan_in + fan_out),
    "kaiming_uniform": lambda fan_in, fan_out, gain: gain**2 / fan_in,
    "torch_default": lambda fan_in, fan_out, gain: 1 / (3 * fan_in),
}
VARIANCES = NORMAL | UNIFORM
ORTHOGONAL = {"orthogonal", "lsuv"}
FIXED = {"zeros", "constant", "identity"}
WITHOUT_BIAS = {"torch_default", "data_dependent"}  # they have rules for it
SHAPES = {  # linear, convolutions of images and signals
    (400, 700): (700, 400),
    (96, 128, 5, 3): (128 * 15, 96 * 15),
    (150, 90, 7): (90 * 7, 150 * 7),
}


def made(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return build(check({"initializer": content | changes}, SCHEMA).initializer)


def fill(option, shape, activation_gain=1.0, seed=0, **changes):
    weight = torch.full(shape, 7.0, dtype=torch.float64)
    made(option, **changes).fill(weight, activation_gain, generator(seed))
    return weight


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(OPTIONS) == {*VARIANCES, *ORTHOGONAL, *FIXED}


# One weight


@pytest.mark.parametrize("option", VARIANCES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("gain", [1.0, sqrt(2)])
def test_weights_have_the_variance_of_the_formula_and_its_distribution(option, shape, gain):
    weight, expected = fill(option, shape, gain), VARIANCES[option](*SHAPES[shape], gain)
    assert weight.var() == pytest.approx(expected, rel=0.03)
    assert weight.mean() == pytest.approx(0, abs=5 * sqrt(expected / weight.numel()))
    kurtosis = 3 if option in NORMAL else 9 / 5
    assert (weight**4).mean() / expected**2 == pytest.approx(kurtosis, rel=0.06)


@pytest.mark.parametrize(
    ("option", "reference", "arguments"),
    [
        ("glorot_normal", nn.init.xavier_normal_, {}),
        ("glorot_uniform", nn.init.xavier_uniform_, {}),
        ("kaiming_normal", nn.init.kaiming_normal_, {"nonlinearity": "relu"}),
        ("kaiming_uniform", nn.init.kaiming_uniform_, {"nonlinearity": "relu"}),
        ("xavier_fan_in", nn.init.kaiming_normal_, {"nonlinearity": "linear"}),
        ("fan_out", nn.init.kaiming_normal_, {"nonlinearity": "linear", "mode": "fan_out"}),
        ("torch_default", nn.init.kaiming_uniform_, {"a": sqrt(5)}),
    ],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_spreads_are_those_of_torch_under_its_own_names(option, reference, arguments, shape):
    weight = reference(torch.zeros(shape, dtype=torch.float64), generator=generator(3), **arguments)
    assert fill(option, shape, sqrt(2)).std() == pytest.approx(float(weight.std()), rel=0.015)


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (8, 5, 3), (16, 4, 3, 3)])
@pytest.mark.parametrize("option", sorted(ORTHOGONAL))
def test_orthogonal_matrices_have_singular_values_of_1(option, shape):
    matrix = fill(option, shape).flatten(1).numpy()
    values = np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(values, np.ones(min(matrix.shape)), rtol=1e-12)
    gram = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)


def test_orthogonal_matrices_point_everywhere():
    traces = [float(fill("orthogonal", (12, 12), seed=seed).trace()) for seed in range(200)]
    assert np.mean(traces) == pytest.approx(0, abs=5 / sqrt(200))  # the trace has variance 1
    assert np.std(traces) == pytest.approx(1, rel=0.25)


def test_fixed_weights():
    assert (fill("zeros", (4, 3)) == 0).all()
    assert (fill("constant", (4, 3), value=0.3) == 0.3).all()
    assert torch.equal(fill("identity", (4, 3)), torch.eye(4, 3, dtype=torch.float64))
    expected = nn.init.dirac_(torch.empty(4, 3, 5, 3, dtype=torch.float64))
    assert torch.equal(fill("identity", (4, 3, 5, 3)), expected)


@pytest.mark.parametrize("option", ["kaiming_normal", "kaiming_uniform", "random_walk",
                                    "multi_restart", "orthogonal"])  # fmt: skip
def test_a_number_overrides_the_gain_of_the_activation(option):
    auto, half = (fill(option, (40, 70), sqrt(2), gain=gain) for gain in ("auto", 0.5))
    torch.testing.assert_close(half / 0.5, auto / sqrt(2))


@pytest.mark.parametrize("option", ["kaiming_normal", "kaiming_uniform"])
@pytest.mark.parametrize("shape", SHAPES)
def test_kaiming_goes_by_either_fan(option, shape):
    weight = fill(option, shape, sqrt(2), fan="out")
    assert weight.var() == pytest.approx(2 / SHAPES[shape][1], rel=0.03)


@pytest.mark.parametrize("option", ["normal", "uniform", "defazio_bottou"])
def test_spreads_are_what_is_asked_for(option):
    key, deviation = {
        "normal": ("std", lambda value: value),
        "uniform": ("bound", lambda value: value / sqrt(3)),
        "defazio_bottou": ("scale", lambda value: sqrt(value / sqrt(400 * 700))),
    }[option]
    for value in (0.2, 3.0):
        weight = fill(option, (400, 700), **{key: value})
        assert weight.std() == pytest.approx(deviation(value), rel=0.015)
    assert (fill("normal", (4, 7), std=0.0) == 0).all()


def test_the_random_walk_keeps_the_mean_log_length_through_narrow_relus():
    width, depth, trials, stream = 30, 20, 200, generator(4)
    weights = fill("random_walk", (depth * trials * width, width), sqrt(2))
    signal = torch.ones(trials, width, dtype=torch.float64)
    for weight in weights.reshape(depth, trials, width, width):
        alive = torch.rand(trials, width, generator=stream) < 0.5
        signal = torch.einsum("toi,to->ti", weight, signal * alive)  # backward
    drift = float(signal.square().mean(1).log().mean()) / 2 / depth
    plain = 1.2 / (width - 2.4)  # what each layer loses without the correction
    assert abs(drift) < plain / 3


@pytest.mark.parametrize("option", sorted(set(OPTIONS) - FIXED))
def test_equal_generators_give_equal_weights_and_nothing_else_is_drawn_from(option):
    globally = torch.get_rng_state()
    first, again, other = (fill(option, (30, 20), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), globally)


# Biases


def test_biases_are_a_number_or_a_rule():
    for option in sorted(set(OPTIONS) - WITHOUT_BIAS):
        assert made(option).bias == 0.0
        assert made(option, bias=0.1).bias == 0.1


def test_the_biases_of_torch_go_by_the_fan_in_of_the_weight():
    model = nn.Linear(300, 5000)
    initialize(model, made("torch_default"), generator())
    reference = nn.Linear(300, 5000)
    for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
        assert float(ours.detach().std()) == pytest.approx(float(theirs.detach().std()), rel=0.03)
        assert ours.abs().max() <= 1 / sqrt(300)


# Whole models


class Residual(nn.Module):
    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, x):
        return x + self.branch(x)


def perceptron(widths, activation=nn.ReLU):
    layers = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return nn.Sequential(*layers[:-1]).double()


def network():
    """A small convolutional network."""
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, 3, stride=2), nn.Tanh(),
        nn.Flatten(), nn.Linear(16, 5),
    ).double()  # fmt: skip


def squared(model, x, y):
    return (model(x) - y).square().mean()


def trial(shape, outputs):
    x = 3 + 2 * torch.randn(shape, generator=generator(7), dtype=torch.float64)
    y = torch.randn(shape[0], outputs, generator=generator(8), dtype=torch.float64)
    return Trial(x, y, squared)


MODELS = {
    "perceptron": (lambda: perceptron([10, 30, 20, 5]), (64, 10)),
    "convolutional": (network, (64, 2, 8, 8)),
}


def outputs_of(model, x):
    """Return what each linear or convolutional layer of a line of modules gives."""
    found = []
    for module in model:
        x = module(x)
        if isinstance(module, nn.Linear | nn.Conv2d):
            found.append((module, x.detach()))
    return found


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_lsuv_gives_each_layer_unit_variance_and_keeps_it_orthogonal(name, bias):
    model, shape = MODELS[name][0](), MODELS[name][1]
    given = trial(shape, 5)
    initialize(model, made("lsuv", bias=bias), generator(), given)
    layers = outputs_of(model, given.x)
    assert len(layers) == 3
    for layer, outputs in layers:
        assert float(outputs.var(correction=0)) == pytest.approx(1, rel=1e-9)
        values = torch.linalg.svdvals(layer.weight.detach().flatten(1))
        torch.testing.assert_close(values, values[:1].expand_as(values))
        assert (layer.bias == bias).all()


@pytest.mark.parametrize("name", MODELS)
def test_data_dependent_gives_each_feature_mean_0_and_variance_1(name):
    model, shape = MODELS[name][0](), MODELS[name][1]
    given = trial(shape, 5)
    initialize(model, made("data_dependent", rounds=0), generator(), given)
    for _, outputs in outputs_of(model, given.x):
        features = outputs.movedim(1, 0).flatten(1).numpy()
        np.testing.assert_allclose(features.mean(1), 0, atol=1e-10)
        np.testing.assert_allclose(features.var(1), 1, rtol=1e-9)


def rates(model, x, direction):
    """Return for each layer the length of the gradient over that of the weight."""
    weights = [layer.weight for layer in weighted(model)]
    gradients = torch.autograd.grad((model(x) * direction).sum(), weights)
    return np.array([
        float(g.square().mean().sqrt() / w.detach().square().mean().sqrt())
        for g, w in zip(gradients, weights, strict=True)
    ])  # fmt: skip


def test_a_whole_round_balances_a_network_of_relus_and_keeps_its_function():
    given = trial((64, 10), 5)
    plain, balanced = (perceptron([10, 30, 20, 5]) for _ in range(2))
    initialize(plain, made("data_dependent", rounds=0), generator(), given)
    initialize(balanced, made("data_dependent", rounds=1, rate=1.0), generator(), given)
    torch.testing.assert_close(balanced(given.x), plain(given.x))
    stream = generator()
    for layer in weighted(plain):  # what was drawn before the direction
        torch.empty(layer.weight.shape, dtype=torch.float64).normal_(generator=stream)
    direction = torch.randn(64, 5, generator=stream, dtype=torch.float64)
    before, after = (rates(model, given.x, direction) for model in (plain, balanced))
    assert before.max() / before.min() > 1.5
    np.testing.assert_allclose(after, after[0], rtol=1e-6)


def test_rounds_come_closer_step_by_step():
    given, direction = trial((64, 2, 8, 8), 5), torch.randn(64, 5, generator=generator(3))
    spread = []
    for rounds in (0, 3, 30):
        model = network()
        initialize(model, made("data_dependent", rounds=rounds), generator(), given)
        spread.append(np.log(rates(model, given.x, direction.double())).std())
    assert spread[0] > spread[1] > spread[2]


def test_layers_without_bias_are_only_scaled():
    model, given = nn.Sequential(nn.Linear(10, 6, bias=False)).double(), trial((64, 10), 6)
    initialize(model, made("data_dependent"), generator(), given)
    torch.testing.assert_close(model(given.x).var(0, correction=0), torch.ones(6).double())


def test_weight_normed_layers_are_adjusted_through_their_directions():
    model, given = perceptron([10, 30, 5]), trial((64, 10), 5)
    for layer in weighted(model):
        parametrizations.weight_norm(layer)
    for option in ("lsuv", "data_dependent"):
        initialize(model, made(option), generator(), given)
        plain = perceptron([10, 30, 5])
        initialize(plain, made(option), generator(), given)
        for normed, layer in zip(weighted(model), weighted(plain), strict=True):
            torch.testing.assert_close(normed.weight, layer.weight)
            torch.testing.assert_close(normed.bias, layer.bias)


def test_a_layer_that_gives_a_constant_is_refused():
    model = nn.Sequential(nn.Linear(10, 6), nn.Threshold(1e9, 0.0), nn.Linear(6, 5)).double()
    for option in ("lsuv", "data_dependent"):
        with pytest.raises(ValueError, match="weight of 5 x 6 gives the same for every row"):
            initialize(model, made(option), generator(), trial((64, 10), 5))


class Sign(nn.Module):
    def forward(self, x):
        return x.sign()


def test_an_activation_that_passes_no_gradient_cannot_be_balanced():
    model = perceptron([10, 30, 5], Sign)
    with pytest.raises(ValueError, match="no gradient reaches the layer with a weight of 30 x 10"):
        initialize(model, made("data_dependent"), generator(), trial((64, 10), 5))


@pytest.mark.parametrize("layers", [1, 2, 3])
@torch.no_grad()
def test_fixup_shrinks_branches_and_begins_at_nothing(layers):
    blocks, width = 4, 200
    body = [Residual(perceptron([width] * (layers + 1))) for _ in range(blocks)]
    model = nn.Sequential(nn.Linear(10, width), *body, nn.ReLU(), nn.Linear(width, 3)).double()
    given = trial((16, 10), 3)
    initialize(model, made("fixup"), generator(), given)
    torch.testing.assert_close(model[:-2](given.x), model[0](given.x))  # branches give 0
    assert (model(given.x) == 0).all()
    assert float(model[0].weight.std()) == pytest.approx(1 / sqrt(10), rel=0.06)
    for block in body:
        *inner, last = weighted(block)
        assert len(inner) == layers - 1
        assert (last.weight == 0).all()
        for layer in inner:
            scale = blocks ** (-1 / (2 * layers - 2))
            assert float(layer.weight.std()) == pytest.approx(scale / sqrt(width), rel=0.03)


def test_fixup_needs_residual_branches():
    with pytest.raises(ValueError, match="no residual branches; use architecture=resnet"):
        initialize(perceptron([10, 4, 3]), made("fixup"), generator(), trial((16, 10), 3))


def test_multi_restart_keeps_the_start_of_the_lowest_objective():
    given, winners, model = trial((32, 10), 5), set(), perceptron([10, 30, 5])
    for seed in range(3):
        objectives, stream = [], generator(seed)
        for _ in range(6):
            initialize(model, made("multi_restart", starts=1), stream)
            objectives.append(float(squared(model, given.x, given.y).detach()))
        initialize(model, made("multi_restart", starts=6), generator(seed), given)
        assert float(squared(model, given.x, given.y).detach()) == min(objectives)
        winners.add(objectives.index(min(objectives)))
    assert winners - {0}


def test_a_start_whose_objective_is_no_number_is_never_kept():
    seen = []

    def minimized(model, x, y):
        seen.append(model[0].weight.detach().clone())
        return torch.tensor([float("nan"), 5.0, 4.0, float("inf")][len(seen) - 1])

    model, given = perceptron([10, 5]), trial((32, 10), 5)._replace(minimized=minimized)
    initialize(model, made("multi_restart", starts=4), generator(), given)
    assert torch.equal(model[0].weight, seen[2])


@pytest.mark.parametrize("value", [0.0, 0.2])
def test_equal_weights_leave_the_units_of_a_layer_equal_for_ever(value):
    model, given = perceptron([10, 6, 4, 5], nn.Tanh), trial((32, 10), 5)
    option = made("constant", value=value) if value else made("zeros")
    initialize(model, option, generator())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        squared(model, given.x, given.y).backward()
        optimizer.step()
    first, second, last = weighted(model)
    for layer in (first, second):
        torch.testing.assert_close(layer.weight, layer.weight[:1].expand_as(layer.weight))
    torch.testing.assert_close(last.weight, last.weight[:, :1].expand_as(last.weight))
    assert last.bias.abs().min() > 1e-4  # it did train
    if not value:
        assert not any(layer.weight.any() for layer in (first, second, last))


# The layers


def test_fans_are_those_of_torch():
    for shape in [(7, 5), (4, 3, 5), (6, 2, 3, 4)]:
        expected = nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
        assert fans(torch.empty(shape)) == expected


def test_layers_are_linear_or_convolutional_and_their_weights_parameters():
    frozen = nn.Linear(2, 2)
    del frozen.weight
    frozen.register_buffer("weight", torch.eye(2))
    model = nn.ModuleList(
        [nn.Linear(2, 3), nn.LayerNorm((2, 2)), frozen, nn.Conv1d(1, 2, 3), nn.Embedding(3, 2)]
    )
    assert weighted(model) == [model[0], model[3]]


def test_a_row_of_zeros_has_no_direction():
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="a row of zeros"):
        set_weight(layer, torch.zeros(2, 3))


def test_factories_give_initializers():
    assert all(isinstance(made(option), Initializer) for option in OPTIONS)
