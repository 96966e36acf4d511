"""Ranges: which numbers belong, at each end too, and how a range reads in a message."""

import math
from typing import get_args

import pytest

from runner.foundation import ranges
from runner.foundation.ranges import Range

TABLE = [  # name, text, inside, outside
    ("Finite", "finite", [-1e308, 0, 1e308], []),
    ("Positive", "> 0", [5e-324, 1, 1e308], [0, -0.0, -1e-9]),
    ("NonNegative", ">= 0", [0, -0.0, 3], [-5e-324]),
    ("Fraction", "in [0, 1]", [0, 0.5, 1], [-1e-9, 1 + 1e-9]),
    ("ProperFraction", "in [0, 1)", [0, 1 - 1e-12], [1, -1e-9]),
    ("AtLeastOne", ">= 1", [1, 1 + 1e-12, 1e308], [1 - 1e-12, 0, -1]),
    ("KeepProbability", "in (0, 1]", [1e-12, 1], [0, 1 + 1e-9]),
    ("Count", ">= 1", [1, 10**9], [0, -1]),
    ("Natural", ">= 0", [0, 1], [-1]),
    ("Seed", "in [0, 4294967295]", [0, 2**32 - 1], [-1, 2**32]),
]


@pytest.mark.parametrize(("name", "text", "inside", "outside"), TABLE)
def test_membership_and_text(name, text, inside, outside):
    _, interval = get_args(getattr(ranges, name))
    assert [value for value in inside if value not in interval] == []
    assert [value for value in outside if value in interval] == []
    assert str(interval) == text


def test_every_range_of_the_module_stands_in_the_table():
    named = {name for name, each in vars(ranges).items()
             if any(isinstance(note, Range) for note in get_args(each))}  # fmt: skip
    assert named == {name for name, *_ in TABLE}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("interval", [Range(), Range(0), Range(high=0), Range(0, 1)])
def test_nan_and_infinity_belong_to_no_range(interval, value):
    assert value not in interval


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Range(high=3), "<= 3"),
        (Range(high=3, high_open=True), "< 3"),
        (Range(0.1, 0.25, low_open=True, high_open=True), "in (0.1, 0.25)"),
    ],
)
def test_text_of_other_ranges(interval, text):
    assert str(interval) == text
