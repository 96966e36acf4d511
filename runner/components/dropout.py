"""Dropout: a factory gives one module.

`keep` is the probability that a unit STAYS (torch's `p` is the probability that it goes). The
uniform numbers are drawn outside the training step: the driver calls `draw` before each step, so
that no generator stands inside traced, stacked or compiled code.

`average` says how the network of all masks is approached at test: `none` uses the mean of the
mask, a number averages the predictions of so many random masks (Monte Carlo), `exhaustive` those
of all 2^n masks of n units, each weighed by its probability.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from runner.foundation.ranges import Count, KeepProbability

Average = Literal["none", "exhaustive"] | Count


def none() -> nn.Module:
    """Keep every unit."""
    return nn.Identity()


def inverted(*, keep: KeepProbability, average: Average) -> nn.Module:
    """Keep a unit with probability `keep` and divide it by `keep`; change nothing at test."""
    return Dropout(keep, average, inverted=True)


def classic(*, keep: KeepProbability, average: Average) -> nn.Module:
    """Keep a unit with probability `keep`; at test multiply it by `keep` (Hinton et al. 2012).

    Multiplying what a unit gives, or the weights that take it up, is the same.
    """
    return Dropout(keep, average, inverted=False)


def spatial(*, keep: KeepProbability, average: Average) -> nn.Module:
    """Keep or drop whole channels of (B, C, ...), inverted (Tompson et al. 2015)."""
    return Dropout(keep, average, inverted=True, whole_channels=True)


class Dropout(nn.Module):
    """Multiply by a mask ~ Bernoulli(keep) for each sample and unit, or sample and channel.

    With `sampling` the mask is used in evaluation too, for averages over masks.
    """

    noise: Tensor | None

    def __init__(
        self, keep: float, average: Average, *, inverted: bool, whole_channels: bool = False
    ):
        super().__init__()
        self.keep, self.average = keep, average
        self.inverted, self.whole_channels = inverted, whole_channels
        self.sampling = False
        self.shape: tuple[int, ...] = ()  # of one sample's mask, seen at the first forward pass
        self.register_buffer("noise", None, persistent=False)

    def draw(self, count: int, generator: torch.Generator) -> None:
        """Draw uniform numbers (B, *shape) for the next training step."""
        self.noise = torch.rand(count, *self.shape, generator=generator, device=generator.device)

    def forward(self, x: Tensor) -> Tensor:
        """Drop units of (B, *shape)."""
        if not self.training and not self.sampling:
            if self.whole_channels and x.dim() < 3:
                raise ValueError("there are no channels; use dropout=inverted")
            ones = [1] * (x.dim() - 2)
            self.shape = (x.shape[1], *ones) if self.whole_channels else tuple(x.shape[1:])
            return x if self.inverted else x * self.keep
        assert self.noise is not None, "draw() comes before a training step"
        kept = x * (self.noise < self.keep)
        return kept / self.keep if self.inverted else kept

    def extra_repr(self) -> str:
        """Return the settings for `print(model)`."""
        return f"keep={self.keep}"
