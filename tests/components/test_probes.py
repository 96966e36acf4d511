"""When a run is looked at, for every option of conf/probes."""

from __future__ import annotations

import pytest

from runner.components.probes import Probes, full, light, none


def test_nothing_is_looked_at():
    assert none() == Probes("none")
    assert not any(none().due(step, 3) for step in range(100))


@pytest.mark.parametrize("make", [light, full])
@pytest.mark.parametrize(
    ("every", "due"),
    [
        (None, [3, 6, 12, 24, 48, 96]),  # 1, 2, 4, 8 ... epochs of 3 steps
        (40, [3, 40, 80]),  # and the first epoch
        (3, list(range(3, 100, 3))),
        (1, list(range(1, 100))),
    ],
)
def test_steps_that_are_looked_at(make, every, due):
    probes = make(every=every, rows=10, jobs=False)
    assert [step for step in range(1, 100) if probes.due(step, 3)] == due


@pytest.mark.parametrize("make", [light, full])
def test_a_run_of_less_than_an_epoch_is_looked_at_where_it_is_asked_to_be(make):
    assert not any(make(every=None, rows=10, jobs=False).due(step, 100) for step in range(1, 100))
    assert make(every=50, rows=10, jobs=True).due(50, 100)


def test_levels_are_called_as_their_options(runner):
    done = runner("list", "probes")
    assert [word for word in ("none", "light", "full") if word in done.out] == [
        "none",
        "light",
        "full",
    ]
    for level in ("none", "light", "full"):
        assert runner("show", f"probes={level}").code == 0
    done = runner("show", "probes.rows=1")
    assert done.code == 2
    assert "probes.rows: expected a whole number in [2, 10000], got 1" in done.err
