"""What is said about the best configuration, and what is not."""

from __future__ import annotations

import math
import statistics

import pytest

from runner.reports import folding, hints, results


def said(folder) -> list[str]:
    found = results.read(folder)
    return hints.hints(found, folding.folded(found))


@pytest.mark.parametrize(
    ("gap", "spread", "close"), [(0.001, 0.02, True), (0.1, 0.01, False), (0.0, 0.01, True)]
)
def test_best_and_second_are_told_apart_by_twice_the_standard_error(
    make_sweep, gap, spread, close
) -> None:
    means = {"sgd": 0.8, "adam": 0.8 - gap, "lion": 0.2}
    folder = make_sweep(
        {"optimizer": list(means), "seed": [0, 1, 2]},
        lambda swept: means[swept["optimizer"]] + spread * (swept["seed"] - 1),
    )
    lines = said(folder)
    error = math.sqrt(2 * statistics.variance([-spread, 0, spread]) / 3)
    assert (gap <= 2 * error) == close
    if gap and close:
        assert f"{error:.4g}" in lines[0]
        assert "not told apart" in lines[0]
    assert len(lines) == close, "and nothing of the third"


def test_one_seed_tells_nothing(make_sweep) -> None:
    folder = make_sweep({"optimizer": ["sgd", "adam"]}, lambda swept: len(swept["optimizer"]) / 9)
    assert "one seed tells nothing" in said(folder)[0]


@pytest.mark.parametrize(
    ("best", "expected"),
    [(0.1, "lr=0.1 is the smallest tried"), (1.0, None), (10.0, "lr=10 is the largest tried")],
)
def test_a_best_value_at_the_edge(make_sweep, best, expected) -> None:
    folder = make_sweep(
        {"optimizer.lr": [0.1, 1.0, 10.0], "seed": [0, 1]},
        lambda swept: (0.9 if swept["optimizer.lr"] == best else 0.5) + 0.001 * swept["seed"],
    )
    lines = said(folder)
    assert [line.partition(":")[0] for line in lines] == ([expected] if expected else [])


def test_two_values_have_no_edge_and_what_diverged_was_tried(make_sweep) -> None:
    folder = make_sweep(
        {"optimizer.lr": [0.1, 1.0, 10.0], "dropout.keep": [0.5, 0.8], "seed": [0, 1]},
        lambda swept: swept["optimizer.lr"] * swept["dropout.keep"] / 9 + 0.001 * swept["seed"],
        lambda swept: "diverged" if swept["optimizer.lr"] > 1 else "finished",
    )
    assert said(folder) == []


def test_an_edge_is_that_of_the_same_words(make_sweep) -> None:
    """adam's best rate is its largest, although sgd has larger ones."""
    folder = make_sweep(
        {"optimizer": ["sgd", "adam"], "optimizer.lr": [0.01, 0.1, 1.0, 10.0], "seed": [0, 1]},
        lambda swept: 0.5 + 0.3 * (swept == {**swept, "optimizer": "adam", "optimizer.lr": 1.0})
        + 0.001 * swept["seed"],
    )  # fmt: skip
    assert said(folder) == []
    found = results.read(folder)
    kept = [each for each in folding.folded(found)
            if (each.swept["optimizer"], each.swept["optimizer.lr"]) != ("adam", 10.0)]  # fmt: skip
    assert [line.partition(":")[0] for line in hints.hints(found, kept)] == [
        "lr=1 is the largest tried"
    ]


def test_a_lucky_mean_is_named(make_sweep) -> None:
    folder = make_sweep(
        {"optimizer": ["sgd", "adam"], "seed": [0, 1]},
        lambda swept: 0.9 if swept["optimizer"] == "adam" else 0.5 + 0.1 * swept["seed"],
        lambda swept: "diverged" if swept == {"optimizer": "adam", "seed": 1} else "finished",
    )
    assert said(folder) == [
        "optimizer=adam has the better mean, 0.9, but only over the 1 of 2 jobs that came through"
    ]


def test_an_unknown_direction_is_said(make_sweep) -> None:
    folder = make_sweep({"optimizer": ["sgd", "adam"]}, lambda swept: 0.5,
                        objective="valid/mine", direction=None)  # fmt: skip
    assert "is not recorded" in said(folder)[0]
