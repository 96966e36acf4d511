"""What is wrong with a YAML file that a user wrote, line by line; nothing in it is built or run.

YAML 1.1, which everybody's parser reads, takes 012 for 10 and 12:30 for 750; it keeps the last of
two equal keys, calls functions where a tag asks for it, and repeats what a name stands for without
end. All of that is named with its line before any value is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MOST_BYTES = 1_000_000  # of a file
MOST_VALUES = 10_000  # of a file, those that are repeated by reference counted again
DEEPEST = 40  # mappings and lists in one another
_TAG = "tag:yaml.org,2002:"
_READ = {_TAG + name for name in ("null", "bool", "int", "float", "str", "timestamp", "map", "seq",
                                  "merge")}  # fmt: skip
_NOT_AS_WRITTEN = re.compile(r"[-+]?(0[\d_]+|\d[\d_]*(:[0-5]?\d)+(\.\d*)?)")
_PLAINER = {
    "found character '\\t' that cannot start any token": "a tab; YAML indents with spaces",
    "mapping values are not allowed here": "a key where none may stand; are the lines above it "
    "indented alike, and texts with ': ' quoted?",
    "found undefined alias": "nothing of that name (&) stands above",
    "found another document": "a second document begins; a file holds one",
}


def load(path: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the mapping that a file holds, and what is wrong with it, each as `path:line: reason`.

    The mapping is None where there are faults, or nothing at all but comments.
    """
    try:
        text, faults = _text(path), []
    except OSError as error:
        return None, [f"{path}: cannot be read: {error.strerror or error}"]
    except ValueError as error:
        return None, [f"{path}{error}"]
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        faults = list(_faults(root))
        content = None if faults else yaml.safe_load(text)
    except yaml.YAMLError as error:
        faults = [_broken(error, text)]
    except RecursionError:
        faults = [": nested too deeply"]
    except ValueError as error:  # a number of thousands of digits
        faults = [f": {error}"]
    return (None, [f"{path}{each}" for each in faults]) if faults else (content, [])


def _text(path: Path) -> str:
    """Read a file of UTF-8; a ValueError says what else it is."""
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f": more than {MOST_BYTES:,} bytes, which is no configuration")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        byte = f"the byte 0x{data[error.start]:02x}"
        raise ValueError(f":{line}: not UTF-8: {byte}; save the file as UTF-8") from error


def _broken(error: yaml.YAMLError, text: str) -> str:
    """Say where and why a text is no YAML."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text[: error.position].count("\n") + 1
        return f":{line}: the character {chr(error.character)!r} may not stand in YAML"
    mark, reason = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    line = mark.line + 1 if mark else 1
    known = next((plain for said, plain in _PLAINER.items() if said in str(reason)), None)
    return f":{line}: {known or reason or error}"


def _faults(root: yaml.Node | None) -> Iterator[str]:
    if isinstance(root, yaml.MappingNode):
        looked = _Looking()
        looked.at(root, 1)
        yield from looked.faults
    elif root is not None:
        yield f":{root.start_mark.line + 1}: expected a mapping of keys, found {_kind(root)}"


@dataclass
class _Looking:
    """Look at every value of a file once."""

    faults: list[str] = field(default_factory=list)
    _sizes: dict[int, int] = field(default_factory=dict)  # by node; 0 while it is looked at

    def at(self, node: yaml.Node, depth: int) -> int:
        """Note what is wrong inside a node; return how many values it stands for."""
        if id(node) in self._sizes:
            if not self._sizes[id(node)]:
                self._note(node, "contains itself")
            return self._sizes[id(node)]
        self._sizes[id(node)] = 0
        size = 1
        if depth > DEEPEST:
            self._note(node, f"nested too deeply, in more than {DEEPEST} others")
        elif node.tag not in _READ:
            self._note(node, f"the tag {node.tag.replace(_TAG, '!!')} is not read here")
        elif isinstance(node, yaml.MappingNode):
            self._keys(node)
            size += sum(self.at(each, depth + 1) for _, each in node.value)
        elif isinstance(node, yaml.SequenceNode):
            size += sum(self.at(each, depth + 1) for each in node.value)
        else:
            self._scalar(node)
        if size > MOST_VALUES and not self.faults:
            self._note(node, f"stands for more than {MOST_VALUES:,} values")
        self._sizes[id(node)] = size
        return size

    def _keys(self, node: yaml.MappingNode) -> None:
        first: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._note(key, f"expected a text as a key, found {_kind(key)}")
            elif key.tag == f"{_TAG}merge":
                continue
            elif key.tag != f"{_TAG}str":
                self._note(key, f"the key {key.value} is no text to YAML; quote it: '{key.value}'")
            elif key.value in first:
                self._note(key, f"duplicate key '{key.value}' (first at line {first[key.value]})")
            else:
                first[key.value] = key.start_mark.line + 1

    def _scalar(self, node: yaml.Node) -> None:
        number = node.tag in (f"{_TAG}int", f"{_TAG}float")
        if number and _NOT_AS_WRITTEN.fullmatch(node.value):
            read = yaml.safe_load(node.value)
            self._note(
                node,
                f"YAML reads {node.value} as {read}; write {read}, or quote it: '{node.value}'",
            )

    def _note(self, node: yaml.Node, reason: str) -> None:
        self.faults.append(f":{node.start_mark.line + 1}: {reason}")


def _kind(node: yaml.Node) -> str:
    kinds = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list"}
    return kinds.get(type(node), "a single value")
