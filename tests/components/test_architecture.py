"""Architectures against a forward pass written by hand, at every option of `conf/architecture`."""

from dataclasses import make_dataclass
from itertools import pairwise
from math import prod

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from scipy.signal import correlate2d
from torch import nn

from runner.config import Node, build, check
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "architecture"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("architecture", Node)], kw_only=True)
INPUTS, OUTPUTS = (2, 9, 8), 5


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"architecture": content | changes}, SCHEMA).architecture


def rectified(layer):
    return nn.Sequential(layer, nn.ReLU())


def affine(x, weight, bias):
    return x.reshape(len(x), -1) @ weight.T + bias


def perceptron(x, parameters):
    """Return W_n relu(... relu(W_1 x + b_1)) + b_n, the parameters being W_1, b_1, W_2, ..."""
    *hidden, last = zip(parameters[::2], parameters[1::2], strict=True)
    for weight, bias in hidden:
        x = np.maximum(affine(x, weight, bias), 0)
    return affine(x, *last)


def convolved(image, weight, bias):
    """Return the correlation of one image with each kernel, zeros around it, size kept."""
    maps = [
        sum(
            correlate2d(plane, kernel, mode="same")
            for plane, kernel in zip(image, each, strict=True)
        )
        for each in weight
    ]
    return np.stack(maps) + bias[:, None, None]


def pooled(image, size):
    """Return the largest value of each block of size x size, leaving out what is over."""
    rows, columns = image.shape[1] // size, image.shape[2] // size
    cut = image[:, : rows * size, : columns * size]
    return cut.reshape(len(image), rows, size, columns, size).max((2, 4))


def convolutional(x, parameters):
    *stages, last = zip(parameters[::2], parameters[1::2], strict=True)
    features = []
    for image in x:
        feature = image
        for weight, bias in stages:
            feature = np.maximum(convolved(feature, weight, bias), 0)
            feature = pooled(feature, 2) if min(feature.shape[1:]) >= 2 else feature
        features.append(feature.ravel())
    return affine(np.stack(features), *last)


REFERENCES = {"linear": perceptron, "mlp": perceptron, "cnn": convolutional}
WIDTHS = {"linear": [], "mlp": [128, 128], "cnn": [16, 32, 64]}  # the units of each YAML file


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(WIDTHS) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_outputs_are_those_of_a_pass_by_hand(option):
    model = build(node(option), INPUTS, OUTPUTS, rectified).double()
    x = np.random.default_rng(0).normal(size=(3, *INPUTS))
    with torch.no_grad():
        outputs = model(torch.from_numpy(x)).numpy()
    expected = REFERENCES[option](x, [each.detach().numpy() for each in model.parameters()])
    assert outputs.shape == (3, OUTPUTS)
    np.testing.assert_allclose(outputs, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("option", OPTIONS)
def test_units_get_each_bare_hidden_layer_and_never_the_last(option):
    seen = []

    def unit(layer):
        seen.append(layer)
        return nn.Sequential(layer, nn.Tanh())

    model = build(node(option), INPUTS, OUTPUTS, unit)
    assert [each.weight.shape[0] for each in seen] == WIDTHS[option]
    assert all(type(each) in (nn.Linear, nn.Conv2d) for each in seen)
    layers = [each for each in model.modules() if isinstance(each, nn.Linear | nn.Conv2d)]
    assert [id(each) for each in layers[:-1]] == [id(each) for each in seen]
    assert layers[-1].out_features == OUTPUTS


@pytest.mark.parametrize("hidden", [[], [1], [7], [300, 2, 40]])
@pytest.mark.parametrize("inputs", [(4,), (1, 8, 8)])
def test_mlp_has_the_widths_asked_for(hidden, inputs):
    model = build(node("mlp", hidden=hidden), inputs, OUTPUTS, rectified)
    widths = [prod(inputs), *hidden, OUTPUTS]
    expected = sum(before * after + after for before, after in pairwise(widths))
    assert sum(each.numel() for each in model.parameters()) == expected
    assert model(torch.zeros(2, *inputs)).shape == (2, OUTPUTS)


@pytest.mark.parametrize("channels", [[3], [4, 5, 6, 7]])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("pool", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (28, 28)])
def test_cnn_fits_every_image_and_kernel(channels, kernel, pool, size):
    choice = node("cnn", channels=channels, kernel=kernel, pool=pool)
    model = build(choice, (2, *size), OUTPUTS, rectified)
    assert model(torch.zeros(2, 2, *size)).shape == (2, OUTPUTS)


@pytest.mark.parametrize("inputs", [(13,), (8, 8)])
def test_cnn_refuses_what_is_no_image(inputs):
    with pytest.raises(Misconfigured, match=r"architecture: cnn needs images .*, got \("):
        build(node("cnn"), inputs, OUTPUTS, rectified)


def test_cnn_without_stages_is_a_linear_map():
    model = build(node("cnn", channels=[]), INPUTS, OUTPUTS, rectified)
    x = torch.randn(3, *INPUTS, generator=torch.Generator().manual_seed(0))
    weight, bias = (each.detach().numpy() for each in model.parameters())
    expected = affine(x.numpy(), weight, bias)
    np.testing.assert_allclose(model(x).detach().numpy(), expected, atol=1e-5)
