"""Kinds of values: what passes for an annotation, what it becomes, what a message says."""

import inspect
import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import pytest

from runner.foundation.durations import Duration, Period, PeriodText
from runner.foundation.kinds import convert, describe, is_duration
from runner.foundation.ranges import Count, Positive, Seed

HUGE = 10**400  # too large for a float


@dataclass(frozen=True)
class Even:
    """A check of its own."""

    def check(self, value):
        if value % 2:
            raise ValueError("odd")

    def __str__(self):
        return "that is even"


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (3, int, 3),
        (1e3, int, 1000),
        (3, float, 3.0),
        (2**63 - 1, int, 2**63 - 1),
        ("a", str, "a"),
        (True, bool, True),
        (None, int | None, None),
        (3.0, int | None, 3),
        (None, type(None), None),
        ("auto", Literal["auto", "cpu"], "auto"),
        ("auto", Count | Literal["auto"], "auto"),
        (4, Count | Literal["auto"], 4),
        (1, Positive, 1.0),
        (2**32 - 1, Seed, 2**32 - 1),
        ("5%", Duration, "5%"),
        ("0steps", Duration, "0steps"),
        ("5steps", Period, "5steps"),
        (None, PeriodText | None, None),
        (4, Annotated[int, Even()], 4),
        ({"a": 1}, Any, {"a": 1}),
        ("x", inspect.Parameter.empty, "x"),
    ],
)
def test_convert(value, kind, expected):
    converted = convert(value, kind)
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind", "reason"),
    [
        (True, int, ""),
        (True, float, ""),
        (1, bool, ""),
        ("3", int, "leave out the quotes; for an environment variable ${oc.decode:${oc.env:NAME}}"),
        (
            "-.5e3",
            float,
            "leave out the quotes; for an environment variable ${oc.decode:${oc.env:NAME}}",
        ),
        ("3 4", float, ""),
        (2.5, int, "a fraction does not fit"),
        (3, str, "for a text write \"'3'\""),
        (None, str, ""),
        ([1], int, ""),
        ({}, str, ""),
        (math.inf, int, ""),
        (math.nan, int, ""),
        (2**63, int, "no whole number here is larger than 2^63 - 1"),
        (-1e30, Count, "no whole number here is larger than 2^63 - 1"),
        (True, str, "YAML takes yes, no, on and off for true and false; for a text quote it"),
        (math.inf, Positive, ""),
        (math.nan, Positive, ""),
        (0, Positive, ""),
        (True, Count, ""),
        (-1, Seed, ""),
        (2**32, Seed, ""),
        ("autoo", Literal["auto", "cpu"], "did you mean 'auto'?"),
        ("autoo", Count | Literal["auto"], "did you mean 'auto'?"),
        (True, Literal[1], ""),
        (1.0, Literal[1], ""),
        ("5", Duration, ""),
        ("0steps", Period, "it must be longer than nothing"),
        ("0%", PeriodText | None, "it must be longer than nothing"),
        (3, Annotated[int, Even()], "odd"),
    ],
)
def test_convert_refuses(value, kind, reason):
    with pytest.raises(ValueError, match=r".*") as caught:
        convert(value, kind)
    assert str(caught.value) == reason


@pytest.mark.parametrize("kind", [int, Count, float, Positive, Seed, Seed | None])
@pytest.mark.parametrize("value", [HUGE, -HUGE], ids=["huge", "-huge"])
def test_a_number_beyond_a_kind_is_refused_like_any_other(value, kind):
    with pytest.raises(ValueError, match=r".*"):
        convert(value, kind)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int, "a whole number"),
        (float, "a number"),
        (str, "a text"),
        (bool, "true or false"),
        (Positive, "a number > 0"),
        (Seed, "a whole number in [0, 4294967295]"),
        (Count | None, "a whole number >= 1 or null"),
        (Count | Literal["auto"], "a whole number >= 1 or auto"),
        (Any, "a value"),
        (Literal["a", "b"], "one of a, b"),
        (list[Count], "a list, each a whole number >= 1"),
        (tuple[float, float], "a list of 2, each a number"),
        (dict[str, int], "a mapping of names"),
        (Annotated[int, Even()], "a whole number that is even"),
        (Period, "a duration such as 200steps, 10epochs or 5%"),
    ],
)
def test_describe(kind, text):
    assert describe(kind) == text


def test_describe_takes_the_description_of_a_class():
    class Described:
        description: ClassVar[str] = "a described thing"

    assert describe(Described) == "a described thing"
    assert describe(object) == "a section"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(Duration, True), (Period, True), (PeriodText | None, True), (int, False), (Count, False),
     (Count | None, False)],
)  # fmt: skip
def test_is_duration(kind, expected):
    assert is_duration(kind) is expected
