"""Bytes that something happened to: bits flipped, parts lost or doubled, another file's put in."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

EDGE = 64  # bytes at either end, where headers and directories are
INSTEAD = (b"", b"\0", b"<!DOCTYPE html><html></html>", b"PK\x05\x06" + bytes(18), b"\x80\x02.",
           b"\x1f\x8b\x08\0", b"\x00\x00\x08\x03", b"a,b\n1,2\n")  # fmt: skip


class Edit(NamedTuple):
    """One thing that happened to a file, at a place, with some bytes or a length."""

    what: str
    at: int
    size: int = 0
    new: bytes = b""

    def __call__(self, data: bytes, other: bytes) -> bytes:
        """Return the file as it is afterwards; `other` is one it may be mixed up with."""
        at, end = self.at, self.at + self.size
        match self.what:
            case "flip":
                at = min(at, len(data) - 1)
                flipped = data[at : at + 1] and bytes([data[at] ^ 1 << self.size % 8])
                return data[:at] + flipped + data[at + 1 :] if data else data
            case "cut":
                return data[:at]
            case "drop":
                return data[:at] + data[end:]
            case "double":
                return data[:end] + data[at:]
            case "insert":
                return data[:at] + self.new + data[at:]
            case "overwrite":
                return data[:at] + self.new + data[at + len(self.new) :]
            case "splice":
                return data[:at] + other[max(0, at + self.size - EDGE) :]
            case "instead":
                return self.new
        raise AssertionError(self.what)


def edited(data: bytes, other: bytes, edits: Sequence[Edit]) -> bytes:
    """Return what is left of a file."""
    for edit in edits:
        data = edit(data, other)
    return data


def edits(length: int) -> SearchStrategy[list[Edit]]:
    """Return a strategy of what happens to a file of so many bytes: often one bit, anywhere."""
    last = length - 1
    head, tail = st.integers(0, min(EDGE, last)), st.integers(max(last - 4 * EDGE, 0), last)
    anywhere = st.integers(0, last).map(lambda at: _scattered(at, length))
    place = st.one_of(anywhere, anywhere, head, tail)
    some, size = st.binary(min_size=1, max_size=12), st.integers(1, 2 * EDGE)
    flip = st.builds(Edit, st.just("flip"), anywhere, st.integers(0, 7))
    kinds = st.one_of(
        st.builds(Edit, st.just("flip"), place, st.integers(0, 7)),
        st.builds(Edit, st.just("cut"), place),
        st.builds(Edit, st.sampled_from(["drop", "double", "splice"]), place, size),
        st.builds(Edit, st.sampled_from(["insert", "overwrite"]), place, st.just(0), some),
        st.builds(Edit, st.just("instead"), st.just(0), st.just(0), st.sampled_from(INSTEAD)),
    )
    several = st.lists(kinds, min_size=1, max_size=3)
    return st.one_of(flip.map(lambda each: [each]), several)


def _scattered(at: int, length: int) -> int:
    """Return another place for a number: small ones, which come up most, are all over a file."""
    return zlib.crc32(str(at).encode()) % length
