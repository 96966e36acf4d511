"""Checkpoints: whole or absent, verified by content, loadable without running code.

A file `step-<n>-<hash>.pt` carries the first 16 hex digits of the SHA-256 of its bytes, since
torch.load verifies nothing. The newest and the one before it are kept; each is complete in
itself, best weights included. Format 2 knows the configuration too, what bits depend on beside
it, and which run it is of; the former format is read all the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from runner.foundation.errors import UnusableCheckpoint, Unwritable
from runner.foundation.files import write_atomic

FORMAT = 2
KNOWN = (1, FORMAT)
SINCE_2 = {"config", "fingerprint", "started"}
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


def load(
    folder: Path,
    warn: Callable[[str], None],
    parts: Collection[str] = (),
    sizes: Mapping[str, int] | None = None,
    unfit: Callable[[dict[str, Any]], str] = lambda content: "",
) -> dict[str, Any]:
    """Return the newest checkpoint that is whole and has these parts, naming each that has not.

    `sizes` are bytes by name, as far as they are known; `unfit` says why a whole checkpoint cannot
    be used here. Raises `UnusableCheckpoint` with the reasons when none is left.
    """
    reasons = []
    for path in listed(folder):
        try:
            content = read(path, (sizes or {}).get(path.name))
            later = SINCE_2 if content["format"] < FORMAT else set()
            if absent := set(parts) - set(content) - later:
                raise UnusableCheckpoint(f"{path.name}: {', '.join(sorted(absent))} absent")
            if why := unfit(content):
                raise UnusableCheckpoint(f"{path.name}: {why}")
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


def read(path: Path, size: int | None = None) -> dict[str, Any]:
    """Read one checkpoint; raises `UnusableCheckpoint` unless its bytes are what was written.

    `size` is how many bytes those were, if that is known.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnusableCheckpoint(f"{path.name}: cannot be read: {error.strerror}") from error
    if what := _other(data):
        raise UnusableCheckpoint(f"{path.name}: not a checkpoint: {what}")
    if size is not None and len(data) != size:
        raise UnusableCheckpoint(f"{path.name}: size {len(data)} of {size} bytes")
    if _hash(data) != path.stem.rpartition("-")[2]:
        raise UnusableCheckpoint(f"{path.name}: content hash differs ({len(data)} bytes)")
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the bytes make torch say
        reason = "not a checkpoint, or one that would run code"
        raise UnusableCheckpoint(f"{path.name}: {reason}") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise UnusableCheckpoint(f"{path.name}: not a checkpoint: it holds a {kind}")
    if not isinstance(found := content.get("format"), int) or found not in KNOWN:
        raise UnusableCheckpoint(f"{path.name}: {_unknown(content, found)}")
    return content if found == FORMAT else _as_today(content)


def _other(data: bytes) -> str:
    """Say what bytes are that were never a checkpoint, or nothing."""
    if not data:
        return "it is empty"
    if data[:200].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            names = file.namelist()
            unpacked = sum(each.file_size for each in file.infolist())
    except Exception:  # whatever it makes of the bytes of one that was cut short
        return ""
    if unpacked > len(data):  # torch packs nothing, and would fetch memory for all of it
        return f"it unpacks to {unpacked:,} bytes"
    if any(name.endswith("data.pkl") for name in names):
        return ""
    return f"it is an archive of {', '.join(names[:3]) or 'nothing'}"


def _unknown(content: dict[Any, Any], found: object) -> str:
    """Say why a dict of another format cannot be resumed from."""
    known = f"this version knows {' and '.join(map(str, KNOWN))}"
    if isinstance(found, int) and found > FORMAT:
        return f"format {found}, written by a newer version; {known}"
    names = [str(name) for name, each in content.items() if isinstance(each, torch.Tensor)]
    if found is None and names:
        return f"weights alone ({', '.join(names[:3])}, ...), with nothing to go on from; {known}"
    return f"format {found}; {known}"


def _as_today(content: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint of format 1 with what its runs could not have had: steps left out."""
    if isinstance(state := content.get("state"), dict):
        content["state"] = {"skipped": 0, "unmoved": 0, "rollbacks": 0, **state}
    return content


def listed(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, newest first; foreign and temporary files are not."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("*.pt"))
    named = [(match, path) for match, path in found if match and path.is_file()]
    return [path for match, path in sorted(named, key=_age, reverse=True)]


def newest(folder: Path) -> int | None:
    """Return the step of the newest checkpoint of a folder, whole or not."""
    return next((_step(path) for path in listed(folder)), None)


def sizes(folder: Path, known: Mapping[str, int]) -> dict[str, int]:
    """Return the bytes of each checkpoint: of the newest, just written, and of others as known."""
    written, older = listed(folder)[:1], listed(folder)[1:]
    before = {path.name: known[path.name] for path in older if path.name in known}
    return {**{path.name: path.stat().st_size for path in written}, **before}


def _age(named: tuple[re.Match[str], Path]) -> tuple[int, int]:
    return int(named[0][1]), named[1].stat().st_mtime_ns


def _step(path: Path) -> int:
    return int(path.name.split("-")[1])


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
