"""Stopping rules against a search of the whole history, at every option of `conf/stopping`."""

import math
from dataclasses import make_dataclass

import numpy as np
import pytest
from omegaconf import OmegaConf

from runner.config import Node, build, check
from runner.foundation.options import own_folder

FOLDER = own_folder() / "stopping"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("stopping", Node)], kw_only=True)


def rule(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return build(check({"stopping": content | changes}, SCHEMA).stopping)


def stopped_at(stopping, history):
    """Return the number of evaluations after which a rule stops, or None."""
    state = stopping.init()
    for count, metric in enumerate(history, 1):
        before = dict(state)
        following, stop = stopping.observe(state, metric)
        assert state == before  # a checkpoint may hold the old one
        if stop:
            return count
        state = following
    return None


def early(history, patience=5):
    """Return the first count at which the last `patience` hold no new minimum."""
    for count in range(patience + 1, len(history) + 1):
        recent, earlier = history[count - patience : count], history[: count - patience]
        if min(recent) >= min(earlier):
            return count
    return None


REFERENCES = {"none": lambda history: None, "early": early}
HISTORIES = [
    list(np.random.default_rng(seed).normal(size=60) + np.linspace(3, 0, 60)) for seed in range(20)
]
HISTORIES += [list(range(9, 0, -1)), [1.0] * 9, [0.0, *range(1, 9)], [3, 2, 2, 2, 1, 1, 1, 1, 1, 1]]


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_rule_stops_where_the_history_says(option):
    found = [stopped_at(rule(option), history) for history in HISTORIES]
    assert found == [REFERENCES[option](history) for history in HISTORIES]


@pytest.mark.parametrize("patience", [1, 2, 7])
def test_patience_is_what_was_asked_for(patience):
    stopping = rule("early", patience=patience)
    found = [stopped_at(stopping, history) for history in HISTORIES]
    assert found == [early(history, patience) for history in HISTORIES]
    assert len(set(found)) > 3


@pytest.mark.parametrize(
    ("history", "min_delta", "expected"),
    [
        ([5.0, 4.5, 4.1, 3.9], 1.0, 3),  # 4.1 is no whole step below 5
        ([5.0, 4.5, 3.9, 3.5, 3.0], 1.0, 5),  # 3.9 is; then 3.0 is not
        ([5.0, 4.5, 3.5, 2.75, 1.5], 1.0, None),
        ([5.0, 4.0, 4.0], 1.0, 3),  # 4 is lower by min_delta, not by more
        ([5.0, 4.0, 4.0], 0.5, None),
    ],
)
def test_better_means_lower_by_more_than_min_delta(history, min_delta, expected):
    assert stopped_at(rule("early", patience=2, min_delta=min_delta), history) == expected


def test_a_metric_that_is_not_a_number_is_no_improvement():
    assert stopped_at(rule("early", patience=2), [math.nan, math.nan]) == 2
    assert stopped_at(rule("early", patience=2), [math.nan, 3.0, math.nan, 2.0]) is None
    assert stopped_at(rule("early", patience=2), [3.0, math.nan, math.inf]) == 3
