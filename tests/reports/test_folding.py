"""Seeds folded, against numpy."""

from __future__ import annotations

import numpy as np
import pytest

from runner.reports import folding, results


def accuracy(swept: dict) -> float:
    return {0.1: 0.8, 1.0: 0.7}[swept["optimizer.lr"]] + 0.01 * swept.get("seed", 0) ** 2


@pytest.mark.parametrize("count", [1, 2, 5])
def test_mean_and_deviation_are_numpys(make_sweep, count) -> None:
    folder = make_sweep({"optimizer.lr": [0.1, 1.0], "seed": list(range(count))}, accuracy)
    first, second = folding.folded(results.read(folder))
    assert (first.label, second.label) == ("lr=0.1", "lr=1")
    for each, base in ((first, 0.8), (second, 0.7)):
        values = [base + 0.01 * seed**2 for seed in range(count)]
        assert each.value.n == len(each.members) == count
        assert each.value.mean == pytest.approx(np.mean(values))
        if count > 1:
            assert each.value.std == pytest.approx(np.std(values, ddof=1))
            assert each.metrics["valid/loss"].std == pytest.approx(np.std(values, ddof=1))
        else:
            assert each.value.std is None


@pytest.mark.parametrize(
    ("states", "members", "partial"),
    [
        (["finished", "running", "diverged"], 1, False),
        (["running", "interrupted", "pending"], 2, True),
        (["diverged", "failed", "pending"], 0, False),
    ],
)
def test_means_are_of_finished_jobs_else_of_those_under_way(
    make_sweep, states, members, partial
) -> None:
    folder = make_sweep({"seed": [0, 1, 2]}, lambda swept: 0.5, lambda swept: states[swept["seed"]])
    (only,) = folding.folded(results.read(folder))
    assert (len(only.members), only.partial) == (members, partial)
    assert (only.value is None) == (members == 0)
    assert only.label == "all seeds"


@pytest.mark.parametrize(
    ("direction", "expected"), [("max", ["a", "b"]), ("min", ["b", "a"]), (None, [])]
)
def test_best_takes_direction_and_leaves_out_what_broke(make_sweep, direction, expected) -> None:
    """c is the best and the worst of all, but diverged once; d failed; e is not finished."""
    values = {"a": 0.6, "b": 0.5, "c": 0.9, "d": 0.1, "e": 0.95}
    broken = {("c", 1): "diverged", ("d", 0): "failed", ("e", 0): "running", ("e", 1): "running"}
    folder = make_sweep(
        {"optimizer": list(values), "seed": [0, 1]},
        lambda swept: values[swept["optimizer"]],
        lambda swept: broken.get((swept["optimizer"], swept["seed"]), "finished"),
        direction=direction,
        objective="valid/mine" if direction is None else "valid/accuracy",
    )
    found = results.read(folder)
    ranked = folding.best(found, folding.folded(found))
    assert [each.swept["optimizer"] for each in ranked] == expected
