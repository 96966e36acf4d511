"""What Hydra's grammar cannot read, in words for who typed it: which character, and the way out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from runner.foundation.errors import shown

DEEPEST = 40  # brackets in one another, parts of a key
_PLAIN = re.compile(r"[\w\-/\\+.$%*@?|:=, \t]", re.ASCII)  # beside brackets and quotes
_KEY = re.compile(r"[+~]{0,2}[a-zA-Z_$][\w$-]*([./@](\d+|[a-zA-Z_$][\w$-]*))*", re.ASCII)
_PAIRS = {")": "(", "]": "[", "}": "{"}


def unreadable_key(word: str, key: str, equals: str) -> str:
    """Say what is wrong with what stands before the `=`, or nothing."""
    name, form = key.lstrip("+~"), "not of the form key=value"
    if not name:
        return f"{shown(word)}: {form}"
    if not _KEY.fullmatch(key):
        if item := re.fullmatch(r"([\w.]+)\[(\d+)\]", key):
            return f"{shown(word)}: {form}; an item of a list is {item[1]}.{item[2]}=value"
        ends = (at for at in range(len(key), 0, -1) if _KEY.fullmatch(key[:at]))
        at = next(ends, 0)
        where = f"character {at + 1} ({key[at]!r})" if at < len(key) else "its end"
        return f"{shown(word)}: {form}: {where} does not fit in a key"
    if name.count(".") > DEEPEST:
        return f"{shown(key)}: nested too deeply"
    if not equals and not key.startswith("~"):
        return f"{shown(word)}: {form}; write {name}=..."
    return ""


def unreadable_value(key: str, value: str) -> str:
    """Say why a value cannot be read."""
    quotes = f"\"{key}='...'\""
    if value.startswith("("):
        return f"a list is written {key}=[...]; for a text quote it: {quotes}"
    if faults := list(_faults(value)):
        at, fault = min(faults)
        return f"character {at} ({value[at - 1]!r}) {fault or f'needs quotes: {quotes}'}"
    if re.search(r"(^|[,\[{(])\s*,|,\s*($|[\]})])", value):
        return "a value is missing beside a comma"
    way = "an interpolation is ${key} or ${oc.env:NAME}; " if "${" in value else ""
    return f"{way}for a text quote it: {quotes}"


def deep(value: str) -> bool:
    """Tell whether brackets stand in one another too deeply to be meant."""
    depth = deepest = 0
    for each in value:
        depth += (each in "[{") - (each in "]}")
        deepest = max(deepest, depth)
    return deepest > DEEPEST


def _faults(value: str) -> Iterator[tuple[int, str]]:
    """Yield brackets and quotes that lack their other half, and letters that need quotes ("")."""
    open_: list[int] = []
    quote = 0
    for at, each in enumerate(value, 1):
        if quote:
            if each == value[quote - 1] and value[at - 2] != "\\":
                quote = 0
        elif each in "'\"":
            quote = at
        elif each in _PAIRS.values():
            open_.append(at)
        elif each in _PAIRS:
            if not open_ or value[open_.pop() - 1] != _PAIRS[each]:
                yield at, "closes nothing"
        elif not _PLAIN.match(each):
            yield at, ""
    for at in [*open_, *([quote] if quote else [])]:
        yield at, "is never closed"
