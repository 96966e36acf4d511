"""Kinds of values: what an annotation wants, in words, and a value turned into it."""

from __future__ import annotations

import contextlib
import inspect
import math
import re
import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from runner.foundation.durations import InSteps
from runner.foundation.errors import did_you_mean
from runner.foundation.ranges import Range

LARGEST = 2**63 - 1  # whole number, as tensors have them
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
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
    if kind is int and number and (isinstance(value, int) or value.is_integer()):
        if abs(value) <= LARGEST:
            return int(value)
        raise ValueError("no whole number here is larger than 2^63 - 1")
    if kind in (str, bool, None, types.NoneType) and isinstance(value, kind or types.NoneType):
        return value
    raise ValueError(_way_out(value, kind))


def _way_out(value: Any, kind: Any) -> str:
    """Say how a value of another kind may have come about, and what to write instead."""
    if kind is str and isinstance(value, bool):
        return "YAML takes yes, no, on and off for true and false; for a text quote it"
    if kind is str and isinstance(value, int | float):
        return f"for a text write \"'{value}'\""
    if kind is int and isinstance(value, float) and math.isfinite(value):
        return "a fraction does not fit"
    if kind in (int, float) and isinstance(value, str) and _NUMBER.fullmatch(value):
        return "leave out the quotes; for an environment variable ${oc.decode:${oc.env:NAME}}"
    return ""


def describe(kind: Any) -> str:
    """Say in words what an annotation wants."""
    if get_origin(kind) is Annotated:
        base, *notes = get_args(kind)
        if (duration := _duration(kind)) is not None:
            return duration.examples
        return " ".join([describe(base), *map(str, notes)]).replace(" :", ":")
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(describe(each) for each in get_args(kind))
    if get_origin(kind) is Literal:
        allowed = ", ".join(map(str, get_args(kind)))
        return f"one of {allowed}" if len(get_args(kind)) > 1 else allowed
    if get_origin(kind) is list:
        return f"a list, each {describe(get_args(kind)[0])}"
    if get_origin(kind) is tuple:
        return f"a list of {len(get_args(kind))}, each {describe(get_args(kind)[0])}"
    if get_origin(kind) is dict:
        return "a mapping of names"
    if kind is Any or kind is inspect.Parameter.empty:
        return "a value"
    return _WORDS.get(kind) or str(getattr(kind, "description", "a section"))


def _annotated(value: Any, kind: Any) -> Any:
    base, *notes = get_args(kind)
    if (duration := _duration(kind)) is not None:
        duration.check(value)
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
    return _duration(annotation) is not None


def _duration(annotation: Any) -> InSteps | None:
    """Return what marks an annotation as a duration."""
    notes = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((note for note in notes if isinstance(note, InSteps)), None)
