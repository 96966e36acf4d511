"""Compose a configuration: the only place that calls Hydra.

Hydra composes the choices of group options (`optimizer=adam`); values (`optimizer.lr=0.1`) are set
on the result, as Hydra itself would, but with every mistake collected instead of the first.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from runner.foundation import options
from runner.foundation.absent import NOT_HERE
from runner.foundation.errors import Misconfigured, did_you_mean

PRIMARY = "config"


@dataclass(frozen=True)
class Composition:
    """A composed configuration.

    config   plain values, interpolations resolved: what `config.check` takes
    record   the same with interpolations as written, so that no environment value is stored
    choices  which option of each group was chosen
    """

    config: dict[str, Any]
    record: dict[str, Any]
    choices: dict[str, Any] = field(default_factory=dict)

    @property
    def experiment(self) -> str | None:
        """Return the experiment file this came from."""
        return self.choices.get("experiment")


def compose(
    overrides: Sequence[str],
    *,
    folders: Sequence[Path] = (),
    machine: Mapping[str, Any] | None = None,
    several: Sequence[str] = (),
) -> Composition:
    """Compose the configuration that the overrides ask for.

    `folders` hold further options of the user's own; `machine` gives defaults for single keys,
    used where the composed configuration has the key and the user did not set it. Of the groups
    in `several` more than one option may be chosen. Raises `Misconfigured` with every mistake.
    """
    problems: list[str] = []
    parsed = list(_parse(overrides, problems))
    for folder in folders:
        if not folder.is_dir():
            raise Misconfigured(f"--config-dir {folder}: no such folder")
    groups = options.groups([options.own_folder(), *folders])
    choosing = [override for override in parsed if _is_choice(override, groups)]
    _once_each(parsed, problems)
    valid = [each for each in choosing if _exists(each, groups, several, problems)]
    config, choices = _choose([each.input_line or "" for each in valid], folders, problems)
    for key, value in (machine or {}).items():
        if OmegaConf.select(config, key, default=_ABSENT) is not _ABSENT:
            OmegaConf.update(config, key, value)
    for override in parsed:
        if override not in choosing:
            _set(config, override, problems)
    resolved = _resolve(config, problems)
    if problems:
        raise MistakesFound(problems, resolved)
    return Composition(resolved, OmegaConf.to_container(config), choices)  # type: ignore[arg-type]


class MistakesFound(Misconfigured):
    """Mistakes found in composing; `config` is what is left, for further checks to add theirs."""

    def __init__(self, problems: list[str], config: dict[str, Any]):
        super().__init__(problems)
        self.config = config


def recorded(path: Path) -> Composition:
    """Read the configuration that a run directory recorded."""
    try:
        config = OmegaConf.load(path)
    except (OSError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise Misconfigured(f"{path}: cannot be read as a configuration: {error}") from error
    problems: list[str] = []
    if not isinstance(config, DictConfig):
        raise Misconfigured(f"{path}: expected a mapping of keys")
    resolved = _resolve(config, problems)
    if problems:
        raise Misconfigured(problems)
    return Composition(resolved, OmegaConf.to_container(config))  # type: ignore[arg-type]


def _parse(overrides: Sequence[str], problems: list[str]) -> Iterator[Override]:
    parser = OverridesParser.create()
    for text in overrides:
        key, equals, value = text.partition("=")
        if not key:
            problems.append(f"'{text}': not of the form key=value")
            continue
        if equals and not value:
            problems.append(f"{key}: missing value after '='")
            continue
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            reason = str(error).splitlines()[0]
            problems.append(f"'{text}': not of the form key=value: {reason}")
            continue
        if override.is_sweep_override():
            problems.append(
                f"{key}: several values, '{value}'; one run takes one. "
                f"For a list write '{key}=[{value}]', for a text quote it"
            )
        elif override.key_or_group.split(".")[0] == "hydra":
            problems.append(f"{key}: the runner composes by itself; hydra has no keys here")
        else:
            yield override


def _once_each(parsed: Sequence[Override], problems: list[str]) -> None:
    seen: dict[str, list[str]] = {}
    for override in parsed:
        seen.setdefault(override.key_or_group, []).append(override.input_line or "")
    for key, lines in seen.items():
        if len(lines) > 1:
            values = ", ".join(line.partition("=")[2] or line for line in lines)
            problems.append(f"{key}: given {len(lines)} times ({values})")


def _is_choice(override: Override, groups: options.Groups) -> bool:
    """Tell `optimizer=adam` from `optimizer.lr=0.1` and from `optimizer={lr: 1}`."""
    value = override.value() if not override.is_delete() else None
    names = isinstance(value, str | list) or value is None
    return override.key_or_group in groups and names and not override.is_delete()


def _exists(
    override: Override, groups: options.Groups, several: Sequence[str], problems: list[str]
) -> bool:
    """Note a choice that cannot be made: unknown, none at all, or many where one is wanted."""
    group, value = override.key_or_group, override.value()
    available = f"({group} has {', '.join(sorted(groups[group]))})"
    names = value if isinstance(value, list) else [value]
    if value is None and group == "experiment":
        return True
    if value is None or (isinstance(value, list) and group not in several):
        problems.append(f"{group}: choose one option {available}")
        return False
    unknown = [name for name in names if not isinstance(name, str) or name not in groups[group]]
    for name in unknown:
        hint = did_you_mean(str(name), groups[group])
        reason = NOT_HERE.get(group, {}).get(str(name))
        why = f"; not here: {reason}" if reason else f"{hint} {available}"
        problems.append(f"{group}={name}: no such option{why}")
    return not unknown


def _choose(
    choices: list[str], folders: Sequence[Path], problems: list[str]
) -> tuple[DictConfig, dict[str, Any]]:
    """Let Hydra compose the options, starting from the defaults list."""
    search = ",".join(f"'file://{folder.resolve()}'" for folder in folders)
    overrides = [*choices, f"hydra.searchpath=[{search}]"]
    with _yaml_errors([options.own_folder(), *folders]):
        try:
            with initialize_config_dir(str(options.own_folder()), version_base="1.3"):
                config = hydra_compose(PRIMARY, overrides, return_hydra_config=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise Misconfigured([*problems, str(error)]) from error
    chosen = {
        group: list(option) if isinstance(option, ListConfig) else option
        for group, option in config.hydra.runtime.choices.items()
        if not str(group).startswith("hydra")
    }
    OmegaConf.set_struct(config, False)
    del config["hydra"]
    return config, chosen


@contextlib.contextmanager
def _yaml_errors(folders: Sequence[Path]) -> Iterator[None]:
    """Turn a YAML error into a message with file and line."""
    try:
        yield
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{mark.name}:{mark.line + 1}" if mark else _undecodable(folders)
        reason = getattr(error, "problem", None) or str(error)
        raise Misconfigured(f"{where}: {reason}") from error


def _undecodable(folders: Sequence[Path]) -> str:
    for folder in folders:
        for path in sorted(folder.rglob("*.yaml")):
            try:
                path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                return f"{path}: not UTF-8"
    return "a configuration file"


_ABSENT = object()


def _set(config: DictConfig, override: Override, problems: list[str]) -> None:
    """Set or remove one value; whether the key should exist is for `config.check` to say."""
    key = override.key_or_group
    try:
        if override.is_delete():
            parent, _, name = key.rpartition(".")
            node = OmegaConf.select(config, parent) if parent else config
            del node[name]
        else:
            OmegaConf.update(config, key, override.value(), merge=True, force_add=True)
    except (OmegaConfBaseException, KeyError, TypeError, AttributeError):
        problems.append(f"{key}: unknown key{did_you_mean(key, _flat(config))}")


def _resolve(config: DictConfig, problems: list[str]) -> dict[str, Any]:
    """Return plain values; an interpolation that cannot be resolved is a problem, and null."""
    config = config.copy()
    for key in list(_flat(config)):
        try:
            OmegaConf.select(config, key, throw_on_resolution_failure=True)
        except OmegaConfBaseException as error:
            problems.append(f"{key}: {_reason(error)}")
            OmegaConf.update(config, key, None)
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def _reason(error: OmegaConfBaseException) -> str:
    text = str(error).splitlines()[0]
    if match := re.search(r"Environment variable '(.*?)' not found", text):
        return f"environment variable {match[1]} is not set"
    return text


def _flat(config: DictConfig | dict[Any, Any], prefix: str = "") -> Iterator[str]:
    """Yield the full key of every value, interpolations unresolved."""
    plain = OmegaConf.to_container(config) if isinstance(config, DictConfig) else config
    assert isinstance(plain, dict)
    for name, value in plain.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name!s}.")
        else:
            yield f"{prefix}{name!s}"
