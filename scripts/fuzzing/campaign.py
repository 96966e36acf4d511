"""Try example after example; count how they end, and shrink the first of each kind of fault."""

from __future__ import annotations

import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.strategies import SearchStrategy

BLOCK = 250  # examples that are drawn together
E = TypeVar("E")


@dataclass(frozen=True)
class Outcome:
    """How one example ended: counted as `kind`; `fault` names what is wrong, if something is.

    `repeat` is the command that shows it, `shown` what it printed; `folder` holds what it needs,
    and is removed where nobody has to repeat it.
    """

    kind: str
    fault: str = ""
    repeat: str = ""
    shown: str = ""
    folder: Path | None = None

    def forget(self) -> None:
        """Remove what was kept to repeat it."""
        if self.folder is not None:
            shutil.rmtree(self.folder)


@dataclass
class Tally:
    """How many examples were tried, how they ended, and one outcome of each fault."""

    tried: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    faults: dict[str, Outcome] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)  # each fault was met


class _Found(Exception):
    """Tells hypothesis that an example has the fault it is to shrink."""


class Campaign(Generic[E]):
    """Examples of a strategy, each put to `attempt`."""

    def __init__(self, strategy: SearchStrategy[E], attempt: Callable[[E], Outcome], seed: int):
        self.strategy, self.attempt, self.seed = strategy, attempt, seed
        self.tally = Tally()

    def run(self, count: int) -> Iterator[Tally]:
        """Try so many examples; yields after each block."""
        block = 0
        while (left := count - self.tally.tried) > 0:
            before = self.tally.tried
            self._block(min(left, BLOCK), hash((self.seed, block)) & 0xFFFFFFFF)
            yield self.tally
            if self.tally.tried == before:
                return
            block += 1

    def _block(self, count: int, seed: int) -> None:
        """Try a block of examples; the first fault that is new is shrunk and kept."""
        wanted: list[str] = []
        smallest: dict[str, Outcome] = {}

        def one(example: E) -> None:
            outcome = self.attempt(example)
            if not wanted:
                self._count(outcome)
            if not wanted and outcome.fault and outcome.fault not in self.tally.faults:
                wanted.append(outcome.fault)
            if [outcome.fault] != wanted:
                outcome.forget()
                return
            if outcome.fault in smallest:
                smallest[outcome.fault].forget()
            smallest[outcome.fault] = outcome
            raise _Found

        try:
            _property(one, self.strategy, count, seed)()
        except (_Found, hypothesis.errors.HypothesisException):  # the latter: not each time
            self.tally.faults |= smallest

    def _count(self, outcome: Outcome) -> None:
        self.tally.tried += 1
        self.tally.kinds[outcome.kind] += 1
        if outcome.fault:
            self.tally.times[outcome.fault] += 1


def _property(
    one: Callable[[Any], None], strategy: SearchStrategy[Any], count: int, seed: int
) -> Callable[[], None]:
    settings = hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    return settings(hypothesis.seed(seed)(hypothesis.given(strategy)(one)))


def command(*words: str) -> str:
    """Return a command line to paste into bash, whatever the words hold."""
    return " ".join(["runner", *map(_quoted, words)])


def _quoted(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    raw = word.encode("utf-8", "surrogateescape")
    letters = [chr(byte) if 32 <= byte < 127 and byte not in b"\\'" else f"\\x{byte:02x}"
               for byte in raw]  # fmt: skip
    return f"$'{''.join(letters)}'"
