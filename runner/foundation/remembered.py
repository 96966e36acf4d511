"""What `auto` decided, kept per machine and structure, so that it is never decided twice.

A decision is a mapping of four words: `what` (a key of the configuration), `value`, `reason`, and
`for` (whom: model and batches, in words). The first to be remembered under a key stands, whoever
comes later, until `forget`. Where nothing can be written, nothing is remembered.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.foundation.errors import Unwritable
from runner.foundation.files import read_json, unwritable, write_json

Decision = dict[str, Any]
WORDS = {"what", "value", "reason", "for"}
_IDENTITY = ("model name", "cpu family", "model", "CPU implementer", "CPU part")  # x86, then ARM
_VECTORS = ("avx512f", "avx2", "sve", "asimd")  # from the widest; kernels are chosen by them


def folder() -> Path:
    """Return the cache folder, whether or not it exists."""
    if given := os.environ.get("RUNNER_CACHE"):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "runner"


def kernels() -> Path:
    """Return where compiled kernels are kept, whether or not it exists."""
    return folder() / "inductor"


def obstacle() -> str:
    """Return why the cache folder cannot be used, in words; nothing where it can, or be made."""
    nearest = next(each for each in [folder(), *folder().parents] if each.exists())
    if not nearest.is_dir():
        return f"{nearest} is not a folder"
    return "" if os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} cannot be written"


def recall(key: str) -> Decision | None:
    """Return what was decided under a key."""
    return listed().get(key)


def remember(key: str, decision: Decision) -> Decision:
    """Keep a decision unless there is one under this key; return the one that stands."""
    assert decision.keys() >= WORDS, decision
    try:
        with _alone():
            decisions = listed()
            if key not in decisions:
                write_json(_path(), {**decisions, key: decision})
    except (OSError, Unwritable):
        pass
    return recall(key) or decision


def listed() -> dict[str, Decision]:
    """Return every decision; what is none, in a broken or foreign file, is passed over."""
    return {
        key: content
        for key, content in read_json(_path()).items()
        if isinstance(content, dict) and content.keys() >= WORDS
    }


def forget() -> int:
    """Forget every decision and delete compiled kernels; return how many decisions there were.

    Raises `Unwritable`, also where there is nothing because nothing can be kept.
    """
    if why := obstacle():
        raise Unwritable(f"{folder()}: the cache folder cannot be used: {why}")
    if not folder().is_dir():
        return 0
    try:
        with _alone():
            count = len(listed())
            _path().unlink(missing_ok=True)
            if kernels().exists():
                shutil.rmtree(kernels())
    except OSError as error:
        raise unwritable(Path(error.filename or folder()), error) from error
    return count


def machine() -> str:
    """Return in a few words what speed and bits depend on here; nothing that names the host."""
    processors = len(os.sched_getaffinity(0))
    torch = importlib.metadata.version("torch")
    return f"{processor()}, {processors} usable, torch {torch}, {platform.machine()}"


def processor() -> str:
    """Name the processor and its vector unit; a virtual machine may hide the very model."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return platform.processor()
    pairs = (line.partition(":")[::2] for line in first.splitlines())
    facts = {name.strip(): value.strip() for name, value in pairs}
    extensions = (facts.get("flags") or facts.get("Features") or "").split()
    named = [facts[name] for name in _IDENTITY if name in facts]
    return " ".join([*named, *[each for each in _VECTORS if each in extensions][:1]])


def key(*texts: str) -> str:
    """Hash texts, such as the machine and the structure, to 16 hexadecimal digits."""
    return hashlib.blake2b(json.dumps(texts).encode(), digest_size=8).hexdigest()


def _path() -> Path:
    return folder() / "decisions.json"


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hold the folder, which is made if need be, after whoever holds it; raises OSError."""
    folder().mkdir(parents=True, exist_ok=True)
    with (folder() / ".lock").open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
