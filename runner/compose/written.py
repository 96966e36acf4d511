"""The option files of the user's own, looked at before Hydra composes them.

Hydra stops at the first fault of a file, some of them with a traceback or without an end, and takes
the runner's own option where a folder of the user's has one of that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.compose.values import misread
from runner.foundation import options
from runner.foundation.errors import did_you_mean
from runner.foundation.yaml_faults import load

Choice = tuple[str, str]  # a group and an option
_GLOBAL = re.compile(r"^#\s*@package\s+_global_\s*$", re.MULTILINE)
NO_HYDRA = "the runner composes by itself; hydra has no keys here"


class Written:
    """The options of some folders, the runner's own first; a file of the user's is read once."""

    def __init__(self, folders: Iterable[Path]):
        self.groups: options.Groups = {}
        self._paths: dict[Choice, list[Path]] = {}
        self._read: dict[Path, tuple[list[Choice], list[str]]] = {}
        self._own = options.own_folder()
        seen: list[Path] = []
        for folder in [self._own, *folders]:
            groups = options.groups([folder])
            if folder.resolve() in seen:
                continue
            seen.append(folder.resolve())
            for group, found in groups.items():
                self.groups.setdefault(group, {}).update(found)
                for name, path in found.items():
                    self._paths.setdefault((group, name), []).append(path)

    def faults(self, chosen: Iterable[Choice], trail: tuple[Choice, ...] = ()) -> Iterator[str]:
        """Yield what is wrong with the user's files of these options, and of those they ask for."""
        for choice in chosen:
            path = self.groups.get(choice[0], {}).get(choice[1])
            if path is None or path.is_relative_to(self._own):
                continue
            if choice in trail:
                circle = " -> ".join("/".join(each) for each in (*trail, choice))
                yield f"{path}: defaults: a circle: {circle}"
                continue
            if path not in self._read:
                self._read[path] = self._looked_at(path, choice[0])
            asked, found = self._read[path]
            yield from found
            yield from self.faults(asked, (*trail, choice))

    def doubled(self, choices: Mapping[str, Any]) -> Iterator[str]:
        """Yield which of the chosen options stand in several folders, of which one is taken."""
        for group, names in choices.items():
            for name in names if isinstance(names, list) else [names]:
                if len(paths := self._paths.get((group, name), [])) > 1:
                    where = " and ".join(str(path) for path in paths)
                    yield f"{group}={name}: stands twice, in {where}; rename one"

    def _looked_at(self, path: Path, group: str) -> tuple[list[Choice], list[str]]:
        """Return the options that a file asks for, and what is wrong with it."""
        content, found = load(path)
        if content is None:
            return [], found or [f"{path}: the file says nothing; for no keys at all write {{}}"]
        wrong = [f"{path}: {each}" for each in misread(content)]
        wrong += [f"{path}: hydra: {NO_HYDRA}"] if "hydra" in content else []
        if group == "experiment" and not _GLOBAL.search(path.read_text(encoding="utf-8")):
            wrong.append(f"{path}:1: an experiment begins with the line # @package _global_")
        defaults = content.get("defaults", [])
        if not isinstance(defaults, list):
            return [], [*wrong, f"{path}: defaults: expected a list, got {defaults!r}"]
        asked: list[Choice] = []
        keys = [key for entry in defaults if isinstance(entry, dict) for key in entry]
        wrong += [f"{path}: defaults: '{key}' twice" for key in {*keys} if keys.count(key) > 1]
        for entry in defaults:
            try:
                asked += self._asked(group, entry)
            except ValueError as error:
                wrong.append(f"{path}: defaults: {error}")
        return asked, wrong

    def _asked(self, group: str, entry: Any) -> list[Choice]:
        """Return the options of an entry of a defaults list; a ValueError says what is wrong."""
        if entry == "_self_":
            return []
        if isinstance(entry, str):
            where, _, names = entry.rpartition("/")
            key: Any = f"{where}/" if where else ""
        elif isinstance(entry, dict) and len(entry) == 1:
            ((key, names),) = entry.items()
        else:
            raise ValueError(f"expected an option, or a group and its option, got {entry!r}")
        words = str(key).partition("@")[0].split(" ")
        named = words[-1].strip("/") if words[-1].startswith("/") else f"{group}/{words[-1]}"
        named = named.strip("/")
        if named.partition("/")[0] == "hydra":
            raise ValueError(f"{entry!r}: {NO_HYDRA}")
        known = self.groups.get(named, {})
        chosen = [each for each in (names if isinstance(names, list) else [names]) if each]
        if not known and "optional" not in words:
            raise ValueError(f"no group '{named}'{did_you_mean(named, self.groups)}")
        for name in chosen:
            left_open = "optional" in words or "${" in str(name)
            if not left_open and (not isinstance(name, str) or name not in known):
                raise ValueError(f"no option {name!r} of {named}{did_you_mean(str(name), known)}")
        return [(named, name) for name in chosen if name in known]
