"""Compose a configuration: the only place that calls Hydra.

Hydra composes the choices of group options (`optimizer=adam`); values (`optimizer.lr=0.1`) are set
on the result, as Hydra itself would, but with every mistake collected instead of the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from runner.compose import values
from runner.compose.composer import Composer, Composition, MistakesFound
from runner.foundation.errors import Misconfigured
from runner.foundation.yaml_faults import load

__all__ = [
    "Composer",
    "Composition",
    "MistakesFound",
    "beside",
    "compose",
    "one_budget",
    "recorded",
]


def compose(
    overrides: Sequence[str],
    *,
    folders: Sequence[Path] = (),
    machine: Mapping[str, Any] | None = None,
    several: Sequence[str] = (),
) -> Composition:
    """Compose the configuration that the overrides ask for, as a run by itself.

    The other arguments are a `Composer`'s. Raises `Misconfigured` with every mistake.
    """
    composition, problems = Composer(folders, machine, several).compose(overrides, alone=True)
    if problems:
        raise MistakesFound(problems, composition.config)
    return composition


def recorded(path: Path) -> Composition:
    """Read the configuration that a run directory recorded."""
    content, problems = load(path)
    problems += [f"{path}: {each}" for each in values.misread(content or {})]
    if problems or content is None:
        raise Misconfigured(problems or f"{path}: the file says nothing")
    record: Any = OmegaConf.to_container(OmegaConf.load(path))
    resolved = values.resolved(record, problems)
    if problems:
        raise Misconfigured([f"{path}: {each}" for each in problems])
    return Composition(resolved, record)


def one_budget(overrides: Sequence[str]) -> list[str]:
    """Return what lets a given budget stand instead of any other; refuse two at once."""
    given = dict(each.split("=", 1) for each in overrides if "=" in each)
    keys = [f"trainer.{unit}" for unit in ("epochs", "steps", "samples")]
    set_ = [key for key in keys if given.get(key, "null") != "null"]
    if len(set_) > 1:
        raise Misconfigured(f"{' and '.join(set_)}: give one of them, not both")
    return [f"{key}=null" for key in keys if set_ and key not in given]


def beside(problems: Sequence[str], further: Sequence[str]) -> list[str]:
    """Return problems of composing, then those found further on that concern other keys."""
    named = {problem.partition(":")[0].partition("=")[0] for problem in problems}
    return [*problems, *(each for each in further if each.partition(":")[0] not in named)]
