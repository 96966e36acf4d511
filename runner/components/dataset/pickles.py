"""Arrays out of a pickle, of which nothing is ever called.

The CIFAR files are pickles, and what a pickle names is called by whoever loads it. Here three names
are known, those of NumPy's arrays of bytes, and inert classes stand for them.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.foundation.errors import BadData


class _Kept:
    """What a pickle says of an object: the state it would be given."""

    __slots__ = ("state",)

    def __init__(self, *_: object):
        self.state: tuple[Any, ...] = ()

    def __setstate__(self, state: object) -> None:
        self.state = state if isinstance(state, tuple) else ()


class _Array(_Kept):
    """An array; its state is (version, shape, type, whether in Fortran's order, bytes)."""

    __slots__ = ()


class _Type(_Kept):
    """The type of an array's numbers, by its name."""

    __slots__ = ("name",)

    def __init__(self, name: object = None, *_: object):
        super().__init__()
        self.name = name


_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name; others are refused."""
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        raise pickle.UnpicklingError(f"it names {module}.{name}, which might be code")


def load(path: Path, content: bytes) -> Mapping[str, Any]:
    """Return the mapping that the `content` of a file holds; raises `BadData`."""
    try:
        found = _Unpickler(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # whatever the bytes make pickle say
        raise BadData(f"{path}: expected a pickle of plain data: {error}") from error
    if not isinstance(found, dict):
        raise BadData(f"{path}: expected a mapping, found {type(found).__name__}")
    return found


def rows(path: Path, found: Mapping[str, Any], name: str, width: int) -> bytes:
    """Return the array of bytes under a name, (N, width), as its bytes; raises `BadData`."""
    array = found.get(name)
    if not (isinstance(array, _Array) and len(array.state) == 5):
        raise BadData(f"{path}: expected an array '{name}', found {_said(array)}")
    _, shape, kind, fortran, content = array.state
    known = isinstance(kind, _Type) and kind.name in ("u1", "|u1", "uint8") and not fortran
    if not known or not isinstance(content, str | bytes):
        raise BadData(f"{path}: expected '{name}' to be an array of bytes, row by row")
    values = content.encode("latin1") if isinstance(content, str) else content
    if not values or shape != (len(values) // width, width) or len(values) % width:
        raise BadData(
            f"{path}: expected '{name}' to be rows of {width} bytes, "
            f"found shape {shape} and {len(values)} bytes"
        )
    return values


def items(path: Path, found: Mapping[str, Any], name: str, kind: type[Any]) -> list[Any]:
    """Return the list under a name, its items of this kind; raises `BadData`."""
    listed = found.get(name)
    if not isinstance(listed, list):
        raise BadData(f"{path}: expected a list '{name}', found {_said(listed)}")
    for at, each in enumerate(listed):
        if type(each) is not kind or (kind is int and each.bit_length() > 63):
            said = f"expected a plain {kind.__name__}, found {_said(each)}"
            raise BadData(f"{path}: item {at} of '{name}': {said}")
    return listed


def _said(value: object) -> str:
    """Return a short word for what was found; its text may be endless."""
    return "none" if value is None else type(value).__name__
