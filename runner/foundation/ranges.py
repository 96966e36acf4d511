"""Ranges of numbers, written into signatures so that a signature is a schema.

    def sgd(*, lr: Positive) -> Optimizer: ...

`Annotated[float, Range(...)]` costs nothing when a factory is called from Python; `config.check`
reads it and refuses a number outside before anything is built.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Range:
    """An interval of finite numbers; an open end does not belong to it."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return abs(value) < math.inf and above and below  # nan is not below infinity

    def __str__(self) -> str:
        if self.low == -math.inf and self.high == math.inf:
            return "finite"
        if self.high == math.inf:
            return f"{'>' if self.low_open else '>='} {self.low:.10g}"
        if self.low == -math.inf:
            return f"{'<' if self.high_open else '<='} {self.high:.10g}"
        opening, closing = "(" if self.low_open else "[", ")" if self.high_open else "]"
        return f"in {opening}{self.low:.10g}, {self.high:.10g}{closing}"


Finite = Annotated[float, Range()]
Positive = Annotated[float, Range(low=0, low_open=True)]
NonNegative = Annotated[float, Range(low=0)]
Fraction = Annotated[float, Range(0, 1)]  # [0, 1]
ProperFraction = Annotated[
    float, Range(0, 1, high_open=True)
]  # [0, 1): decay rates, held-out parts
AtLeastOne = Annotated[float, Range(low=1)]
KeepProbability = Annotated[float, Range(0, 1, low_open=True)]  # (0, 1]
Count = Annotated[int, Range(low=1)]
Natural = Annotated[int, Range(low=0)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
