"""Files that are whole or absent, and a lock that frees itself when its process dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from runner.foundation.errors import InUse, Unwritable


def write_atomic(path: Path, content: bytes | str, sync: bool = True) -> None:
    """Write a file so that readers see the old content or the new, never a part.

    Temporary file in the same folder, fsync, rename, fsync of the folder. Raises `Unwritable`
    and leaves the old file as it was. Without `sync` a power cut may bring the old file back.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
        if sync:
            to_disk(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from error


def write_json(path: Path, content: Any, sync: bool = True) -> None:
    """Write readable JSON atomically; nan and infinity become null, as JSON has neither."""
    text = json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(path, text + "\n", sync)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing or broken file is an empty one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


# The parser in C, which PyYAML has where libyaml was there to build it, is seven times as fast.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):
    """Read 1e-5 as the number it is; YAML 1.1, which asks for 1.0e-5, makes a text of it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+"),
    list("-+.0123456789"),
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; a missing or broken file is an empty one."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return full keys: `{dataset: {root: x}}` becomes `{dataset.root: x}`."""
    values: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            values |= flat(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = value
    return values


def unwritable(path: Path, error: OSError) -> Unwritable:
    """Return the error to raise when a file system says no."""
    return Unwritable(f"{path}: cannot write: {error.strerror or error}")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; raises `InUse` with the holder's name if it is taken."""
    try:
        file = (folder / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise unwritable(folder / ".lock", error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InUse(f"{folder}: in use by {file.read().strip() or 'another process'}") from None
        file.truncate(0)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        file.write(f"pid {os.getpid()} on host {socket.gethostname()}, started {started}")
        file.flush()
        yield


@contextlib.contextmanager
def locked_in_turn(folder: Path, wait: Callable[[InUse], None]) -> Iterator[None]:
    """Hold a folder once it is free; `wait` is called as long as another has it, and may raise."""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(locked(folder))
                break
            except InUse as error:
                wait(error)
        yield


def held(folder: Path) -> bool:
    """Tell whether a process is at work in this folder, without touching it."""
    try:
        with (folder / ".lock").open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def to_disk(path: Path) -> None:
    """Bring a file or a folder to the disk, whoever has it open."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def finite(content: Any) -> Any:
    """Return content that JSON can hold: nan and infinity become None."""
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, float) and content - content != 0:  # nan and infinity alone
        return None
    return content
