"""Classes in the plane, drawn under `seed`: shapes that show what a model can and cannot separate.

x is (N, 2). Where the lectures speak of class 1 against the rest it is index 1, the rest index 0.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from runner.components.dataset.data import Data, split
from runner.components.dataset.rows import Several
from runner.foundation import rng
from runner.foundation.ranges import Count, NonNegative, Positive, Seed

BLOBS = ((-1.5, -1.0), (1.5, -1.0), (0.0, 1.5))  # centres of the three modes
BLOB_RADIUS = 0.8
CLOUD_SPREAD = 0.15  # of the clouds of `spoiler`, around x1 = -1 and x1 = 1
SPOILERS = {"point": (-4.0, 6.0), "cluster": (12.0, 0.0)}


@split
def quadrants(seed: Seed, *, samples: Count) -> Data:
    """Draw points of [-1, 1]²; class 1 is where x1 x2 > 0, the first and the third quadrant.

    The best line, x1 + x2 = 2/3, cuts off one corner and is right for 2/3 of the points.
    """
    x = _square(seed, samples, 1.0)
    return _plane(x, x[:, 0] * x[:, 1] > 0, "second or fourth", "first or third")


@split
def annulus(seed: Seed, *, samples: Count) -> Data:
    """Draw points of [-3, 3]²; class 1, a share of 3π/36, is where 1 <= ‖x‖ <= 2."""
    x = _square(seed, samples, 3.0)
    radius = x.norm(dim=1)
    return _plane(x, (radius >= 1) & (radius <= 2), "outside", "ring")


@split
def three_modes(seed: Seed, *, samples: Count) -> Data:
    """Draw points of [-3, 3]²; class 1, a share of 3 · 0.64π/36, is three separate discs."""
    x = _square(seed, samples, 3.0)
    distance = torch.cdist(x, torch.tensor(BLOBS))  # (N, 3)
    return _plane(x, (distance <= BLOB_RADIUS).any(1), "outside", "disc")


@split
def xor(seed: Seed, *, samples: Count, noise: NonNegative) -> Data:
    """Draw clouds around (±1, ±1) in turn; class 1 is where exactly one coordinate is positive.

    `noise` is the standard deviation of a cloud.
    """
    row = torch.arange(samples)
    bits = torch.stack([row % 2, row // 2 % 2], 1)
    x = 2.0 * bits - 1 + noise * _gaussian(seed, samples)
    return _plane(x, bits[:, 0] != bits[:, 1], "alike", "unlike")


@split
def moons(seed: Seed, *, samples: Count, noise: NonNegative) -> Data:
    """Place two half circles of radius 1 that reach into each other, and add Gaussian noise.

    Class 0 is (cos t, sin t), class 1 is (1 - cos t, 1/2 - sin t), t evenly spaced in [0, π].
    """
    upper, lower = (torch.linspace(0, math.pi, n) for n in (samples // 2, samples - samples // 2))
    points = torch.cat(
        [
            torch.stack([upper.cos(), upper.sin()], 1),
            torch.stack([1 - lower.cos(), 0.5 - lower.sin()], 1),
        ]
    )
    x = points + noise * _gaussian(seed, samples)
    return _plane(x, torch.arange(samples) >= len(upper), "upper", "lower")


@split
def spirals(
    seed: Seed, *, samples: Count, arms: Several, turns: Positive, noise: NonNegative
) -> Data:
    """Draw points along spiral arms, one class each, and add Gaussian noise.

    Radius r is uniform in [0.1, 1], as all arms meet at 0; arm k of K is at the angle
    2π (turns r + k/K).
    """
    arm = torch.arange(samples) % arms
    radius = 0.1 + 0.9 * torch.rand(samples, generator=rng.generator(seed, "points"))
    angle = 2 * math.pi * (turns * radius + arm / arms)
    curve = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    x = curve + noise * _gaussian(seed, samples)
    return Data(x, arm, "classification", tuple(f"arm {k}" for k in range(arms)))


@split
def spoiler(seed: Seed, *, samples: Count, spoiler: Literal["none", "point", "cluster"]) -> Data:
    """Draw two clouds that a line separates, and what draws the loss away from that line.

    The clouds are `samples` points in turn around (-1, 0), class 0, and (1, 0), class 1. The
    spoiler is of class 1, and a line still separates all: a `point` at (-4, 6), which squared
    errors of a sigmoid give up, or a `cluster` of a fifth as many points around (12, 0), far on
    the correct side, for which those of a linear output give up points of the clouds. A
    perceptron gives up none (Brady, Raghavan and Slawny 1989).
    """
    further = {"none": 0, "point": 1, "cluster": max(1, samples // 5)}[spoiler]
    y = torch.cat([torch.arange(samples) % 2, torch.ones(further, dtype=torch.long)])
    centre = torch.stack([2.0 * y - 1, torch.zeros(len(y))], 1)
    spread = torch.full((len(y), 1), CLOUD_SPREAD)
    if further:
        centre[samples:] = torch.tensor(SPOILERS[spoiler])
    if spoiler == "point":
        spread[samples:] = 0
    return _plane(centre + spread * _gaussian(seed, len(y)), y, "left", "right")


def _square(seed: int, samples: int, half: float) -> Tensor:
    """Draw points (N, 2) uniformly from [-half, half]²."""
    return half * (2 * torch.rand(samples, 2, generator=rng.generator(seed, "points")) - 1)


def _gaussian(seed: int, samples: int) -> Tensor:
    """Draw (N, 2) standard normal numbers from the stream of the noise."""
    return torch.randn(samples, 2, generator=rng.generator(seed, "noise"))


def _plane(x: Tensor, y: Tensor, rest: str, named: str) -> Data:
    return Data(x, y.long(), "classification", (rest, named))
