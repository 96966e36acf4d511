"""Augmentations that mix samples of a batch and their targets with them."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from runner.components.augmentation.kind import Augmentation, need_rows, per_sample
from runner.foundation.ranges import Positive

TRIES = 16  # candidates for a Gamma number; each is taken with more than 0.95


def mixup(*, alpha: Positive) -> Augmentation:
    """Mix each sample with another: lambda x_i + (1 - lambda) x_j, and their targets likewise.

    lambda ~ Beta(`alpha`, `alpha`) for each sample; the partners j are a permutation of the
    batch (Zhang et al. 2018).
    """

    def draw(count: int, generator: Generator) -> Tensor:
        keys = torch.rand(count, 1, generator=generator, device=generator.device)
        return torch.cat([beta(alpha, count, generator), keys], 1)

    def apply(x: Tensor, y: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
        need_rows(x, "mixup")
        kept, partner = draws[:, 0], draws[:, 1].argsort()
        return mixed(x, partner, kept), mixed(y, partner, kept)

    return Augmentation(draw, apply, mixes=True)


def mixed(rows: Tensor, partner: Tensor, kept: Tensor) -> Tensor:
    """Return kept * rows + (1 - kept) * the partners' rows."""
    assert rows.is_floating_point(), "classes are mixed as one-hot rows"
    kept = per_sample(kept.to(rows.dtype), rows)
    return kept * rows + (1 - kept) * rows[partner]


def beta(alpha: float, count: int, generator: Generator) -> Tensor:
    """Draw (count, 1) numbers of Beta(alpha, alpha): g / (g + h), g and h Gamma(alpha) numbers."""
    first, second = (_log_gamma(alpha, count, generator) for _ in range(2))
    return torch.sigmoid(first - second)


def _log_gamma(alpha: float, count: int, generator: Generator) -> Tensor:
    """Draw logarithms (count, 1) of Gamma(alpha) numbers (Marsaglia and Tsang 2000).

    A number of Gamma(alpha + 1) is d v with v = (1 + z / sqrt(9 d))^3, d = alpha + 2/3, z normal,
    if log u < z^2 / 2 + d (1 - v + log v) for a uniform u; times w^(1 / alpha), w uniform, it is
    one of Gamma(alpha). Of 16 candidates the first that fits is taken, so that no draw waits for
    the device; that none fits happens once in 10^20. Small alpha would underflow but for the log.
    """
    draws = torch.rand(
        count, 2 * TRIES + 1, generator=generator, device=generator.device, dtype=torch.float64
    )
    u, z, w = draws.split([TRIES, TRIES, 1], 1)
    z = torch.special.ndtri(z.clamp(min=2.0**-53))
    d = alpha + 2 / 3
    v = (1 + z / (9 * d) ** 0.5) ** 3
    log_v = v.clamp(min=torch.finfo(v.dtype).tiny).log()
    fits = (v > 0) & ((1 - u).log() < z.square() / 2 + d * (1 - v + log_v))
    chosen = log_v.gather(1, fits.long().argmax(1, keepdim=True))
    return chosen + (1 - w).log() / alpha
