"""Axes as functions of Hydra's grammar: `linspace(0,1,5)` and `logspace(1e-4,1,9)`.

Hydra looks at annotations as they stand, so they are no texts here.
"""

import math
from typing import Union

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep

DIGITS = 12  # significant, so that 0.1 + 0.2 is shown as 0.3
MOST = 100_000  # values of an axis
Number = Union[int, float]  # noqa: UP007  # what Hydra's check of arguments knows


def parser() -> OverridesParser:
    """Return Hydra's parser of overrides, which knows these functions too."""
    parser = OverridesParser.create()
    for function in (linspace, logspace):
        parser.functions.register(name=function.__name__, func=function)
    return parser


def linspace(start: Number, stop: Number, n: int) -> ChoiceSweep:
    """Return n values from start to stop, both included, equally far apart."""
    _check(start, stop, n)
    step = (stop - start) / (n - 1)
    return _choice(start, [start + at * step for at in range(1, n - 1)], stop)


def logspace(start: Number, stop: Number, n: int) -> ChoiceSweep:
    """Return n values from start to stop, both included, each the same multiple of the last."""
    _check(start, stop, n)
    if start <= 0 or stop <= 0:
        raise ValueError("both ends must be above 0")
    low, high = math.log(start), math.log(stop)
    step = (high - low) / (n - 1)
    return _choice(start, [math.exp(low + at * step) for at in range(1, n - 1)], stop)


def _check(start: Number, stop: Number, n: int) -> None:
    if not math.isfinite(start) or not math.isfinite(stop):
        raise ValueError("both ends must be finite")
    if not 2 <= n <= MOST:
        raise ValueError(f"the number of values must be in [2, {MOST}]")


def _choice(start: Number, between: list[float], stop: Number) -> ChoiceSweep:
    values = [float(start), *map(rounded, between), float(stop)]
    return ChoiceSweep(list=values, simple_form=True)  # type: ignore[arg-type]


def rounded(value: float) -> float:
    """Return a number without the digits that binary fractions add."""
    return float(f"{value:.{DIGITS}g}")
