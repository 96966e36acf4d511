"""Checkpoints with one key dropped, put back to its value before the first step, or altered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from resuming import flat

from runner.foundation.errors import RunnerError

Place = tuple[Any, ...]
NAMED = ("model", "weights", "config")  # what is below goes by the run's own names
_ABSENT = object()


class Fate(NamedTuple):
    """What became of a changed checkpoint: it was refused, or the run differs, or neither."""

    place: Place
    change: str  # dropped, reset, altered
    refusal: str = ""
    seen: tuple[str, ...] = ()  # in what the resumed run differs
    crash: str = ""

    @property
    def noticed(self) -> bool:
        """Tell whether the change was found, by a clear word or by a difference."""
        return bool(self.refusal or self.seen)

    def __str__(self) -> str:
        found = self.refusal or self.crash or ", ".join(self.seen) or "nothing noticed it"
        return f"{self.change} {'.'.join(map(str, self.place))}: {found}"


def places(content: Any, place: Place = ()) -> Iterator[Place]:
    """Yield the way to everything that a checkpoint holds, parts before what is in them."""
    if isinstance(content, dict | list):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        for key, each in pairs:
            yield (*place, key)
            yield from places(each, (*place, key))


def kind(place: Place) -> str:
    """Return a place without names and numbers of tensors or settings: `state.slots.mean.*`."""
    parts = ["*" if isinstance(key, int) else str(key) for key in place]
    for name in NAMED:
        if name in parts[:-1]:
            parts[parts.index(name) + 1 :] = ["*"]
    return ".".join(parts)


def fates(
    content: Any, fresh: Any, resumed: Callable[[Any], list[str]], wanted: Callable[[Place], bool]
) -> Iterator[Fate]:
    """Drop each wanted key in turn, and give it its first value, or another one if it has that.

    `fresh` is a checkpoint of step 0. `resumed(content)` goes on from one and returns in what the
    run differs from the uncut one.
    """
    for place in filter(wanted, places(content)):
        for change, mutated in _changes(content, fresh, place):
            try:
                yield Fate(place, change, seen=tuple(resumed(mutated)))
            except RunnerError as error:
                bug = error.exit_code == 1
                yield Fate(place, change, **{"crash" if bug else "refusal": str(error)})
            except Exception as error:
                yield Fate(place, change, crash=repr(error))


def _changes(content: Any, fresh: Any, place: Place) -> Iterator[tuple[str, Any]]:
    yield "dropped", _with(content, place, _ABSENT)
    own, first = _at(content, place), _at(fresh, place)
    if first is _ABSENT or not _alike(own, first):
        first = torch.zeros_like(own) if isinstance(own, torch.Tensor) else type(own)()
    if flat(first) != flat(own):
        yield "reset", _with(content, place, first)
    elif not isinstance(own, dict | list):
        yield "altered", _with(content, place, _altered(own))


def _at(content: Any, place: Place) -> Any:
    for key in place:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            return _ABSENT
    return content


def _alike(own: Any, first: Any) -> bool:
    """Tell whether one value can stand for the other: lanes that went leave smaller tensors."""
    return not isinstance(own, torch.Tensor) or own.shape == first.shape


def _with(content: Any, place: Place, value: Any) -> Any:
    """Return a copy in which something else stands at a place, or nothing."""
    key, *rest = place
    copy = dict(content) if isinstance(content, dict) else list(content)
    if rest:
        copy[key] = _with(content[key], tuple(rest), value)
    elif value is _ABSENT:
        del copy[key]
    else:
        copy[key] = value
    return copy


def _altered(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f"{value}x"
    if isinstance(value, tuple):
        return tuple(map(_altered, value))
    return 0.0 if isinstance(value, float) and value == math.inf else value + 1
