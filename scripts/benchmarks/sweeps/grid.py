"""What is swept: learning rates times seeds of a workload."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

RATES = {"W1": (1e-3, 0.3), "W2": (1e-4, 1e-2), "W3": (1e-3, 0.3)}  # the lowest, the highest
USUAL = {"W1": (64, 60), "W2": (16, 5), "W3": (8, 2)}  # jobs, epochs


class Job(NamedTuple):
    """A learning rate with a seed."""

    lr: float
    seed: int


class Grid(NamedTuple):
    """So many jobs: about as many seeds as learning rates, or fewer."""

    workload: str
    jobs: int
    epochs: int

    @property
    def seeds(self) -> int:
        """Return how many seeds there are: 0, 1, ..."""
        root = math.isqrt(self.jobs)
        return next(seeds for seeds in range(root, 0, -1) if self.jobs % seeds == 0)

    @property
    def rates(self) -> list[float]:
        """Return the learning rates, each the same multiple of the one before."""
        low, high = RATES[self.workload]
        gaps = max(self.jobs // self.seeds - 1, 1)
        return [
            float(f"{low * (high / low) ** (at / gaps):.3g}")
            for at in range(self.jobs // self.seeds)
        ]

    def each(self) -> Iterator[Job]:
        """Yield the jobs."""
        for lr in self.rates:
            for seed in range(self.seeds):
                yield Job(lr, seed)
