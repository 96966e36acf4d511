"""What is read of a sweep's jobs, and results.csv."""

from __future__ import annotations

import csv
import json

import pytest

from runner.foundation.errors import Misconfigured
from runner.foundation.files import locked
from runner.reports import results

STATES = ["finished", "running", "interrupted", "diverged", "failed", "pending"]


@pytest.fixture
def mixed(make_sweep):
    """A sweep with a job in each state."""
    return make_sweep({"optimizer": STATES, "optimizer.lr": [0.5]}, lambda swept: 0.9,
                      lambda swept: swept["optimizer"])  # fmt: skip


def test_rows_of_every_state(mixed) -> None:
    with locked(mixed):
        rows = {row.swept["optimizer"]: row for row in results.rows(mixed)}
    assert [row.state for row in rows.values()] == STATES
    done, running = rows["finished"], rows["running"]
    assert (done.value, done.best_step, done.steps, done.seconds) == (0.9, 4, 6, 1.5)
    assert done.metrics["test/accuracy"] == pytest.approx(0.89)
    assert "test/r2" not in done.metrics, "null is no number"
    assert not done.partial
    assert running.partial
    assert (running.value, running.best_step) == (0.9, 6)
    assert running.metrics["valid/loss"] == pytest.approx(1 / 3), "of the last whole line"
    assert rows["diverged"].metrics == rows["pending"].metrics == {}
    assert rows["failed"].message == "RuntimeError: no more"
    assert rows["pending"].value is None
    assert {row.seed for row in rows.values()} == {7}, "where it is not swept, from a configuration"


def test_a_job_that_says_it_runs_was_cut_if_nobody_is_at_work(mixed) -> None:
    assert [row.state for row in results.rows(mixed)][1] == "interrupted"


def test_jobs_that_are_not_asked_for_any_more_are_left_out(mixed) -> None:
    plan = json.loads((mixed / "sweep.json").read_text())
    first, *_ = plan["jobs"].values()
    first["asked"] = False
    (mixed / "sweep.json").write_text(json.dumps(plan))
    found = results.read(mixed)
    assert (len(found.rows), found.left_out) == (5, 1)


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"jobs": 3}'])
def test_what_is_no_sweep_is_refused(tmp_path, text) -> None:
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(Misconfigured, match="no sweep"):
        results.read(tmp_path)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [("valid/accuracy", "max"), ("valid/top5", "max"), ("valid/r2", "max"), ("train/loss", "min"),
     ("valid/rmse", "min"), ("valid/error", "min"), ("valid/calibration_error", "min"),
     ("valid/mine", None), (None, None)],
)  # fmt: skip
def test_direction_of_the_runners_own_metrics(objective, expected) -> None:
    assert results.direction_of(objective) == expected


def test_the_objective_is_found_where_the_plan_does_not_know_it(make_sweep) -> None:
    folder = make_sweep({"seed": [0, 1]}, lambda swept: 0.5, objective=None, direction=None)
    found = results.read(folder)
    assert (found.objective, found.direction) == ("valid/accuracy", "max")


def test_results_csv_can_be_read_back(mixed) -> None:
    with results.write(results.read(mixed)).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "directory", "optimizer", "optimizer.lr", "seed", "state", "steps", "train/loss",
        "train/accuracy", "valid/loss", "valid/accuracy", "test/loss", "test/accuracy",
        "objective", "best", "best_step", "message", "seconds",
    ]  # fmt: skip
    assert rows[0]["valid/loss"] == repr(1 - 0.9), "in full"
    assert [row["optimizer"] for row in rows] == STATES
    assert rows[3]["message"] == "step 4: the training loss is nan"
    assert rows[3]["valid/accuracy"] == rows[5]["best"] == ""


def test_results_csv_holds_nothing_that_a_clock_decides_but_the_last_column(make_sweep) -> None:
    folder = make_sweep({"optimizer.lr": [0.1, 1e-05], "architecture.hidden": [[64, 32]],
                         "seed": [0, 1]}, lambda swept: 0.5)  # fmt: skip
    first = results.write(results.read(folder)).read_text()
    for at, path in enumerate(folder.glob("*/summary.json")):
        path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": at + 100}))
    again = results.write(results.read(folder)).read_text()
    assert first != again
    assert [line.rpartition(",")[0] for line in first.splitlines()] == [
        line.rpartition(",")[0] for line in again.splitlines()
    ]
    cells = list(csv.DictReader(first.splitlines()))[2]
    assert (cells["optimizer.lr"], cells["architecture.hidden"]) == ("1e-05", "[64,32]")


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        ({"objective": "valid/accuracy", "value": 0.9, "direction": "max"},
         ("valid/accuracy", "max", 0.9)),
        ({"objective": "valid/mine", "value": 0.2, "direction": "min"}, ("valid/mine", "min", 0.2)),
        ({"objective": "valid/loss", "value": 0.2}, ("valid/loss", "min", 0.2)),
        ({"objective": "train/loss", "value": None}, ("train/loss", "min", 0.5)),
        ({"objective": "train/mine", "value": None}, ("train/mine", None, None)),
        ({}, (None, None, None)),
    ],
)  # fmt: skip
def test_the_outcome_of_a_run(best, expected) -> None:
    """The value with the best weights, else that of the last ones, which were kept."""
    found = results.outcome({"train": {"loss": 0.5}, "best": best})
    assert tuple(found.values()) == expected
