"""Files that are whole or absent, and a lock that frees itself when its process dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import resource
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from math import inf
from pathlib import Path
from typing import Any

import yaml

from runner.foundation import forms, secrets
from runner.foundation.errors import InUse, Misconfigured, Unwritable


def write_atomic(path: Path, content: bytes | str, sync: bool = True) -> None:
    """Write a file so that readers see the old content or the new, never a part.

    Temporary file in the same folder, fsync, rename, fsync of the folder. Raises `Unwritable`
    and leaves the old file as it was. Without `sync` a power cut may bring the old file back.
    Bytes of a path that are no text become escapes, which JSON knows.
    """
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:  # never through a link that lies there
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
        if sync:
            to_disk(path.parent)
    except BaseException as error:  # a signal may raise here too
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error, len(data)) from error
        raise


def clean(folder: Path, name: str, warn: Callable[[str], None]) -> None:
    """Name and remove what cut writes of files called `name`, a pattern, left in a folder.

    Only for who holds the folder's lock: nobody else writes there.
    """
    for left in sorted(folder.glob(f".{name}.*.tmp")):
        if left.name.split(".")[-2].isdecimal():
            warn(f"{left.name}: left by a save that was cut; removed")
            with contextlib.suppress(OSError):
                left.unlink()


def write_json(path: Path, content: Any, sync: bool = True) -> None:
    """Write readable JSON atomically; nan and infinity become null, as JSON has neither."""
    text = json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomic(path, text + "\n", sync)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing or broken file is an empty one."""
    try:
        content = json.loads(_text(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return forms.fitted(path.name, content)


MOST_VALUES, MOST_BYTES, DEEPEST = 100_000, 1_000_000, 100  # of a YAML file


def misfits(path: Path) -> list[str]:
    """Return where a JSON file has not the form of those of its name: `jobs.4f.directory`."""
    try:
        return list(forms.misfits(path.name, json.loads(_text(path))))
    except (OSError, ValueError, RecursionError):
        return []


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
        text = _text(path)
        content = {} if "<<:" in text or _deep(text) else yaml.load(text, _Loader)
        large = _size(content, {}) >= MOST_VALUES
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    return {} if large else forms.fitted(path.name, content)


def _text(path: Path) -> str:
    """Read a file that is one; who opens a pipe waits for whoever writes to it."""
    if not path.is_file():
        raise FileNotFoundError(path)
    return path.read_text(encoding="utf-8")


def _deep(text: str) -> bool:
    """Tell whether a YAML text may be nested so deeply that the parser in C dies of it."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    in_a_line = re.search(rf"^ *([-?][ \t]+){{{DEEPEST}}}", text, re.MULTILINE)
    return deepest > DEEPEST or len(text) > MOST_BYTES or in_a_line is not None


def _size(content: Any, known: dict[int, float]) -> float:
    """Count values, those repeated by reference again: a few lines of YAML may stand for billions.

    What holds itself is infinite.
    """
    if not isinstance(content, dict | list):
        return 1
    if id(content) not in known:
        known[id(content)] = inf
        inside = content.values() if isinstance(content, dict) else content
        known[id(content)] = 1 + sum(_size(each, known) for each in inside)
    return known[id(content)]


def flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return full keys: `{dataset: {root: x}}` becomes `{dataset.root: x}`."""
    values: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            values |= flat(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = value
    return values


def unwritable(path: Path, error: OSError, need: int = 0) -> Unwritable:
    """Return the error to raise when a file system says no to so many bytes, or to a file."""
    if error.errno not in FULL:
        return Unwritable(f"{path}: cannot write: {error.strerror or error}")
    facts = ([f"need {_amount(need)}"] if need else []) + _room(path, error)
    numbers = f" ({', '.join(facts)})" if facts else ""
    return Unwritable(f"{FULL[error.errno]} writing {path}{numbers}")


FULL = {
    errno.ENOSPC: "disk full",
    errno.EDQUOT: "disk quota used up",
    errno.EFBIG: "file size limit reached",
}


def _room(path: Path, error: OSError) -> list[str]:
    """Say how much could have been written, where that is known."""
    if error.errno == errno.EFBIG:
        limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
        return [f"limit {_amount(limit)}"] if limit != resource.RLIM_INFINITY else []
    if error.errno == errno.EDQUOT:
        return []
    try:
        there = os.statvfs(path.parent)
    except OSError:
        return []
    files = ["no file more"] if there.f_files and not there.f_favail else []
    return [f"free {_amount(there.f_bavail * there.f_frsize)}", *files]


def _amount(count: int) -> str:
    """Return a number of bytes in three digits or so."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.{0 if count >= 10 * size else 1}f} {unit}"
    return f"{count} bytes" if count else "0"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; raises `InUse` with the holder's name if it is taken."""
    path = folder / ".lock"
    try:
        file = os.fdopen(_itself(str(path), os.O_RDWR | os.O_CREAT | os.O_APPEND), "a+b", 0)
    except OSError as error:
        raise unwritable(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().decode().strip() or "another process"
            raise InUse(f"{folder}: in use by {holder}") from None
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        text = f"pid {os.getpid()} on host {socket.gethostname()}, started {started}"
        try:
            file.truncate(0)
            file.write(text.encode())
        except OSError as error:
            raise unwritable(path, error, len(text)) from error
        refuse_links(folder)
        yield


def _itself(path: str, flags: int) -> int:
    """Open a file, not what a link of its name leads to, and no pipe to wait at."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def refuse_links(folder: Path) -> None:
    """Raise `Misconfigured` for a link in a directory that is about to be written in.

    A directory from a stranger may hold links to anywhere, and pipes that nobody writes to.
    """
    for path in _strange(str(folder)):
        raise Misconfigured(
            f"{path}: a link, or no file at all; what is written here stays here: remove it"
        )


def _strange(folder: str) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _strange(entry.path)
            elif not entry.is_file(follow_symlinks=False):
                yield entry.path


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
        with open(folder / ".lock", "rb", opener=_itself) as file:
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
    """Return content that JSON may hold: nan and infinity become None, secrets their names."""
    if isinstance(content, str):
        return secrets.without(content)
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, float) and content - content != 0:  # nan and infinity alone
        return None
    return content
