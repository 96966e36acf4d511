"""Checkpoints: whole or absent, verified by content, loadable without running code.

A file `step-<n>-<hash>.pt` carries the first 16 hex digits of the SHA-256 of its bytes, since
torch.load verifies nothing. The newest and the one before it are kept; each is complete in
itself, best weights included.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch

from runner.foundation.errors import UnusableCheckpoint, Unwritable
from runner.foundation.files import write_atomic

FORMAT = 1
_NAME = re.compile(r"step-(\d+)-([0-9a-f]{16})\.pt")


def save(folder: Path, step: int, content: dict[str, Any]) -> Path:
    """Write a checkpoint, verify it, and only then remove all but it and the one before it.

    Files of later steps go too: they were damaged, or this run would have gone on from them.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **content}, buffer)
    data = buffer.getvalue()
    path = folder / f"step-{step}-{_hash(data)}.pt"
    write_atomic(path, data)
    if _hash(path.read_bytes()) != path.stem.rpartition("-")[2]:
        raise Unwritable(f"{path}: what was written reads back differently")
    older = [each for each in listed(folder) if _step(each) < step]
    for each in listed(folder):
        if each not in (path, *older[:1]):
            with contextlib.suppress(OSError):
                each.unlink()
    return path


def load(folder: Path, warn: Callable[[str], None], parts: Collection[str] = ()) -> dict[str, Any]:
    """Return the newest checkpoint that is whole and has these parts, naming each that has not.

    Raises `UnusableCheckpoint` with the reasons when none is.
    """
    reasons = []
    for path in listed(folder):
        try:
            content = read(path)
            if absent := set(parts) - set(content):
                raise UnusableCheckpoint(f"{path.name}: {', '.join(sorted(absent))} absent")
        except UnusableCheckpoint as error:
            reasons.append(str(error))
            continue
        for reason in reasons:
            warn(f"{reason}; using step {content['step']}")
        return content
    listing = "\n".join(f"  {reason}" for reason in reasons)
    raise UnusableCheckpoint(
        f"{folder}: no usable checkpoint; start afresh with the same command\n{listing}".rstrip()
    )


def clean(folder: Path, warn: Callable[[str], None]) -> None:
    """Name and remove what a save that was cut left behind; only for who holds the lock."""
    for left in folder.glob(".step-*.tmp"):
        warn(f"{left.name}: left by a save that was cut; removed")
        left.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """Read one checkpoint; raises `UnusableCheckpoint` unless its bytes are what was written."""
    data = path.read_bytes()
    if _hash(data) != path.stem.rpartition("-")[2]:
        raise UnusableCheckpoint(f"{path.name}: content hash differs ({len(data)} bytes)")
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the bytes make torch say
        reason = "not a checkpoint, or one that would run code"
        raise UnusableCheckpoint(f"{path.name}: {reason}") from error
    if not isinstance(content, dict):
        raise UnusableCheckpoint(f"{path.name}: not a checkpoint: it holds a {type(content)}")
    if (found := content.get("format")) != FORMAT:
        raise UnusableCheckpoint(f"{path.name}: format {found}, this version knows {FORMAT}")
    return content


def listed(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, newest first; foreign and temporary files are not."""
    named = [(match, path) for path in folder.glob("*.pt") if (match := _NAME.fullmatch(path.name))]
    return [path for match, path in sorted(named, key=_age, reverse=True)]


def _age(named: tuple[re.Match[str], Path]) -> tuple[int, int]:
    return int(named[0][1]), named[1].stat().st_mtime_ns


def _step(path: Path) -> int:
    return int(path.name.split("-")[1])


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
