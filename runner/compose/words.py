"""The words of a command line, `key=value`, read with Hydra's grammar."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence

from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, Sweep
from hydra.errors import HydraException

from runner.compose.functions import parser
from runner.compose.unreadable import deep, unreadable_key, unreadable_value
from runner.compose.written import NO_HYDRA
from runner.foundation import options
from runner.foundation.absent import NOT_HERE
from runner.foundation.errors import did_you_mean, shown
from runner.foundation.files import flat

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
        if why_not := unreadable_key(word, key, equals):
            raise Unreadable(why_not)
        if equals and not value:
            raise Unreadable(f"{key}: missing value after '='")
        try:
            override = grammar.parse_override(word)
        except HydraException as error:
            raise Unreadable(_why_not(key, value, str(error))) from error
        except (ValueError, RecursionError) as error:
            long = "too many digits" if isinstance(error, ValueError) else "nested too deeply"
            raise Unreadable(f"{key}: cannot read {shown(value)}: {long}") from error
        if _nested(override._value):
            raise Unreadable(f"{key}: {value}: a sweep stands by itself, not among other values")
        if deep(value):
            raise Unreadable(f"{key}: {shown(value)}: nested too deeply")
        if re.match(r"hydra[/.](launcher|sweeper)\b", override.key_or_group):
            raise Unreadable(f"{key}: {ONE_RUN}")
        if top(override).partition("/")[0] == "hydra":
            raise Unreadable(f"{key.lstrip('+~')}: {NO_HYDRA}")
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


def _why_not(key: str, value: str, reason: str) -> str:
    """Return why Hydra's grammar refuses a word; what a function says stands alone."""
    if call := re.match(r"\w+ while evaluating '(.*?)': (.*)", reason):
        return f"{key}: {call[1]}: {call[2]}"
    if key == f"{SWEEP}.grids":
        return f"{key}: cannot read {shown(value)}: {_QUOTES}"
    return f"{key}: cannot read {shown(value)}: {unreadable_value(key, value)}"


def top(override: Override) -> str:
    """Return the group or section a word is about."""
    return override.key_or_group.split(".")[0]


def given(override: Override) -> str:
    """Return what stands behind the `=`."""
    return (override.input_line or "").partition("=")[2]


def one_value(override: Override, alone: bool, lists: bool) -> str:
    """Say why a word cannot stand in a single configuration, or nothing.

    `alone`: it is one of a run by itself, not of a sweep's job. `lists`: its key may take several.
    """
    if override.is_sweep_override():
        key, value = override.key_or_group, given(override)
        ways = ["add -m for a run of each"]
        ways += [f"for a list write '{key}=[{value}]'"] if lists and "(" not in value else []
        ways += ["for a text quote it"] if lists else []
        return f"{key}: several values, '{value}'; one run takes one: {', '.join(ways)}"
    if alone and top(override) in (SWEEP, SEEDS):
        return f"{override.key_or_group}: {ONE_RUN}"
    return ""


def once_each(parsed: Sequence[Override], problems: list[str]) -> None:
    """Note the keys that are given more than once, be it inside a mapping."""
    seen: dict[str, list[str]] = {}
    for override in parsed:
        value = None if override.is_delete() else override.value()
        inside = flat({override.key_or_group: value}) if isinstance(value, dict) else None
        for key, each in (inside or {override.key_or_group: given(override)}).items():
            seen.setdefault(key, []).append(str(each) or override.input_line or "")
    for key, values in seen.items():
        if len(values) > 1:
            problems.append(f"{key}: given {len(values)} times ({', '.join(values)})")


def is_choice(override: Override, groups: options.Groups) -> bool:
    """Tell `optimizer=adam` from `optimizer.lr=0.1` and from `optimizer={lr: 1}`."""
    value = override.value() if not override.is_delete() else None
    names = isinstance(value, str | list) or value is None
    return override.key_or_group in groups and names and not override.is_delete()


def chosen(choosing: Sequence[Override]) -> Iterator[tuple[str, str]]:
    """Yield the group and the name of every option that words choose."""
    for override in choosing:
        value = override.value()
        for name in value if isinstance(value, list) else [value]:
            yield override.key_or_group, str(name)


def at_its_place(override: Override) -> str:
    """Say why a choice cannot be made where or how a word asks for it, or nothing."""
    typed = (override.input_line or "").partition("=")[0]
    if typed == override.key_or_group:
        return ""
    return f"{typed}: each group has its options in one place; write {override.key_or_group}=" + (
        given(override)
    )


def exists(
    override: Override, groups: options.Groups, several: Sequence[str], problems: list[str]
) -> bool:
    """Note a choice that cannot be made: unknown, none at all, or many where one is wanted."""
    group, value = override.key_or_group, override.value()
    available = f"({group} has {', '.join(sorted(groups[group]))})"
    names = value if isinstance(value, list) else [value]
    if value is None and group == "experiment":
        return False  # as without the word
    if not value or (isinstance(value, list) and group not in several):
        problems.append(f"{group}: choose one option {available}")
        return False
    unknown = [name for name in names if not isinstance(name, str) or name not in groups[group]]
    for name in unknown:
        hint = did_you_mean(str(name), groups[group])
        reason = NOT_HERE.get(group, {}).get(str(name))
        why = f"; not here: {reason}" if reason else f"{hint} {available}"
        typed = name if re.fullmatch(r"[\w./-]{1,60}", str(name)) else shown(name)
        problems.append(f"{group}={typed}: no such option{why}")
    if not unknown and len(set(names)) < len(names):
        again = next(name for name in names if names.count(name) > 1)
        problems.append(f"{group}: '{again}' given twice")
    return not unknown
