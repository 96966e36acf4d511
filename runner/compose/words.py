"""The words of a command line, `key=value`, read with Hydra's grammar."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence

from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, Sweep
from hydra.errors import HydraException

from runner.compose.functions import parser
from runner.foundation import options
from runner.foundation.absent import NOT_HERE
from runner.foundation.errors import did_you_mean

SWEEP, SEEDS = "sweep", options.SEEDS
ONE_RUN = "belongs to a sweep; add -m, or leave it out"
_QUOTES = 'quote each set: sweep.grids=["optimizer=sgd optimizer.lr=0.1,1","optimizer=adam"]'


class Unreadable(ValueError):
    """A word that is no override, and why."""


def reader() -> Callable[[str], Override]:
    """Return a function that reads a word, each once; it raises `Unreadable`."""
    grammar = parser()

    @functools.cache
    def read(word: str) -> Override:
        key, equals, value = word.partition("=")
        if not key:
            raise Unreadable(f"'{word}': not of the form key=value")
        if equals and not value:
            raise Unreadable(f"{key}: missing value after '='")
        try:
            override = grammar.parse_override(word)
        except HydraException as error:
            raise Unreadable(_why_not(word, key, str(error).splitlines()[0])) from error
        if _nested(override._value):
            raise Unreadable(f"{key}: {value}: a sweep stands by itself, not among other values")
        if re.match(r"hydra[/.](launcher|sweeper)\b", override.key_or_group):
            raise Unreadable(f"{key}: {ONE_RUN}")
        if top(override).partition("/")[0] == "hydra":
            raise Unreadable(f"{key}: the runner composes by itself; hydra has no keys here")
        return override

    return read


def _nested(value: object) -> bool:
    """Tell whether a sweep stands inside a list, a mapping or another sweep."""
    if isinstance(value, ChoiceSweep | list):
        items = value.list if isinstance(value, ChoiceSweep) else value
    elif isinstance(value, dict):
        items = list(value.values())
    else:
        return False
    return any(isinstance(each, Sweep | Glob) or _nested(each) for each in items)


def _why_not(word: str, key: str, reason: str) -> str:
    """Return why Hydra's grammar refuses a word; what a function says stands alone."""
    if call := re.fullmatch(r"\w+ while evaluating '(.*?)': (.*)", reason):
        return f"{key}: {call[1]}: {call[2]}"
    reason = _QUOTES if key == f"{SWEEP}.grids" else reason
    return f"'{word}': not of the form key=value: {reason}"


def top(override: Override) -> str:
    """Return the group or section a word is about."""
    return override.key_or_group.split(".")[0]


def given(override: Override) -> str:
    """Return what stands behind the `=`."""
    return (override.input_line or "").partition("=")[2]


def one_value(override: Override, alone: bool) -> str:
    """Say why a word cannot stand in a single configuration, or nothing.

    `alone`: it is one of a run by itself, not of a sweep's job.
    """
    if override.is_sweep_override():
        value = given(override)
        single = "" if "(" in value else f"for a list write '{override.key_or_group}=[{value}]', "
        return (
            f"{override.key_or_group}: several values, '{value}'; one run takes one: "
            f"add -m for a run of each, {single}for a text quote it"
        )
    if alone and top(override) in (SWEEP, SEEDS):
        return f"{override.key_or_group}: {ONE_RUN}"
    return ""


def once_each(parsed: Sequence[Override], problems: list[str]) -> None:
    """Note the keys that are given more than once."""
    seen: dict[str, list[str]] = {}
    for override in parsed:
        seen.setdefault(override.key_or_group, []).append(override.input_line or "")
    for key, lines in seen.items():
        if len(lines) > 1:
            values = ", ".join(line.partition("=")[2] or line for line in lines)
            problems.append(f"{key}: given {len(lines)} times ({values})")


def is_choice(override: Override, groups: options.Groups) -> bool:
    """Tell `optimizer=adam` from `optimizer.lr=0.1` and from `optimizer={lr: 1}`."""
    value = override.value() if not override.is_delete() else None
    names = isinstance(value, str | list) or value is None
    return override.key_or_group in groups and names and not override.is_delete()


def exists(
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
