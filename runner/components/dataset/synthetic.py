"""Problems made by a formula: least squares of known curvature, features on unlike scales, probes.

Most ask for `preprocessing=none`: their scales are the point, and standardizing takes them away.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor

from runner.components.dataset.data import Data, split
from runner.components.dataset.rows import Several
from runner.foundation import rng
from runner.foundation.ranges import Count, NonNegative, Positive, Range, Seed

# Beyond 1e8 float32 cannot hold the smallest singular value of X to three digits.
Condition = Annotated[float, Range(1, 1e8)]

TEMPERATURE, HUMIDITY = (40.0, 100.0), (0.3, 0.6)


@split
def sine_cubic(seed: Seed, *, samples: Count, noise: NonNegative) -> Data:
    """Place x evenly in [-π, π], y = sin x + noise · N(0, 1), for `architecture=cubic` to fit."""
    x = torch.linspace(-math.pi, math.pi, samples)[:, None]
    return _numbers(x, x.sin() + noise * _normal(seed, "noise", samples, 1).float())


@split
def least_squares(
    seed: Seed,
    *,
    samples: Count,
    features: Count,
    condition: Condition | None,
    noise: NonNegative,
) -> Data:
    """Draw y = X w* + noise · N(0, 1) with X and w* standard normal.

    `condition` is the ratio of the largest to the smallest eigenvalue of XᵀX / N, the curvature
    of the mean squared error; null leaves X as drawn. With a condition the eigenvalues are
    spaced evenly in their logarithm from 1 down, the axes are turned at random, and the columns
    have mean 0, so that a bias, whose curvature is 1, leaves the condition as it is. It holds
    over all rows, thus for training when `valid` and `test` are 0.
    """
    x = _normal(seed, "inputs", samples, features)
    if condition is not None:
        x = _conditioned(x, condition, _normal(seed, "axes", features, features))
    y = x @ _normal(seed, "weights", features, 1) + noise * _normal(seed, "noise", samples, 1)
    return _numbers(x, y)


@split
def quadratic(*, curvatures: list[Positive]) -> Data:
    """Give f(w) = Σ a_i w_i², a_i the `curvatures`, as the mean squared error of a linear model.

    For each a_i of D there are the rows ±sqrt(D a_i) e_i with target 0. As rows come with their
    mirror image, a bias b adds b² and nothing else. The Hessian is diag(2 a_i): gradient descent
    is stable for lr < 1 / max a_i.
    """
    if not curvatures:
        raise ValueError("curvatures: expected at least one number, as in [1, 4]")
    rows = (len(curvatures) * torch.tensor(curvatures)).sqrt().diag()
    return _numbers(torch.cat([rows, -rows]), torch.zeros(2 * len(curvatures), 1))


@split
def unlike_columns(
    seed: Seed,
    *,
    samples: Count,
    scales: tuple[Positive, Positive],
    deviation: Positive | None,
    noise: NonNegative,
) -> Data:
    """Draw two columns on unlike scales, independent or nearly the same.

    x = (s1 z1, s2 z2) with z1 standard normal and z2 = z1 + deviation · N(0, 1), or z2 standard
    normal too if `deviation` is null; y = z1 + z2 + noise · N(0, 1). Standardizing cures the
    scales and leaves the correlation, which takes whitening.
    """
    z = _normal(seed, "inputs", samples, 2)
    if deviation is not None:
        z[:, 1] = z[:, 0] + deviation * z[:, 1]
    y = z.sum(1, keepdim=True) + noise * _normal(seed, "noise", samples, 1)
    return _numbers(z * torch.tensor(scales), y)


@split
def weather_synthetic(seed: Seed, *, samples: Count, noise: NonNegative) -> Data:
    """Draw temperature in [40, 100] and humidity in [0.3, 0.6], both of which count alike for y.

    y is the sum of the two in units of their standard deviations, plus noise · N(0, 1).
    """
    uniform = torch.rand(samples, 2, generator=rng.generator(seed, "inputs"), dtype=torch.double)
    low, high = torch.tensor([TEMPERATURE, HUMIDITY], dtype=torch.double).unbind(1)
    x = low + (high - low) * uniform
    y = (uniform - 0.5).sum(1, keepdim=True) * math.sqrt(12)  # U(0, 1) has variance 1/12
    return _numbers(x, y + noise * _normal(seed, "noise", samples, 1))


@split
def gaussian_probe(seed: Seed, *, samples: Count, features: Count, classes: Several) -> Data:
    """Draw standard normal inputs, and classes at random that have nothing to do with them.

    Push the inputs through an untrained net to see what an initializer does to activations and
    gradients; trained on, a net can but learn the rows by heart.
    """
    stream = rng.generator(seed, "classes")
    y = torch.randint(classes, (samples,), generator=stream)
    x = _normal(seed, "inputs", samples, features).float()
    return Data(x, y, "classification", tuple(map(str, range(classes))))


@split
def shifted_minibatches(
    seed: Seed,
    *,
    samples: Count,
    features: Count,
    block: Count,
    scale: tuple[Positive, Positive],
    offset: NonNegative,
) -> Data:
    """Draw rows whose blocks each have a scale and an offset of their own: covariate shift.

    Before the shift x is standard normal and the class says on which side of a random plane
    through 0 it lies. Each `block` of rows in a row is then multiplied by a number of U(scale)
    and moved by offset · N(0, 1), drawn for each feature. With `scale: [1, 1]` and `offset: 0`
    the rows are those before the shift. `valid` and `test` of 0 keep the blocks whole.
    """
    low, high = scale
    if low > high:
        raise ValueError(f"scale: expected the smaller number first, got [{low:g}, {high:g}]")
    x = _normal(seed, "inputs", samples, features)
    side = (x @ _normal(seed, "weights", features, 1))[:, 0] > 0
    blocks = -(-samples // block)
    uniform = torch.rand(blocks, 1, generator=rng.generator(seed, "scale"), dtype=torch.double)
    factor = low + (high - low) * uniform
    moved = offset * _normal(seed, "offset", blocks, features)
    at = torch.arange(samples) // block
    shifted = (x * factor[at] + moved[at]).float()
    return Data(shifted, side.long(), "classification", ("below", "above"))


def _conditioned(x: Tensor, condition: float, axes: Tensor) -> Tensor:
    """Return X of the same shape with this condition: sqrt(N) Q diag(sqrt(eigenvalue)) Vᵀ."""
    samples, features = x.shape
    if samples <= features:
        raise ValueError(
            f"condition {condition:g} needs more samples than features, got {samples} and "
            f"{features}; use dataset.samples={2 * features} or dataset.condition=null"
        )
    if features == 1 and condition != 1:
        raise ValueError(f"a single feature has condition 1, got {condition:g}")
    eigenvalues = torch.logspace(0, -math.log10(condition), features, dtype=x.dtype)
    columns, _ = torch.linalg.qr(x - x.mean(0))  # (N, D), orthonormal, and to a constant column
    turned, _ = torch.linalg.qr(axes)  # (D, D)
    return math.sqrt(samples) * (columns * eigenvalues.sqrt()) @ turned.T


def _normal(seed: int, purpose: str, rows: int, columns: int) -> Tensor:
    """Draw standard normal numbers, in double, as the formulas above are exact."""
    return torch.randn(rows, columns, generator=rng.generator(seed, purpose), dtype=torch.double)


def _numbers(x: Tensor, y: Tensor) -> Data:
    return Data(x.float(), y.float(), "regression", ("y",))
