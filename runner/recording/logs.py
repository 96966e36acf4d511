"""Append-only logs that resume exactly: a checkpoint notes how long each log was.

After a crash a log may be longer than the checkpoint knows; resuming cuts it back to that length
and the steps run again write the same bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from runner.foundation.errors import UnusableCheckpoint
from runner.foundation.files import finite, to_disk, unwritable

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


class Log:
    """A file that only grows, and knows its length."""

    def __init__(self, path: Path, length: int | None = None):
        """Open for appending, cut back to `length` bytes when resuming."""
        self.path = path
        try:
            if length is not None:
                if (found := path.stat().st_size if path.exists() else 0) < length:
                    raise UnusableCheckpoint(f"{path}: {found} bytes, the checkpoint saw {length}")
                os.truncate(path, length)
            self._file = path.open("ab")
        except OSError as error:
            raise unwritable(path, error) from error

    def write(self, data: bytes) -> None:
        """Append, and hand it to the operating system at once."""
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            raise unwritable(self.path, error) from error

    def row(self, row: dict[str, Any]) -> None:
        """Append one JSON object on a line of its own; nan and infinity become null."""
        try:
            text = _encode(row)
        except ValueError:
            text = _encode(finite(row))
        self.write(text.encode() + b"\n")

    def length(self) -> int:
        """Return how many bytes there are."""
        return self._file.tell()

    def sync(self) -> None:
        """Bring to the disk what was written; the log may be closed meanwhile."""
        try:
            to_disk(self.path)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Close the file; what was written stays."""
        with contextlib.suppress(OSError):
            self._file.close()
