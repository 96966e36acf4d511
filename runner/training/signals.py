"""SIGINT, SIGTERM and SIGHUP: at once outside a step, at the step's end inside the loop."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from runner.foundation.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Waiting:
    """What the loop looks at: the number of the signal that came, or 0."""

    number = 0


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Let a signal raise `Interrupted` wherever the program is."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number, f"interrupted by {signal.Signals(number).name}")

    with _handled(handle):
        yield


@contextlib.contextmanager
def deferred() -> Iterator[Waiting]:
    """Note the first signal for the loop to act on; leave at once at the second."""
    waiting = Waiting()

    def handle(number: int, frame: FrameType | None) -> None:
        if waiting.number:
            os._exit(128 + number)
        waiting.number = number

    with _handled(handle):
        yield waiting


@contextlib.contextmanager
def _handled(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = [(number, signal.signal(number, handle)) for number in SIGNALS]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
