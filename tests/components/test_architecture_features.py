"""What fixed features can do, and what they cannot."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from runner.components.architecture.features import Bells, Cosines
from runner.config import build, check_node
from runner.foundation import options


def made(option, inputs, outputs):
    node = check_node(options.node("architecture", option), "architecture", "architecture")
    return build(node, inputs, outputs, None)  # fixed features have no units


def annulus(count, seed):
    """Points of a square, class 1 where 1 <= |x| <= 2; standardized."""
    x = np.random.default_rng(seed).uniform(-3, 3, (count, 2))
    y = (np.abs(np.linalg.norm(x, axis=1) - 1.5) <= 0.5).astype(float)
    return torch.from_numpy(x / math.sqrt(3)), torch.from_numpy(y)


def fitted(option, x, y):
    """Build a model and give its last layer the least-squares solution, a little damped."""
    torch.manual_seed(0)
    model = made(option, x.shape[1:], 1).double().eval()
    with torch.no_grad():
        features = model[:-1](x)
        mean, goal = features.mean(0), y - y.mean()
        centered = features - mean
        gram = centered.T @ centered + 1e-6 * len(x) * torch.eye(len(mean))
        model[-1].weight[0] = torch.linalg.solve(gram, centered.T @ goal)
        model[-1].bias[0] = y.mean() - model[-1].weight[0] @ mean
    return model


@pytest.mark.parametrize(
    ("option", "low", "high"),
    [("linear", 0.70, 0.78), ("quadratic", 0.70, 0.80), ("random_fourier", 0.95, 1.0),
     ("rbf", 0.95, 1.0)],
)  # fmt: skip
def test_features_separate_an_annulus_where_a_line_cannot(option, low, high):
    model = fitted(option, *annulus(3000, seed=0))
    x, y = annulus(2000, seed=1)
    with torch.no_grad():
        accuracy = ((model(x)[:, 0] > 0.5) == (y > 0.5)).double().mean().item()
    assert low <= accuracy <= high


def test_quadratic_features_give_the_quadrants():
    x = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1000, 2)))
    y = (x.prod(1) > 0).double()
    with torch.no_grad():
        assert (((fitted("quadratic", x, y)(x)[:, 0]) > 0.5) == (y > 0.5)).double().mean() > 0.97


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_cosines_approach_the_gaussian_kernel(scale):
    torch.manual_seed(0)
    x = torch.randn(20, 3)
    features = Cosines(3, 40_000, scale)(x)
    expected = np.exp(-cdist(x, x, "sqeuclidean") / (2 * scale**2))
    np.testing.assert_allclose(features @ features.T / 40_000, expected, atol=5 / math.sqrt(40_000))


def test_bells_are_one_at_their_centers_and_never_more():
    torch.manual_seed(0)
    layer = Bells(4, 50, 0.3)
    at_centers = layer(layer.centers)
    np.testing.assert_allclose(at_centers.diagonal(), 1, rtol=1e-4)
    assert at_centers.max() < 1 + 1e-4
    assert layer(100 + layer.centers).max() == 0


@pytest.mark.parametrize("option", ["random_fourier", "rbf"])
def test_what_is_drawn_is_kept_but_not_trained(option):
    model = made(option, (2,), 3)
    assert [name for name, _ in model.named_parameters()] == ["2.weight", "2.bias"]
    assert set(dict(model.named_buffers())) < set(model.state_dict())
