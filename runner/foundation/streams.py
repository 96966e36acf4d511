"""The standard streams: a command goes on without them, and no letter is too much for them."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

_NOBODY_READS = (errno.EPIPE, errno.EIO)  # a pipe to `head`, a terminal that was closed


class Forgiving:
    """A stream for as long as it takes what is written; from then on it goes nowhere.

    `failure` says why, unless it is that nobody reads any more.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.failure: OSError | None = None
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or not."""
        try:
            return self._stream.write(text)
        except OSError as error:
            self._leave(error)
            return len(text)

    def flush(self) -> None:
        """Hand on what was written, or drop it."""
        try:
            self._stream.flush()
        except OSError as error:
            self._leave(error)

    def _leave(self, error: OSError) -> None:
        """Let what is written, here or at the exit of Python, go nowhere."""
        if error.errno not in _NOBODY_READS:
            self.failure = self.failure or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def forgiving() -> Iterator[list[OSError]]:
    """Go on, inside, whatever becomes of standard output and error.

    Gives a list which holds, afterwards, why not all of the output could be written.
    """
    _opened()
    failures: list[OSError] = []
    before = sys.stdout, sys.stderr
    ours = [Forgiving(stream) if stream is not None else None for stream in before]
    sys.stdout, sys.stderr = cast(list[TextIO], ours)
    try:
        yield failures
    finally:
        for stream in filter(None, ours):
            stream.flush()
        sys.stdout, sys.stderr = before
        output = ours[0]
        failures += [output.failure] if output is not None and output.failure else []


def _opened() -> None:
    """Open what was closed by who started us: a file of ours would get its number."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number
