"""Gaussian noise, a number for each value of a sample.

How many values a sample has is known only where the noise is added. So each sample draws a seed,
and its noise is a pure function of that seed: the counter-based SplitMix64 (Steele, Lea and Flood
2014), then the inverse of the normal distribution.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from runner.components.augmentation.kind import Augmentation, need_rows
from runner.foundation.ranges import NonNegative

GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # unsigned constants, as the signed whole numbers torch has
FIRST = 0xBF58476D1CE4E5B9 - 2**64
SECOND = 0x94D049BB133111EB - 2**64


def noise(*, strength: NonNegative) -> Augmentation:
    """Add N(0, s^2) to each value, s = `strength` times the range of its channel or column.

    The range is highest minus lowest value over the batch, and over all positions in images and
    signals. In tables each column keeps to its own scale, for which a batch needs two rows.
    """

    def draw(count: int, generator: Generator) -> Tensor:
        bounds = (-(2**63), 2**63 - 1)
        return torch.randint(*bounds, (count, 1), generator=generator, device=generator.device)

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        if x.dim() == 2:
            need_rows(x, "noise in a table")
        over = [at for at in range(x.dim()) if at != 1]
        ranges = x.amax(over, keepdim=True) - x.amin(over, keepdim=True)
        numbers = torch.special.ndtri(uniform_of(draws, x[0].numel())).to(x.dtype)
        return x + strength * ranges * numbers.reshape(x.shape), y

    return Augmentation(draw, apply)


def uniform_of(seeds: Tensor, count: int) -> Tensor:
    """Turn seeds (B, 1) into (B, count) float64 numbers in (0, 1), `count` for each seed.

    The upper 52 bits of SplitMix64 and a half, so that 0 and 1 never come.
    """
    state = seeds + GOLDEN * torch.arange(1, count + 1, device=seeds.device)
    state = (state ^ _shifted(state, 30)) * FIRST
    state = (state ^ _shifted(state, 27)) * SECOND
    state = state ^ _shifted(state, 31)
    return (_shifted(state, 12).double() + 0.5) * 2.0**-52


def _shifted(state: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros, where torch would repeat the sign."""
    return (state >> bits) & (2 ** (64 - bits) - 1)
