"""Files from the network, taken only with the checksum that is known for them.

The checksums are MD5, the only ones the publishers' tables have: whoever can make another file of
the same MD5 made the first one too. Nothing is written before it was verified, and nothing is ever
half a file under its own name. Of an archive only the files that are asked for are taken, each into
the place that is said here, whatever the archive says.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import sys
import tarfile
import urllib.request
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.foundation.errors import BadData
from runner.foundation.files import unwritable, write_atomic

PATIENCE = 30.0  # seconds in which a server has to say something
LARGEST = 1 << 29  # bytes of a file, and of what an archive unpacks to; CIFAR's take 185 MB


def digest(content: bytes) -> str:
    """Return the MD5 of a file's content."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def fetch(addresses: Sequence[str], checksum: str, path: Path) -> bytes:
    """Return the content of `path`, brought there first from the first address that has it right.

    Raises `BadData` with what each address gave instead, `Unwritable` where there is no room.
    """
    if path.is_file() and digest(content := path.read_bytes()) == checksum:
        return content
    reasons = []
    for address in addresses:
        print(f"downloading {address}", file=sys.stderr, flush=True)
        try:
            content = _read(address)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reasons.append(f"{address}: {error or type(error).__name__}")
            continue
        if (found := digest(content)) == checksum:
            write(path, content)
            return content
        reasons.append(
            f"{address}: expected a file of MD5 {checksum}, found {len(content):,} bytes of {found}"
        )
    raise BadData("\n  ".join([f"{path}: could not be downloaded", *reasons]))


def unpack(path: Path, archive: bytes, wanted: Mapping[str, Path]) -> None:
    """Write files of a gzipped tar: `wanted` says which of its names go where.

    Links, devices and what is not wanted are passed over. Raises `BadData` where one is missing.
    """
    found = {}
    try:
        with gzip.open(io.BytesIO(archive)) as packed:
            content = packed.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise BadData(f"{path}: unpacks to more than {LARGEST:,} bytes")
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                file = tar.extractfile(member) if _plain(member) else None
                if member.name in wanted and file is not None:
                    found[member.name] = file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise BadData(f"{path}: expected a gzipped tar archive: {error}") from error
    if missing := [name for name in wanted if name not in found]:
        raise BadData(f"{path}: expected a file {missing[0]} in the archive, found none")
    for name, target in wanted.items():
        write(target, found[name])


def write(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, in a folder that is made if need be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    write_atomic(path, content)


def _plain(member: tarfile.TarInfo) -> bool:
    """Tell a file that holds what it says from links, devices and files with holes."""
    return member.isreg() and not member.issparse() and member.size <= LARGEST


def _read(address: str) -> bytes:
    """Return what stands at an address."""
    request = urllib.request.Request(address, headers={"User-Agent": "runner"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        content: bytes = answer.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"more than {LARGEST:,} bytes")
    if (promised := answer.headers.get("Content-Length")) and int(promised) != len(content):
        raise ValueError(f"ended after {len(content):,} of {promised} bytes")
    return content
