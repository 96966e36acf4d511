"""Append-only logs that resume exactly: a checkpoint notes how long each log was.

After a crash a log may be longer than the checkpoint knows; resuming cuts it back to that length
and the steps run again write the same bytes. What a disk does not take waits in memory.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

from runner.foundation.errors import UnusableCheckpoint
from runner.foundation.files import finite, to_disk, unwritable

WAITS = "it waits in memory, and is tried again with what follows"
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


class Log:
    """A file that only grows, and knows its length; `waiting` is what it has not taken yet."""

    def __init__(self, path: Path, length: int | None = None, waiting: bytes = b""):
        """Open for appending, cut back to `length` bytes when resuming, with what waited then."""
        self.path, self.waiting = path, bytearray(waiting)
        self._file: io.FileIO | None = None
        try:
            if length is not None:
                if (found := path.stat().st_size if path.exists() else 0) < length:
                    raise UnusableCheckpoint(f"{path}: {found} bytes, the checkpoint saw {length}")
                os.truncate(path, length)
            self._opened()
        except OSError as error:
            raise unwritable(path, error) from error

    def write(self, data: bytes = b"") -> None:
        """Append, and hand it to the operating system at once.

        Raises `Unwritable`; what is not written waits, and goes first the next time.
        """
        self.waiting += data
        try:
            while self.waiting:
                del self.waiting[: self._opened().write(self.waiting)]
        except OSError as error:
            raise unwritable(self.path, error, len(self.waiting)) from error

    def row(self, row: dict[str, Any]) -> None:
        """Append one JSON object on a line of its own; nan and infinity become null."""
        try:
            text = _encode(row)
        except ValueError:
            text = _encode(finite(row))
        self.write(encoded(f"{text}\n"))

    def length(self) -> int:
        """Return how many bytes are in the file."""
        return self._opened().tell()

    def sync(self) -> None:
        """Bring to the disk what was written; the log may be closed meanwhile."""
        try:
            to_disk(self.path)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Close the file until the next write; what was written stays."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _opened(self) -> io.FileIO:
        if self._file is None:
            self._file = self.path.open("ab", buffering=0)
        return self._file


def encoded(text: str) -> bytes:
    """Return a text as UTF-8; bytes of a path that are no text become escapes."""
    return text.encode(errors="backslashreplace")
