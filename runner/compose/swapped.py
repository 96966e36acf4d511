"""Options put in place of others without Hydra, where that is all Hydra would do.

Hydra takes a tenth of a second to compose, and a sweep over options has a set of choices for each
combination. An option whose file has neither a defaults list nor a package of its own is, composed,
what its file says, unless the primary configuration or an experiment writes into its group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.compose.chosen import PRIMARY, Chosen

Shape = tuple[str, ...]


class Swapper:
    """Remember what Hydra composed, and swap options in it."""

    def __init__(self, folders: Sequence[Path]):
        self._folders = folders
        self._known: dict[Shape, tuple[dict[str, str], Chosen]] = {}
        self._contents: dict[tuple[str, str], dict[str, Any] | None] = {}
        self._plains: dict[tuple[str, str], dict[str, Any] | None] = {}

    def remember(self, choosing: Sequence[Override], chosen: Chosen) -> None:
        """Keep what Hydra made of these choices."""
        self._known.setdefault(self._shape(choosing), (_names(choosing), chosen))

    def swapped(self, choosing: Sequence[Override]) -> Chosen | None:
        """Return what Hydra would make of these choices, if that is sure; else None."""
        if (known := self._known.get(self._shape(choosing))) is None:
            return None
        names, chosen = known
        others = {group: name for group, name in _names(choosing).items() if names[group] != name}
        written = self._written(chosen.choices)
        if written is None or written & set(others):
            return None
        contents = {group: self._plain(group, name) for group, name in others.items()}
        return Chosen({**chosen.config, **contents}, {**chosen.choices, **others})

    def _shape(self, choosing: Sequence[Override]) -> Shape:
        """Return the choices, with the groups alone where one plain option stands for another."""
        return tuple(
            each.key_or_group if self._swappable(each) else each.input_line or ""
            for each in choosing
        )

    def _swappable(self, override: Override) -> bool:
        group, name = override.key_or_group, override.value()
        simple = override.type is OverrideType.CHANGE and override.package is None
        return simple and isinstance(name, str) and self._plain(group, name) is not None

    def _plain(self, group: str, name: str) -> dict[str, Any] | None:
        """Return what a file says, if that is all there is to its option."""
        if (group, name) not in self._plains:
            content = self._content(group, name)
            plain = bool(content) and "/" not in group and "defaults" not in (content or {})
            plain = plain and not self._package(group, name)
            self._plains[group, name] = content if plain else None
        return self._plains[group, name]

    def _paths(self, group: str, name: str) -> list[Path]:
        paths = [folder / group / f"{name}.yaml" for folder in self._folders]
        return [path for path in paths if path.is_file()]

    def _content(self, group: str, name: str) -> dict[str, Any] | None:
        """Return what the only file of an option says, or None where it cannot be told."""
        if (group, name) not in self._contents:
            self._contents[group, name] = self._load(group, name)
        return self._contents[group, name]

    def _load(self, group: str, name: str) -> dict[str, Any] | None:
        paths = self._paths(group, name)
        if len(paths) != 1:
            return None
        try:
            content = OmegaConf.to_container(OmegaConf.load(paths[0]))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException):
            return None
        return content if isinstance(content, dict) else None  # type: ignore[return-value]

    def _package(self, group: str, name: str) -> str:
        """Return the package that a file asks for in its head."""
        lines = self._paths(group, name)[0].read_text(encoding="utf-8").splitlines()
        found = [line.partition("@package")[2] for line in lines if "@package" in line]
        return found[0].strip() if found else ""

    def _written(self, choices: Mapping[str, Any]) -> set[str] | None:
        """Return the sections that options write into beside their own group's; None: unknown."""
        primary = self._content("", PRIMARY)
        if primary is None:
            return None
        written = set(primary)
        for group, name in choices.items():
            for each in name if isinstance(name, list) else [name]:
                if each is None or self._plain(group, each) is not None:
                    continue
                beside = self._beside(group, each)
                if beside is None:
                    return None
                written |= beside
        return written

    def _beside(self, group: str, name: str) -> set[str] | None:
        """Return the sections that an option with defaults writes into; None where unknown."""
        content = self._content(group, name)
        if not content:
            return None if content is None else set()
        package, defaults = self._package(group, name), content.get("defaults", [])
        if package == "_global_" and all(_overrides(each) for each in defaults):
            return set(content) - {"defaults"}
        siblings = [each for each in defaults if each != "_self_"]
        if not package and all(isinstance(each, str) for each in siblings):
            found = [self._beside(group, each) for each in siblings]
            if None not in found:
                return set().union({group}, *(each or set() for each in found))
        return None


def _names(choosing: Sequence[Override]) -> dict[str, str]:
    return {each.key_or_group: str(each.value()) for each in choosing}


def _overrides(entry: Any) -> bool:
    """Tell whether an entry of a defaults list but chooses among another group's options."""
    if isinstance(entry, dict):
        return all(str(key).startswith("override /") for key in entry)
    return entry == "_self_"
