"""How configurations of a sweep are called: short keys, values as they are typed, labels."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, count
from typing import Any

from runner.recording.console import number
from runner.recording.directory import shortened

ALL = "all seeds"  # the configuration of a sweep over nothing but seeds
_FORMULA = re.compile(r"[=@\t\r]|[-+](?![\d.]+([eE][-+]?\d+)?$)")
NONE = "-"  # where a configuration has no such key


def short(keys: Sequence[str]) -> dict[str, str]:
    """Return each key's short name: its last part, or all of it where two would be equal."""
    ends = Counter(key.rpartition(".")[2] for key in keys)
    return {key: end if ends[end := key.rpartition(".")[2]] == 1 else key for key in keys}


def text(value: Any) -> str:
    """Return a value in full, as it is typed on the command line."""
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"), default=str, ensure_ascii=False)


def cells(row: Sequence[Any]) -> list[Any]:
    """Return a row for a CSV file whose texts are none of a spreadsheet's formulas."""
    return [f"'{each}" if isinstance(each, str) and _FORMULA.match(each) else each for each in row]


def shown(values: Sequence[Any]) -> list[str]:
    """Return values for a table's column: numbers in four digits where that tells them apart."""
    brief = [number(each) if isinstance(each, float) else text(each) for each in values]
    full = [text(each) for each in values]
    return brief if len(set(brief)) == len(set(full)) else full


def columns(keys: Sequence[str], swept: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the texts of each key's column, a row for each of the configurations."""
    found = {}
    for key in keys:
        have = [each[key] for each in swept if key in each]
        known = dict(zip(map(text, have), shown(have), strict=True))
        found[key] = [known[text(each[key])] if key in each else NONE for each in swept]
    return found


def labels(keys: Sequence[str], swept: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a label for each configuration: `lr=0.1, optimizer=adam`."""
    names, cells = short(keys), columns(keys, swept)
    return [
        ", ".join(f"{names[key]}={cells[key][at]}" for key in keys if key in each) or ALL
        for at, each in enumerate(swept)
    ]


def folders(swept: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a directory name for each configuration, all different: `lr0.1-adam`."""
    names = [
        shortened([f"{key}={text(value)}" for key, value in each.items()]) or "seeds"
        for each in swept
    ]
    unique: list[str] = []
    for name in names:
        further = (f"{name}-{at}" for at in count(2))
        unique.append(next(each for each in chain([name], further) if each not in unique))
    return unique
