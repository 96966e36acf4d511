"""SIGINT, SIGTERM and SIGHUP: at once outside a step, at the step's end inside the loop."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import ClassVar

from runner.foundation.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Waiting:
    """What the loop looks at: the number of the signal that came, or 0."""

    number = 0


@contextlib.contextmanager
def raising() -> Iterator[None]:
    """Let a signal raise `Interrupted` wherever the program is."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise _by(number)

    with _handled(handle):
        yield


class _Process:
    """What is known of the process: whether it is the command's own, what goes before its end."""

    own = False
    last_words: ClassVar[list[Callable[[Interrupted], Interrupted]]] = []


def own_process() -> None:
    """Say that nobody else needs this process: a signal may end it from within its handler."""
    _Process.own = True


@contextlib.contextmanager
def before_leaving(call: Callable[[Interrupted], Interrupted]) -> Iterator[None]:
    """Call this before a signal ends the process here; what it returns is what is told."""
    _Process.last_words.append(call)
    try:
        yield
    finally:
        _Process.last_words.remove(call)


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """Let a signal end the process wherever it is, and a second one at once.

    An exception from a handler may be lost: whatever calls back, an import or a finalizer, passes
    it over, C++ aborts. So it is raised only where the process is not the command's own.
    """
    came: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if came:
            os._exit(128 + number)
        came.append(number)
        if not _Process.own:
            raise _by(number)
        _leave(_by(number))

    with _handled(handle):
        yield


def _by(number: int) -> Interrupted:
    return Interrupted(number, f"interrupted by {signal.Signals(number).name}")


def _leave(error: Interrupted) -> None:
    for call in reversed(_Process.last_words):
        with contextlib.suppress(Exception):  # the others have a word too
            error = call(error)
    with contextlib.suppress(OSError):
        os.write(2, f"runner: {error}\n".encode())
    _end_children(os.getpid())
    end(error.exit_code)


def _end_children(process: int) -> None:
    """Ask what a process has started, a compiler say, to end too, where the system tells."""
    for listing in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, listing.read_text().split()):
                _end_children(child)
                os.kill(child, signal.SIGTERM)


def end(code: int) -> None:
    """End here and now: to take apart what a signal came upon, a compiler say, takes seconds."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # it was being written to
            stream.flush()
    os._exit(code)


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
