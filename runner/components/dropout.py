"""Dropout: a factory gives one module.

`keep` is the probability that a unit STAYS (torch's `p` is the probability that it goes). The
uniform numbers are drawn outside the training step: the driver calls `draw` before each step, so
that no generator stands inside traced, stacked or compiled code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from runner.foundation.ranges import KeepProbability


def none() -> nn.Module:
    """Keep every unit."""
    return nn.Identity()


def inverted(*, keep: KeepProbability) -> nn.Module:
    """Keep a unit with probability `keep` and divide it by `keep`; change nothing at test."""
    return Inverted(keep)


class Inverted(nn.Module):
    """Multiply by mask / keep in training, mask ~ Bernoulli(keep) for each sample and unit."""

    noise: Tensor | None

    def __init__(self, keep: float):
        super().__init__()
        self.keep = keep
        self.shape: tuple[int, ...] = ()  # of one sample, seen at the first forward pass
        self.register_buffer("noise", None, persistent=False)

    def draw(self, count: int, generator: torch.Generator) -> None:
        """Draw uniform numbers (B, *shape) for the next training step."""
        self.noise = torch.rand(count, *self.shape, generator=generator, device=generator.device)

    def forward(self, x: Tensor) -> Tensor:
        """Drop units of (B, *shape)."""
        if not self.training:
            self.shape = tuple(x.shape[1:])
            return x
        assert self.noise is not None, "draw() comes before a training step"
        return x * (self.noise < self.keep) / self.keep

    def extra_repr(self) -> str:
        """Return the settings for `print(model)`."""
        return f"keep={self.keep}"
