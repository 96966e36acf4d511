"""Values set on plain mappings, and their interpolations resolved.

What OmegaConf's update and resolution do, at a hundredth of the time: a sweep composes thousands of
configurations that differ in a value. Only interpolated values are left to OmegaConf.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from runner.foundation import secrets
from runner.foundation.errors import shown

MISSING = "???"
RESOLVERS = ("oc.env", "oc.decode", "oc.select", "oc.create", "oc.dict.keys", "oc.dict.values")
Place = tuple[str | int, ...]  # the way to a value, through mappings and lists


def _env(name: str, *default: Any) -> Any:
    """Return an environment variable's value, as OmegaConf does, and keep it out of all records."""
    secrets.keep(name)
    return oc.env(name, *default)


OmegaConf.register_new_resolver("oc.env", _env, replace=True)


def copied(value: Any) -> Any:
    """Return a copy of plain values, five times as fast as `copy.deepcopy`."""
    if isinstance(value, dict):
        return {name: copied(each) for name, each in value.items()}
    return [copied(each) for each in value] if isinstance(value, list) else value


def has(config: Mapping[str, Any], key: str) -> bool:
    """Tell whether a full key has a value, null included."""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return False
        node = node[part]
    return node != MISSING


def put(config: dict[str, Any], key: str, value: Any) -> None:
    """Set a value, making sections on the way; a mapping is merged into the one that is there.

    Raises KeyError where the key leads to an item that a list has not.
    """
    *way, last = key.split(".")
    node: Any = config
    for part in way:
        at = _at(node, part)
        if not isinstance(_found(node, at), dict | list):
            node[at] = {}
        node = node[at]
    at = _at(node, last)
    here = _found(node, at)
    if isinstance(here, dict) and isinstance(value, dict):
        _merge(here, value)
    else:
        node[at] = copied(value)


def remove(config: dict[str, Any], key: str) -> None:
    """Remove a value; raises KeyError where there is none."""
    *way, last = key.split(".")
    node: Any = config
    for part in way:
        node = _found(node, _at(node, part))
        if not isinstance(node, dict | list):
            raise KeyError(key)
    if not isinstance(node, dict):
        raise KeyError(key)
    del node[last]


def resolved(config: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """Return a copy with interpolations resolved; one that cannot be is a problem, and null."""
    result = copied(config)
    places: dict[Place, str] = {}
    for place, text in interpolated(config):
        if why_not := unreadable(text):
            problems.append(f"{written(place)}: {why_not}")
            _into(result, place)[place[-1]] = None
        else:
            places[place] = text
    if not places:
        return result
    tree = OmegaConf.create(_concerned(result, places))
    for place in places:
        try:
            value = _into(tree, place)[place[-1]]
            plain = (
                OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            )
        except (OmegaConfBaseException, RecursionError) as error:
            problems.append(f"{written(place)}: {_reason(error)}")
            plain = None
        _into(result, place)[place[-1]] = plain
    return result


def unreadable(text: str) -> str:
    """Say why OmegaConf, or we, cannot resolve the interpolations of a text, or nothing."""
    try:
        OmegaConf.create([text])
    except OmegaConfBaseException:
        return f"cannot read {shown(text)}: an interpolation is ${{key}} or ${{oc.env:NAME}}"
    unknown = [name for name in re.findall(r"\$\{\s*([\w.]+)\s*:", text) if name not in RESOLVERS]
    if unknown:
        return f"unknown interpolation ${{{unknown[0]}:...}}; known are {', '.join(RESOLVERS)}"
    return ""


def misread(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield, for each interpolation that cannot be read, its key and why."""
    for place, text in interpolated(config):
        if why_not := unreadable(text):
            yield f"{written(place)}: {why_not}"


def written(place: Place) -> str:
    """Return a place as a key: `architecture.hidden[0]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)[1:]


def _into(node: Any, place: Place) -> Any:
    """Return the mapping or list that holds a place."""
    for part in place[:-1]:
        node = node[part]
    return node


def _at(node: Any, part: str) -> str | int:
    """Return what a part of a key means in a node: a name, in a list the number of an item."""
    if not isinstance(node, list):
        return part
    if not part.isdecimal() or int(part) >= len(node):
        raise KeyError(part)
    return int(part)


def _found(node: Any, at: str | int) -> Any:
    return node.get(at) if isinstance(node, dict) else node[at]


def _merge(into: dict[str, Any], further: Mapping[str, Any]) -> None:
    for name, value in further.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        elif value != MISSING or name not in into:
            into[name] = copied(value)


def interpolated(node: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Yield the place and text of every value that OmegaConf takes for an interpolation."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for at, value in items:
        if isinstance(value, dict | list):
            yield from interpolated(value, (*place, at))
        elif isinstance(value, str) and "${" in value:
            yield (*place, at), value


def _concerned(config: dict[str, Any], places: Mapping[Place, str]) -> dict[str, Any]:
    """Return the sections that interpolations stand in or can name: all where a name is computed.

    To make OmegaConf's nodes of a whole configuration takes longer than all else in a job.
    """
    texts = " ".join(places.values())
    if any(text.count("${") > 1 for text in places.values()):
        return config
    named = {place[0] for place in places} | set(re.findall(r"[\w-]+", texts))
    return {name: value for name, value in config.items() if name in named}


def _reason(error: Exception) -> str:
    text = str(error).partition("\n    full_key")[0]
    if match := re.search(r"Environment variable '(.*?)' not found", text):
        return f"environment variable {match[1]} is not set"
    if match := re.match(r"Interpolation key '(.*)' not found", text, re.DOTALL):
        return f"unknown interpolation ${{{match[1]}}}: there is no such key"
    if isinstance(error, RecursionError) or text == "Recursive interpolation detected":
        return "interpolations go round in a circle"
    return re.sub(r"^\w+ (raised )?while resolving interpolation: | expecting {.*", "", text)
