"""Axes: from the words of a sweep to the words of its jobs.

    optimizer.lr=0.1,0.01            several values: Hydra's sweeps, also range, choice, glob, sort
    optimizer.lr=logspace(1e-4,1,9)  and linspace, as functions of the same grammar
    sweep.zip=[optimizer.lr,seed]    axes whose values go in step
    sweep.grids=[...]                sets of words; each of them, times the axes outside
    seeds=5                          an axis of seeds, the fastest

A fixed word is an axis of one point, so that the words of a job stand as they were typed.
"""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Glob, Override, RangeSweep, ValueType
from hydra.errors import HydraException

from runner.compose import words
from runner.compose.composer import Composer
from runner.compose.functions import MOST, rounded
from runner.foundation.errors import Misconfigured, did_you_mean

OF_ALL = ("name", "output_root")  # what all jobs of a sweep share
NO_GRID = (
    "an interval has no grid; write linspace(a,b,n) or logspace(a,b,n) "
    "(to search in it is another command)"
)


class Value(NamedTuple):
    """One value of one key: the word that sets it, and what it is."""

    key: str
    word: str
    value: Any


@dataclass(frozen=True)
class Axis:
    """Points that are run in turn: one value each, of zipped keys several; a fixed word has one."""

    keys: tuple[str, ...]
    points: tuple[tuple[Value, ...], ...]
    swept: bool


@dataclass(frozen=True)
class Words:
    """The words of a sweep, told apart."""

    axes: list[Axis]
    seeds: int | None
    settings: list[str]  # of the sweep itself

    @property
    def fixed(self) -> list[str]:
        """Return the words that all jobs share."""
        return [axis.points[0][0].word for axis in self.axes if not axis.swept]


class Point(NamedTuple):
    """A job: its words, and the values of swept keys."""

    words: list[str]
    swept: dict[str, Any]


def tell_apart(typed: Sequence[str], composer: Composer, problems: list[str]) -> Words:
    """Tell the words of a sweep apart; those that cannot be read are problems, and left out."""
    found = Words([], None, [])
    parsed, seeds = [], None
    for word in typed:
        try:
            override = composer.read(word)
            if override.key_or_group == words.SEEDS:
                seeds = _count(override)
            elif words.top(override) == words.SWEEP:
                found.settings.append(_setting(override))
            else:
                found.axes.append(_axis(override, composer))
        except ValueError as error:
            problems.append(str(error))
            continue
        parsed.append(override)
    words.once_each(parsed, problems)
    return Words(_first_of_each(found.axes), seeds, found.settings)


def _first_of_each(axes: list[Axis]) -> list[Axis]:
    """Leave out keys given again, which is said already."""
    return list({axis.keys: axis for axis in reversed(axes)}.values())[::-1]


def _count(override: Override) -> int:
    count = override.value()
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST:
        got = words.given(override)
        hint = "; for seeds of your choice write seed=3,7" if override.is_sweep_override() else ""
        raise Misconfigured(f"seeds: expected a whole number in [1, {MOST}], got {got}{hint}")
    return count


def _setting(override: Override) -> str:
    if override.is_sweep_override():
        got = words.given(override)
        raise Misconfigured(f"{override.key_or_group}: one for all jobs, got {got}")
    return override.input_line or ""


def _axis(override: Override, composer: Composer) -> Axis:
    """Return the axis of a word; raises a ValueError that names what is wrong with it."""
    key = override.key_or_group
    if not override.is_sweep_override():
        value = None if override.is_delete() else override.value()
        return Axis((key,), ((Value(key, override.input_line or "", value),),), False)
    if key in OF_ALL:
        raise Misconfigured(f"{key}: one for all jobs, got {words.given(override)}")
    if override.is_delete():
        raise Misconfigured(f"{override.input_line}: what is removed has no values to sweep")
    points = tuple((Value(key, word, value),) for word, value in _values(override, composer))
    if not points:
        raise Misconfigured(f"{key}: {words.given(override)} has no values")
    return Axis((key,), points, True)


def _values(override: Override, composer: Composer) -> Iterator[tuple[str, Any]]:
    """Yield, for each value of a sweep, the word that sets it, and the value."""
    key = override.key_or_group
    if override.value_type is ValueType.INTERVAL_SWEEP:
        raise Misconfigured(f"{key}: {words.given(override)}: {NO_GRID}")
    name = override.get_key_element()
    for at, element in enumerate(_elements(override, composer)):
        if at == MOST:
            raise Misconfigured(f"{key}: {words.given(override)} has more than {MOST:,} values")
        text = Override._get_value_element_as_str(element)
        yield f"{name}={text}", Override._convert_value(element)


def _elements(override: Override, composer: Composer) -> Iterator[Any]:
    key, value = override.key_or_group, override._value
    if isinstance(value, Glob):
        if key not in composer.groups:
            hint = did_you_mean(key, composer.groups)
            raise Misconfigured(f"{key}: glob chooses among a group's options; no such group{hint}")
        yield from value.filter(list(composer.groups[key]))
        return
    try:
        for element in override.sweep_iterator():
            short = isinstance(value, RangeSweep) and isinstance(element, float)
            yield rounded(element) if short else element  # type: ignore[arg-type]
    except (HydraException, ValueError) as error:
        raise Misconfigured(f"{key}: {words.given(override)}: {error}") from error


def in_step(
    axes: Sequence[Axis], zipped: Sequence[Sequence[str]], problems: list[str]
) -> list[Axis]:
    """Join the axes whose values go in step, where the first of them stands."""
    joined = list(axes)
    for keys in zipped:
        parts = [axis for axis in joined if axis.swept and set(axis.keys) <= set(keys)]
        if not parts:
            continue
        found = [key for axis in parts for key in axis.keys]
        lengths = {" and ".join(axis.keys): len(axis.points) for axis in parts}
        lengths |= {key: 1 for key in keys if key not in found}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{length} of {key}" for key, length in lengths.items())
            problems.append(f"sweep.zip: expected as many values of each key, got {counts}")
        else:
            rows = zip(*(axis.points for axis in parts), strict=True)
            points = tuple(tuple(itertools.chain(*row)) for row in rows)
            at = joined.index(parts[0])
            joined[at] = Axis(tuple(found), points, True)
            joined = [axis for axis in joined if axis not in parts]
    return joined


def seed_axis(first: int, count: int) -> Axis:
    """Return the axis `seeds=count` that begins at a seed."""
    points = tuple((Value("seed", f"seed={seed}", seed),) for seed in range(first, first + count))
    return Axis(("seed",), points, True)


@dataclass(frozen=True)
class Grid:
    """Axes whose every combination is a job, the last the fastest."""

    axes: list[Axis]

    @property
    def size(self) -> int:
        """Return the number of jobs."""
        return math.prod(len(axis.points) for axis in self.axes)

    @property
    def keys(self) -> list[str]:
        """Return the keys that are swept."""
        return [key for axis in self.axes if axis.swept for key in axis.keys]

    def points(self) -> Iterator[Point]:
        """Yield the jobs."""
        keys = set(self.keys)
        for combination in itertools.product(*(axis.points for axis in self.axes)):
            chosen = list(itertools.chain(*combination))
            yield Point(
                [each.word for each in chosen],
                {each.key: each.value for each in chosen if each.key in keys},
            )


def grids(
    outside: Words,
    sets: Sequence[str | Sequence[str]],
    zipped: Sequence[Sequence[str]],
    first_seed: int,
    composer: Composer,
    problems: list[str],
) -> list[Grid]:
    """Return the grids of a sweep: one for each set, or the only one where there are no sets.

    What a set gives is swept, be it one value: another set has another.
    """
    outer = list(outside.axes)
    if outside.seeds is not None:
        outer = [axis for axis in outer if axis.swept or axis.keys != ("seed",)]
    insides = [_inside(at, each, outer, composer, problems) for at, each in enumerate(sets)]
    every = [[*inside, *outer] for inside in insides or [[]]]
    if outside.seeds is not None:
        if any(axis.keys == ("seed",) for axes in every for axis in axes):
            problems.append("seeds: seed is given too; give one of them")
        every = [[axis for axis in axes if axis.keys != ("seed",)] for axes in every]
        every = [[*axes, seed_axis(first_seed, outside.seeds)] for axes in every]
    zipped = _zippable(zipped, every, problems)
    return [Grid(in_step(axes, zipped, problems)) for axes in every]


def _inside(
    at: int,
    given: str | Sequence[str],
    outer: Sequence[Axis],
    composer: Composer,
    problems: list[str],
) -> list[Axis]:
    """Return the axes of a set of words."""
    where = f"sweep.grids[{at}]"
    found: list[str] = []
    try:
        typed = shlex.split(given) if isinstance(given, str) else list(given)
    except ValueError as error:
        problems.append(f"{where}: {given!r}: {error}")
        return []
    inside = tell_apart(typed, composer, found)
    if inside.seeds is not None:
        found.append("seeds: stands outside the sets; in a set write seed=range(5)")
    found += [f"{word}: stands outside the sets" for word in inside.settings]
    everywhere = {key for axis in outer for key in axis.keys}
    for axis in inside.axes:
        if axis.keys[0] in (*OF_ALL, *everywhere):
            found.append(f"{axis.keys[0]}: given outside the sets too, or one for all jobs")
    problems += [f"{where}: {problem}" for problem in found]
    return [Axis(axis.keys, axis.points, True) for axis in inside.axes
            if axis.keys[0] not in (*OF_ALL, *everywhere)]  # fmt: skip


def _zippable(
    zipped: Sequence[Sequence[str]], every: Sequence[Sequence[Axis]], problems: list[str]
) -> list[list[str]]:
    """Return the keys that can be zipped; others, and those in two zips, are problems."""
    swept = {key for axes in every for axis in axes if axis.swept for key in axis.keys}
    seen: set[str] = set()
    found: list[list[str]] = []
    for keys in zipped:
        found.append([])
        for key in keys:
            if key not in swept:
                problems.append(f"sweep.zip: {key} is not swept{did_you_mean(key, swept)}")
            elif key in seen:
                problems.append(f"sweep.zip: {key} is named twice")
            else:
                found[-1].append(key)
            seen.add(key)
    return found
