"""What a verdict is, and what it is passed on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Severity = Literal["fault", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "note")
Numbers = Mapping[str, float | None]


class Verdict(NamedTuple):
    """Something that is wrong with a run, on evidence.

    name       of the kind of fault
    severity   fault: it does not train as it is; warning: it trains worse than it could;
               note: good to know
    text       one sentence that holds the number
    number, threshold   what was measured, and from where on it is wrong
    source     of the threshold: a lecture (S0 to S4), a paper, or our own measurement
    override   what to type instead, or ""
    """

    name: str
    severity: Severity
    text: str
    number: float
    threshold: float
    source: str
    override: str = ""


class Kind(NamedTuple):
    """A kind of fault: what all verdicts of its name share, and what the page says of it.

    measure    what the number is
    threshold  above which it is wrong; below which, where `below`
    source     of the threshold
    remedy     what is offered, in general; "" where no word would help
    """

    name: str
    severity: Severity
    measure: str
    threshold: float
    source: str
    remedy: str
    below: bool = False

    def verdict(self, number: float, text: str, override: str = "") -> Verdict:
        """Return a case of it."""
        return Verdict(
            self.name, self.severity, text, number, self.threshold, self.source, override
        )


@dataclass(frozen=True)
class Evidence:
    """A run as its files tell it.

    settings  flat: chosen options by group, values by full key
    facts     of data and model, from before the first step (`runner.assemble.facts`)
    probes    rows of probes.jsonl: step, epoch, layers, network
    rows      of metrics.jsonl
    status    status.json
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    probes: Sequence[Mapping[str, Any]] = ()
    rows: Sequence[Mapping[str, Any]] = ()
    status: Mapping[str, Any] = field(default_factory=dict)

    @property
    def first(self) -> Mapping[str, Any]:
        """Return the probe of the untrained network, or an empty one."""
        found = self.probes[0] if self.probes and self.probes[0]["step"] == 0 else {}
        return found or {"step": 0, "layers": {}, "network": {}}

    @property
    def ended(self) -> bool:
        """Tell whether training is over: what only time can show may be judged."""
        return self.status.get("state") in ("finished", "diverged")

    def hidden(self, probe: Mapping[str, Any], key: str) -> list[float]:
        """Return a number of each hidden layer, those that have an activation, in order."""
        layers = self.facts.get("layers", {})
        names = [name for name, known in layers.items() if known.get("activation")]
        values = [probe["layers"].get(name, {}).get(key) for name in names]
        return [value for value in values if value is not None and math.isfinite(value)]

    @property
    def start(self) -> float | None:
        """Return the loss that training began with; with what it adds, penalty and dropout."""
        start, points = self.first["network"].get("loss"), self.curve("train/loss")
        if start is None or not math.isfinite(start):
            return None
        added = self.chosen("regularizer") != "none" or self.chosen("dropout") != "none"
        return max(start, points[0][1]) if points and added else start

    @property
    def to_learn(self) -> float | None:
        """Return how much loss there is to take away: what a constant answer has, or less.

        A random start may have more. None where nothing is known of the loss.
        """
        start, floor, chance = self.start, self.facts.get("floor"), self.facts.get("chance")
        if not start or floor is None:
            return None
        level = start
        if chance is not None and chance > floor and self.chosen("regularizer") == "none":
            level = float(chance)  # of some losses equal scores are no mistake
        return max(min(start, level) - floor, 1e-12)

    @property
    def left(self) -> float | None:
        """Return the share of that which is left at the end."""
        points, whole = self.curve("train/loss"), self.to_learn
        if not points or whole is None:
            return None
        last = median([value for _, value in points[-3:]])
        return max(0.0, last - float(self.facts["floor"])) / whole

    def chosen(self, group: str) -> str:
        """Return the option of a group, or "none"."""
        return str(self.settings.get(group, "none"))

    def curve(self, key: str) -> list[tuple[int, float]]:
        """Return the points of a curve."""
        return [
            (row["step"], row[key])
            for row in self.rows
            if isinstance(row.get(key), int | float) and math.isfinite(row[key])
        ]


Rule = Callable[[Evidence], Iterator[Verdict]]


def median(values: Sequence[float]) -> float:
    """Return the middle of some numbers."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
