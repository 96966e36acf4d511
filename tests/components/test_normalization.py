"""Normalizations against `torch.nn` and numpy, at every option of `conf/normalization`."""

from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from runner.config import Node, build, check
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "normalization"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("normalization", Node)], kw_only=True)
WIDTH = 6
LAYERS = {
    "linear": (nn.Linear(3, WIDTH), (16, WIDTH)),
    "convolution": (nn.Conv2d(3, WIDTH, 3), (16, WIDTH, 5, 4)),
}


class Scaled(nn.Module):
    """Layer normalization over channels and image, with one scale and shift for a channel."""

    def __init__(self, shape):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape[1], dtype=torch.float64))
        self.bias = nn.Parameter(torch.zeros(shape[1], dtype=torch.float64))
        self.norm = nn.LayerNorm(shape[1:], eps=1e-5, elementwise_affine=False)

    def forward(self, x):
        column = (-1, *[1] * (x.dim() - 2))
        return self.norm(x) * self.weight.reshape(column) + self.bias.reshape(column)


def batch_norm(shape):
    return (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(WIDTH, eps=1e-5, momentum=0.1)


REFERENCES = {"none": lambda shape: nn.Identity(), "batch": batch_norm, "layer": Scaled}
# The formula: over which axes of (B, D, ...) a value is standardized in training.
AXES = {"batch": lambda axes: (0, *axes[2:]), "layer": lambda axes: axes[1:]}


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"normalization": content | changes}, SCHEMA).normalization


def pair(option, kind):
    """Return our module and the reference with the same, uneven scale and shift."""
    layer, shape = LAYERS[kind]
    modules = build(node(option), layer).double(), REFERENCES[option](shape).double()
    for module in modules:
        generator = torch.Generator().manual_seed(5)
        for name, parameter in sorted(module.named_parameters()):
            assert name in ("weight", "bias")
            nn.init.uniform_(parameter, 0.5, 2.0, generator=generator)
    return *modules, shape


def inputs(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.arange(1.0, WIDTH + 1).reshape(-1, *[1] * (len(shape) - 2))
    return 3 * features + features * torch.randn(shape, generator=generator, dtype=torch.float64)


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == {*AXES, "none"} == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("kind", LAYERS)
def test_training_evaluation_gradients_and_running_statistics_are_those_of_torch(option, kind):
    ours, theirs, shape = pair(option, kind)
    assert sum(each.numel() for each in ours.parameters()) == sum(
        each.numel() for each in theirs.parameters()
    )
    for step in range(12):
        for module in (ours, theirs):
            module.train(step % 4 != 3)  # every fourth pass is an evaluation
        gradients = []
        for module in (ours, theirs):
            x = inputs(shape, step).requires_grad_()
            outputs = module(x)
            gradients.append([outputs, *torch.autograd.grad(
                outputs.pow(3).sum(), [x, *dict(sorted(module.named_parameters())).values()]
            )])  # fmt: skip
        for mine, reference in zip(*gradients, strict=True):
            torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-9)
        expected = dict(theirs.named_buffers())
        expected.pop("num_batches_tracked", None)
        assert dict(ours.named_buffers()).keys() == expected.keys()
        for name, buffer in ours.named_buffers():
            torch.testing.assert_close(buffer, expected[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("option", AXES)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_training_is_the_formula(option, kind, eps):
    layer, shape = LAYERS[kind]
    x = inputs(shape, 0).numpy()
    over = AXES[option](tuple(range(x.ndim)))
    mean, variance = x.mean(over, keepdims=True), x.var(over, keepdims=True)
    module = build(node(option, eps=eps), layer).double()
    outputs = module(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(outputs, (x - mean) / np.sqrt(variance + eps), atol=1e-10)


@pytest.mark.parametrize("momentum", [0.1, 0.9, 1.0])
def test_running_statistics_of_batch_norm_are_the_recursion_of_its_docstring(momentum):
    layer, shape = LAYERS["convolution"]
    module = build(node("batch", momentum=momentum), layer).double()
    mean, variance = np.zeros(WIDTH), np.ones(WIDTH)
    for step in range(5):
        x = inputs(shape, step)
        module(x)
        values = x.numpy().transpose(1, 0, 2, 3).reshape(WIDTH, -1)
        mean = (1 - momentum) * mean + momentum * values.mean(1)
        variance = (1 - momentum) * variance + momentum * values.var(1, ddof=1)
    np.testing.assert_allclose(module.running_mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(module.running_var.numpy(), variance, rtol=1e-12)


@pytest.mark.parametrize("option", OPTIONS)
def test_modules_are_never_shared(option):
    checked, (layer, _) = node(option), LAYERS["linear"]
    assert build(checked, layer) is not build(checked, layer)


@pytest.mark.parametrize("option", AXES)
def test_a_layer_without_a_width_is_refused(option):
    with pytest.raises(Misconfigured, match="normalization: cannot normalize behind a Flatten"):
        build(node(option), nn.Flatten())
