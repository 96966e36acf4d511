"""Kinds of values: what an annotation wants, in words, and a value turned into it."""

from __future__ import annotations

import contextlib
import inspect
import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from runner.foundation import durations
from runner.foundation.durations import InSteps, NotZero
from runner.foundation.errors import did_you_mean
from runner.foundation.ranges import Range

_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    types.NoneType: "null",
}


def convert(value: Any, kind: Any) -> Any:
    """Return a plain value as its annotation wants it; a ValueError says why it does not fit.

    Whole floats pass as whole numbers (1e3 for 1000), whole numbers as floats; booleans and
    strings never pass as numbers.
    """
    if kind is Any or kind is inspect.Parameter.empty:
        return value
    if get_origin(kind) is Annotated:
        return _annotated(value, kind)
    if get_origin(kind) in (Union, types.UnionType):
        return _any_of(value, get_args(kind))
    if get_origin(kind) is Literal:
        return _literal(value, get_args(kind))
    return _plain(value, kind)


def _literal(value: Any, allowed: tuple[Any, ...]) -> Any:
    if any(value == each and type(value) is type(each) for each in allowed):
        return value
    raise ValueError(did_you_mean(str(value), map(str, allowed)).lstrip("; "))


def _plain(value: Any, kind: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and number:
        with contextlib.suppress(OverflowError):
            return float(value)
    if kind is int and number:
        if isinstance(value, int) or value.is_integer():
            return int(value)
        raise ValueError("a fraction does not fit")
    if kind in (str, bool, None, types.NoneType) and isinstance(value, kind or types.NoneType):
        return value
    if kind is str and number:
        raise ValueError(f"for a text write \"'{value}'\"")
    raise ValueError("")


def describe(kind: Any) -> str:
    """Say in words what an annotation wants."""
    if get_origin(kind) is Annotated:
        base, *notes = get_args(kind)
        if is_duration(kind):
            return durations.EXAMPLES
        return " ".join([describe(base), *map(str, notes)]).replace(" :", ":")
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(describe(each) for each in get_args(kind))
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) is list:
        return f"a list, each {describe(get_args(kind)[0])}"
    if get_origin(kind) is tuple:
        return f"a list of {len(get_args(kind))}, each {describe(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return "a mapping of names"
    return _WORDS.get(kind) or str(getattr(kind, "description", "a section"))


def _annotated(value: Any, kind: Any) -> Any:
    base, *notes = get_args(kind)
    if is_duration(kind):
        try:
            amount, _ = durations.parse(value)
        except ValueError:
            raise ValueError("") from None
        if not amount and any(note is NotZero or isinstance(note, NotZero) for note in notes):
            raise ValueError("it must be longer than nothing")
        return value
    value = convert(value, base)
    for note in notes:
        if isinstance(note, Range) and value not in note:
            raise ValueError("")
        if callable(check := getattr(note, "check", None)):
            check(value)
    return value


def _any_of(value: Any, kinds: Iterable[Any]) -> Any:
    reasons = []
    for kind in kinds:
        try:
            return convert(value, kind)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(next(filter(None, reasons), ""))


def is_duration(annotation: Any) -> bool:
    """Tell whether an annotation, or a part of a union, is a duration."""
    if get_origin(annotation) in (Union, types.UnionType, list):
        return any(is_duration(each) for each in get_args(annotation))
    notes = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return any(isinstance(note, InSteps) for note in notes)
