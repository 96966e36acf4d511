"""Stopping rules against a search of the whole history, at every option of `conf/stopping`."""

import io
import math
from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from runner.config import Node, build, check
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "stopping"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("stopping", Node)], kw_only=True)


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"stopping": content | changes}, SCHEMA).stopping


def rule(option, **changes):
    return build(node(option, **changes))


def row(metric):
    """Return a logged row in which every metric is told by one number."""
    return {"step": 10, "train/loss": metric, "gradient/norm": abs(metric),
            "valid/accuracy": 1 - metric, "valid/loss": 2 * metric}  # fmt: skip


def saved_and_loaded(state):
    """Return what a checkpoint gives back of a state."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def stopped_at(stopping, history):
    """Return the number of evaluations after which a rule stops, or None."""
    state = stopping.init()
    for count, metric in enumerate(history, 1):
        before = dict(state)
        following, stop = stopping.observe(state, row(metric), metric)
        assert state == before  # a checkpoint may hold the old one
        if stop:
            return count
        state = saved_and_loaded(following)
    return None


def early(history, patience=5):
    """Return the first count at which the last `patience` hold no new minimum."""
    for count in range(patience + 1, len(history) + 1):
        recent, earlier = history[count - patience : count], history[: count - patience]
        if min(recent) >= min(earlier):
            return count
    return None


def first(true):
    """Return the count of the first true entry, or None."""
    return 1 + int(np.argmax(true)) if np.any(true) else None


def loss_change(history, tolerance=1e-4):
    moved = np.abs(np.diff(history, prepend=np.inf))
    return first(moved < tolerance)


REFERENCES = {
    "none": lambda history: None,
    "early": early,
    "loss_change": loss_change,
    "gradient_norm": lambda history: first(np.abs(history) <= 1e-3),
    "target": lambda history: first(1 - np.array(history) >= 0.95),
}
HISTORIES = [
    (np.random.default_rng(seed).normal(size=60) + np.linspace(3, 0, 60)).tolist()
    for seed in range(20)
]
HISTORIES += [list(range(9, 0, -1)), [1.0] * 9, [0.0, *range(1, 9)], [3, 2, 2, 2, 1, 1, 1, 1, 1, 1]]
HISTORIES += [[9.0 * 0.5**k for k in range(30)], [9.0, 3.0, 0.05, 0.049, 0.001, 0.00095]]


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_rule_stops_where_the_history_says(option):
    found = [stopped_at(rule(option), history) for history in HISTORIES]
    assert found == [REFERENCES[option](history) for history in HISTORIES]
    assert (len(set(found)) > 2) == (option != "none")


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
    for option in ("loss_change", "gradient_norm", "target"):
        assert stopped_at(rule(option), [math.nan, math.nan, math.inf, math.inf]) is None


@pytest.mark.parametrize("tolerance", [1e-6, 0.05, 1.0])
def test_tolerances_are_what_was_asked_for(tolerance):
    changes = [stopped_at(rule("loss_change", tolerance=tolerance), each) for each in HISTORIES]
    assert changes == [loss_change(each, tolerance) for each in HISTORIES]
    norms = [stopped_at(rule("gradient_norm", tolerance=tolerance), each) for each in HISTORIES]
    assert norms == [first(np.abs(each) <= tolerance) for each in HISTORIES]


@pytest.mark.parametrize(("metric", "scale"), [("objective", 1), ("valid/loss", 2)])
def test_change_is_that_of_the_metric_asked_for(metric, scale):
    found = [stopped_at(rule("loss_change", metric=metric, tolerance=0.1), h) for h in HISTORIES]
    assert found == [loss_change(scale * np.array(each), 0.1) for each in HISTORIES]


@pytest.mark.parametrize("value", [-1.0, 0.0, 0.5])
def test_a_target_is_reached_from_either_side(value):
    least = rule("target", metric="valid/accuracy", direction="at_least", value=value)
    most = rule("target", metric="valid/loss", direction="at_most", value=value)
    for history in HISTORIES:
        metric = np.array(history)
        assert stopped_at(least, history) == first(1 - metric >= value)
        assert stopped_at(most, history) == first(2 * metric <= value)
    assert stopped_at(least, [5, 1 - value]) == 2  # reached means equal, too
    assert stopped_at(most, [5, value / 2]) == 2


# ---- lanes ------------------------------------------------------------------------------------

# for each option, the numbers of three lanes
NUMBERS = {
    "none": {},
    "early": {"patience": [1, 2, 3], "min_delta": [0.0, 0.1, 0.5]},
    "loss_change": {"tolerance": [0.05, 0.2, 0.4]},
    "gradient_norm": {"tolerance": [0.05, 0.2, 0.4]},
    "target": {"value": [0.2, 0.5, 1.0]},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_lanes_are_their_solo_selves(option):
    histories, numbers = np.array(HISTORIES[:3]), NUMBERS[option]
    given = node(option)
    tensors = {name: torch.tensor(each, dtype=torch.float64) for name, each in numbers.items()}
    stopping = build(Node(given.key, given.factory, given.arguments | tensors))
    solo = [rule(option, **{name: each[lane] for name, each in numbers.items()})
            for lane in range(3)]  # fmt: skip
    state, states = stopping.init(), [each.init() for each in solo]
    seen = set()
    for metrics in torch.tensor(histories.T):
        state, mask = stopping.observe(saved_and_loaded(state), row(metrics), metrics)
        pairs = [each.observe(state, row(metric), metric) for each, state, metric
                 in zip(solo, states, metrics.tolist(), strict=True)]  # fmt: skip
        states = [state for state, _ in pairs]
        expected = [bool(stop) for _, stop in pairs]
        assert torch.as_tensor(mask).expand(3).tolist() == expected
        seen.add(tuple(expected))
    for name, values in state.items():
        assert values.tolist() == pytest.approx([each[name] for each in states], abs=1e-10)
    assert (len(seen) > 1) == (option != "none")


@pytest.mark.parametrize("option", OPTIONS)
def test_rules_observe_under_vmap(option):
    stopping = rule(option)

    def walk(metrics):
        state, stops = stopping.init(), []
        for metric in metrics:
            state, stop = stopping.observe(state, row(metric), metric)
            stops.append(torch.as_tensor(stop))
        return torch.stack(stops)

    histories = torch.tensor(np.array(HISTORIES[:3]))
    together = torch.func.vmap(walk)(histories)
    assert together.tolist() == [walk(each).tolist() for each in histories]


# ---- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["loss_change", "target"])
def test_a_metric_nobody_logs_is_answered_with_those_there_are(option):
    stopping = rule(option, metric="valid/acuracy")
    with pytest.raises(ValueError, match=r"stopping\.metric: 'valid/acuracy' is not") as found:
        stopping.observe(stopping.init(), row(0.5), 0.5)
    assert "did you mean 'valid/accuracy'?" in str(found.value)
    assert "(logged are step, train/loss, gradient/norm, " in str(found.value)


def test_rules_say_what_they_watch():
    watched = {option: rule(option).watches for option in OPTIONS}
    assert watched == {
        "none": None,
        "early": "objective",
        "loss_change": "train/loss",
        "gradient_norm": "gradient/norm",
        "target": "valid/accuracy",
    }


@pytest.mark.parametrize(
    ("option", "changes", "message"),
    [
        ("early", {"patience": 0}, r"stopping\.patience: expected a whole number >= 1"),
        ("early", {"min_delta": -1}, r"stopping\.min_delta: expected a number >= 0"),
        ("loss_change", {"tolerance": 0}, r"stopping\.tolerance: expected a number > 0"),
        ("gradient_norm", {"tolerance": -1}, r"stopping\.tolerance: expected a number > 0"),
        ("target", {"direction": "above"}, r"stopping\.direction: expected one of at_least, at_m"),
        ("target", {"value": "high"}, r"stopping\.value: expected a number finite"),
    ],
)
def test_numbers_outside_their_range_are_refused(option, changes, message):
    with pytest.raises(Misconfigured, match=message):
        node(option, **changes)
