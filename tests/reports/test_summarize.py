"""The printed report of a sweep."""

from __future__ import annotations

import os

import pytest

from runner.foundation.files import locked
from runner.recording.console import Terminal
from runner.reports import drawing, results, run, sweep
from runner.reports.results import RESULTS


def printed(folder, capfd, **options) -> str:
    sweep.summarize(folder, Terminal(), **options)
    return capfd.readouterr().out


def test_report_of_a_finished_sweep(make_sweep, capfd) -> None:
    folder = make_sweep(
        {"optimizer.lr": [0.1, 1.0], "seed": [0, 1, 2]},
        lambda swept: 0.9 - 0.3 * swept["optimizer.lr"] + 0.001 * swept["seed"],
    )
    out = printed(folder, capfd)
    assert "jobs    6: 6 finished" in out
    assert "2 configurations: mean ± standard deviation" in out
    (best,) = [line for line in out.splitlines() if line.startswith("*  ")]
    assert best.split()[:6] == ["*", "0.1", "3", "0.8710", "±", "0.0010"]
    assert "* highest valid/accuracy: lr=0.1" in out
    assert "resume" not in out
    assert f"results {folder / RESULTS}" in out
    assert (folder / RESULTS).read_text().count("\n") == 7


@pytest.mark.parametrize(("at_work", "said"), [(True, False), (False, True)])
def test_what_to_do_where_nobody_is_at_work(make_sweep, capfd, at_work, said) -> None:
    folder = make_sweep({"seed": [0, 1]}, lambda swept: 0.5,
                        lambda swept: "pending" if swept["seed"] else "running")  # fmt: skip
    if at_work:
        with locked(folder):
            out = printed(folder, capfd)
    else:
        out = printed(folder, capfd)
    assert (f"go on with: runner resume {folder}" in out) == said
    assert "~0.5" in out
    assert "~ so far" in out
    assert ("1 running, 1 pending" in out) == at_work


def test_what_went_wrong_stands_below(make_sweep, capfd) -> None:
    states = {1.0: "diverged", 10.0: "failed"}
    folder = make_sweep({"optimizer.lr": [0.1, 1.0, 10.0], "seed": [0, 1]}, lambda swept: 0.5,
                        lambda swept: states.get(swept["optimizer.lr"], "finished"))  # fmt: skip
    out = printed(folder, capfd)
    assert "diverged  lr1.0-seed0 (2 of 2 jobs): step 4: the training loss is nan" in out
    assert "failed    lr10.0-seed0 (2 of 2 jobs): RuntimeError: no more" in out
    assert "error.txt" in out
    verbose = printed(folder, capfd, verbose=True)
    assert all(f"lr{rate}-seed{seed}: " in verbose for rate in (1.0, 10.0) for seed in (0, 1))
    assert "train/loss" in verbose


def test_of_many_the_best_are_shown(make_sweep, capfd) -> None:
    folder = make_sweep({"optimizer.lr": [float(at) for at in range(50)]},
                        lambda swept: swept["optimizer.lr"] / 100)  # fmt: skip
    out = printed(folder, capfd)
    rows = [line.split() for line in out.splitlines() if line.endswith("1  0.49  0.48")
            or line.startswith(("   ", "*  "))]  # fmt: skip
    assert [row[-4] for row in rows[1:]] == [str(at) for at in range(49, 9, -1)]
    assert "40 of 50 configurations, best first; all are in results.csv" in out
    assert len(printed(folder, capfd, verbose=True).splitlines()) > 50


def test_a_sweep_that_may_only_be_read_is_shown(make_sweep, capfd, monkeypatch) -> None:
    folder = make_sweep({"seed": [0, 1]}, lambda swept: 0.5)

    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "fsync", refuse)
    out = printed(folder, capfd)
    assert "0.5" in out
    assert "warning: results.csv is not brought up to date" in out


@pytest.mark.parametrize("state", ["finished", "running", "pending"])
def test_a_single_run(make_sweep, capfd, state) -> None:
    folder = make_sweep({"seed": [0]}, lambda swept: 0.5, lambda swept: state) / "seed0"
    run.summarize(folder, Terminal())
    out = capfd.readouterr().out
    expected = {"finished": "best weights of step 4; 6 steps", "running": "valid/accuracy  0.5",
                "pending": "nothing is logged yet"}  # fmt: skip
    assert expected[state] in out


@pytest.mark.parametrize("available", [True, False])
def test_pictures_at_the_end(make_sweep, capfd, monkeypatch, available) -> None:
    monkeypatch.setattr(drawing, "available", lambda: available)
    folder = make_sweep({"seed": [0, 1]}, lambda swept: 0.5)
    paths = sweep.illustrate(results.read(folder), Terminal())
    out = capfd.readouterr().out
    assert f"means   {folder / 'mean'}" in out
    assert (f"figures {folder / 'figures'}" in out) == available
    assert ("pip install 'runner[reports]'" in out) == (not available)
    assert [path.name for path in paths] == ["mean", *["curves.svg", "curves.png"] * available]
