"""Lengths of time in a run: steps, epochs or a share of the whole, resolved once to steps.

A configuration says `every: 10epochs`, `200steps` or `5%`; the code below `config` only ever
sees a whole number of steps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

_PATTERN = re.compile(r"(?P<amount>\d+(\.\d+)?)\s*(?P<unit>steps?|epochs?|%)")
_MINUTES = re.compile(r"(\d+(\.\d+)?)\s*minutes?")
ENDLESS = 10**12  # steps of a run that only a clock ends
EXAMPLES = "a duration such as 200steps, 10epochs or 5%"


@dataclass(frozen=True)
class Clock:
    """What turns a duration into steps."""

    steps_per_epoch: int
    total: int  # steps of the whole run

    def steps(self, duration: str) -> int:
        """Return the number of steps, at least 1 unless the duration is 0."""
        amount, unit = parse(duration)
        if unit == "%" and self.total >= ENDLESS:
            raise ValueError(f"{duration} of what? give trainer.epochs or trainer.steps")
        scale = {"s": 1, "e": self.steps_per_epoch, "%": self.total / 100}[unit[0]]
        return max(round(amount * scale), 1) if amount else 0


def parse(text: str) -> tuple[float, str]:
    """Split `10epochs` into (10.0, 'epochs'); a ValueError says what a duration looks like."""
    match = _PATTERN.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None or (match["unit"] == "%" and float(match["amount"]) > 100):
        raise ValueError(f"expected {EXAMPLES}")
    if match["unit"].startswith("step") and not float(match["amount"]).is_integer():
        raise ValueError("expected a whole number of steps")
    return float(match["amount"]), match["unit"]


def minutes(text: str) -> float | None:
    """Return 5.0 for `5minutes`, which the clock on the wall measures; None for steps and such."""
    match = _MINUTES.fullmatch(text.strip()) if isinstance(text, str) else None
    return float(match[1]) if match else None


class InSteps:
    """Mark a parameter whose configured value is a duration and whose run-time value is steps."""

    examples = EXAMPLES

    def check(self, value: str) -> None:
        """Raise a ValueError, with the reason if there is more to say than what is expected."""
        self._length(value)

    def _length(self, value: str) -> float:
        try:
            return parse(value)[0]
        except ValueError:
            raise ValueError("") from None


class NotZero(InSteps):
    """The same, where a duration of nothing makes no sense."""

    def check(self, value: str) -> None:
        """Raise a ValueError, also for nothing."""
        if not self._length(value):
            raise ValueError("it must be longer than nothing")


class OrMinutes(NotZero):
    """The same, where the clock on the wall may measure too."""

    examples = "a duration such as 200steps, 10epochs, 5% or 5minutes"

    def _length(self, value: str) -> float:
        found = minutes(value)
        return super()._length(value) if found is None else found


PeriodText = Annotated[str, NotZero()]  # in a section of settings, which is not built
PeriodOrMinutesText = Annotated[str, OrMinutes()]
Duration = Annotated[int, InSteps()]
Period = Annotated[int, NotZero()]
