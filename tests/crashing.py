"""End a process, as a power cut would, at a point of a save: at any call that touches the disk."""

from __future__ import annotations

import concurrent.futures
import contextlib
import io
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CALLS = ("open", "write", "fsync", "replace", "rename", "unlink", "remove", "truncate", "ftruncate")
EXIT = 9
_open, _submit = io.open, concurrent.futures.ThreadPoolExecutor.submit


def die() -> None:
    """End this process: nobody tidies up."""
    os._exit(EXIT)


class Points:
    """Count the points that threads of a name pass in each save, and end at one of them.

    With `notes` they are written into that file instead.
    """

    def __init__(
        self,
        save: int,
        point: int,
        notes: str | None = None,
        thread: str = "checkpoint",
        end: Callable[[], None] = die,
    ):
        self.place, self.notes, self.thread, self.end = (save, point), notes, thread, end
        self.saves, self.points = 0, 0

    def begin(self) -> None:
        """Count anew: the next save has begun."""
        self.saves, self.points = self.saves + 1, 0

    def here(self) -> bool:
        """Tell whether this thread counts."""
        return threading.current_thread().name.startswith(self.thread)

    def passed(self, name: str) -> None:
        """Pass a point, or end there."""
        if not self.here():
            return
        self.points += 1
        if self.notes is not None:
            with _open(self.notes, "a") as file:
                file.write(f"{self.saves} {self.points} {name}\n")
        elif (self.saves, self.points) == self.place:
            self.end()


class File:
    """A file that is written in two halves."""

    def __init__(self, file: Any, points: Points):
        self._file, self._points = file, points

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> File:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        """Write half, then all."""
        self._points.passed("write")
        self._file.write(data[: len(data) // 2])
        self._file.flush()
        self._points.passed("half written")
        self._file.write(data[len(data) // 2 :])
        return len(data)

    def flush(self) -> None:
        """Hand on to the operating system."""
        self._points.passed("flush")
        self._file.flush()


@contextlib.contextmanager
def pointed(points: Points) -> Iterator[None]:
    """Let every call that touches the disk be a point."""

    def before(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(file: Any, *given: Any, **named: Any) -> Any:
            points.passed(f"{name} {_called(file)}")
            return call(file, *given, **named)

        return counted

    def opened(file: Any, mode: str = "r", *given: Any, **named: Any) -> Any:
        points.passed(f"open {mode} {_called(file)}")
        made = _open(file, mode, *given, **named)
        return File(made, points) if points.here() and "r" not in mode else made

    def submitted(self: Any, call: Callable[..., Any], *given: Any) -> Any:
        def task() -> Any:
            points.begin()
            return call(*given)

        return _submit(self, task)

    calls = {name: getattr(os, name) for name in CALLS}
    for name, call in calls.items():
        setattr(os, name, before(name, call))
    io.open = opened  # what pathlib calls
    concurrent.futures.ThreadPoolExecutor.submit = submitted
    try:
        yield
    finally:
        for name, call in calls.items():
            setattr(os, name, call)
        io.open = _open
        concurrent.futures.ThreadPoolExecutor.submit = _submit


def _called(file: Any) -> str:
    return Path(file).name if isinstance(file, str | os.PathLike) else str(file)
