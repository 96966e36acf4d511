"""Mean curves: the numbers, and the event files as TensorBoard reads them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from runner.recording import directory
from runner.reports import curves, results, tensorboard


def logged(*values: float) -> curves.Logged:
    return {"valid/loss": {step: (step / 2, value) for step, value in enumerate(values, 1)}}


def test_mean_and_spread_are_numpys() -> None:
    found = curves.mean([logged(1.0, 2.0), logged(2.0, 5.0), logged(6.0, 2.0)])["valid/loss"]
    columns = np.array([[1, 2, 6], [2, 5, 2]])
    assert [point.step for point in found] == [1, 2]
    assert [point.epoch for point in found] == [0.5, 1.0]
    np.testing.assert_allclose([point.mean for point in found], columns.mean(1))
    np.testing.assert_allclose([point.std for point in found], columns.std(1, ddof=1))


@pytest.mark.parametrize(
    ("runs", "steps"),
    [([logged(1.0, 2.0, 3.0), logged(1.0)], [1]), ([logged(1.0, 2.0)], [1, 2]),
     ([logged(1.0), {}], [])],
)  # fmt: skip
def test_a_mean_stands_where_every_run_has_a_value(runs, steps) -> None:
    assert [point.step for point in curves.mean(runs).get("valid/loss", [])] == steps


def test_only_whole_lines_and_finite_numbers_are_read(tmp_path) -> None:
    lines = ['{"step": 1, "epoch": 0.5, "train/loss": null, "lr": 0.1}\n',
             '{"step": 2, "epoch": 1.0, "train/loss": 2.0}\n',
             '{"step": 3, "epoch": 1.5, "tra']  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    assert curves.logged(tmp_path) == {"train/loss": {2: (1.0, 2.0)}, "lr": {1: (0.5, 0.1)}}


def scalars(folder) -> dict[str, list[tuple[int, float]]]:
    read = EventAccumulator(str(folder)).Reload()
    return {tag: [(point.step, point.value) for point in read.Scalars(tag)]
            for tag in read.Tags()["scalars"]}  # fmt: skip


def test_means_are_runs_of_their_own(make_sweep) -> None:
    folder = make_sweep({"optimizer.lr": [0.1, 1.0], "seed": [0, 1]},
                        lambda swept: 0.5 + 0.2 * swept["seed"])  # fmt: skip
    assert tensorboard.write_means(results.read(folder)) == folder / "mean"
    assert {path.name for path in (folder / "mean").iterdir()} == {
        f"lr{rate}{suffix}" for rate in (0.1, 1.0) for suffix in ("", "+std", "-std")
    }
    mean, above, below = (
        scalars(folder / f"mean/lr0.1{suffix}") for suffix in ("", "+std", "-std")
    )
    rows = [
        list(directory.read_rows(folder / f"lr0.1-seed{seed}/metrics.jsonl")) for seed in (0, 1)
    ]
    for tag in ("train/loss", "valid/accuracy", "lr"):
        values = np.array([[row[tag] for row in each] for each in rows])
        assert [step for step, _ in mean[tag]] == [2, 4, 6]
        std = values.std(0, ddof=1)
        for read, sign in ((mean, 0), (above, 1), (below, -1)):
            found = [value for _, value in read[tag]]
            np.testing.assert_allclose(found, values.mean(0) + sign * std, rtol=1e-6)
    assert mean["test/accuracy"] == [(6, pytest.approx(0.59))]


def test_older_means_are_replaced_and_one_seed_has_none(make_sweep) -> None:
    folder = make_sweep({"optimizer.lr": [0.1], "seed": [0, 1]}, lambda swept: 0.5)
    (folder / "mean/older").mkdir(parents=True)
    tensorboard.write_means(results.read(folder))
    assert not (folder / "mean/older").exists()
    assert not list(folder.glob(".mean*")), "nothing is left behind"
    status = folder / "lr0.1-seed1/status.json"
    status.write_text(json.dumps({"state": "diverged"}))
    assert tensorboard.write_means(results.read(folder)) is None
    assert not (folder / "mean").exists()
