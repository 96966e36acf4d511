"""Runs that leave out steps: what they log and sum up, when that is too much, cut and resumed."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from poison import batches, changed, losses
from resuming import (
    begin,
    cut,
    quickened,
    record,
    resume,
    rewrite,
    started,
)
from test_batch import TOTAL, Killed, kill, member, read, trained
from test_batch import record as recorded
from test_batch import rows as logged

from runner.assemble.lanes import Together
from runner.foundation.errors import Diverged
from runner.foundation.files import read_json
from runner.recording import directory
from runner.training import checkpoints

# 8 steps in an epoch, 32 in the run; rows at 7, 8, 14, 16, 21, 24, 28, 32.
PLAIN = ("architecture.hidden=[16]", "trainer.batch_size=128", "trainer.epochs=4", "threads=1",
         "trainer.log_every=7steps", "trainer.save_every=5steps", "device=cpu", "optimizer=adam",
         "normalization=batch", "averaging=ema", "trainer.on_nonfinite=skip_step")  # fmt: skip
EVERY = tuple(each.replace("log_every=7", "log_every=1") for each in PLAIN)
BAD = (6, 8, 12, 23, 24, 30)


@pytest.fixture(autouse=True, scope="module")
def _quick() -> Iterator[None]:
    with quickened():
        yield


def rows(folder: Path) -> dict[int, dict[str, Any]]:
    return {row["step"]: row for row in directory.read_rows(folder / directory.METRICS)}


def differing(folder: Path, other: dict[str, Any]) -> list[str]:
    """Return the parts in which a run differs from a record; the norm of a gradient may be nan."""
    return [part for part, each in record(folder).items() if repr(each) != repr(other[part])]


@pytest.fixture(scope="module")
def uncut(tmp_path_factory):
    """Return the directory and the record of the uninterrupted run, trained once."""

    @functools.cache
    def run(overrides: tuple[str, ...]) -> tuple[Path, dict[str, Any]]:
        with changed(batches(*BAD)):
            folder = begin(overrides, tmp_path_factory.mktemp("uncut"))
        return folder, record(folder)

    return run


def test_what_was_left_out_is_counted(uncut):
    """F22: in each row, over all steps so far, in the summary, and in a warning."""
    folder, _ = uncut(PLAIN)
    found = rows(folder)
    assert {step: row["train/skipped"] for step, row in found.items()} == {
        7: 1, 8: 2, 14: 3, 16: 3, 21: 3, 24: 5, 28: 5, 32: 6}  # fmt: skip
    lacking = {step for step, row in found.items() if "train/loss" not in row}
    assert lacking == {8}  # the one step since the row before was left out
    assert "valid/loss" in found[8]
    assert all(math.isfinite(row["train/loss"]) for step, row in found.items() if step != 8)
    summary = read_json(folder / directory.SUMMARY)
    assert [summary["skipped"], summary["steps"]] == [6, 32]
    said = "6 steps were left out: the loss or its gradient was nan or infinite"
    assert said in (folder / directory.LOG).read_text()
    assert directory.status(folder)["state"] == "finished"


def test_a_row_sums_up_the_steps_that_were_made(uncut):
    """F22: that of steps 29 to 32 is the mean of the other three, which have rows of their own."""
    row, each = rows(uncut(PLAIN)[0])[32], rows(uncut(EVERY)[0])
    for name in ("train/loss", "train/accuracy"):
        assert row[name] == pytest.approx(sum(each[step][name] for step in (29, 31, 32)) / 3)


CUTS = [*((PLAIN, after) for after in (-1, 5, 6, -7, 8, 9, 13, -23, 24, 31)),
        (EVERY, 6), (EVERY, -23)]  # fmt: skip


@pytest.mark.parametrize(("overrides", "after"), CUTS)
def test_a_cut_run_leaves_out_the_same(tmp_path, uncut, overrides, after):
    """F02, F11, F22: the counts are in the checkpoint, t among them."""
    with changed(batches(*BAD)):
        with cut(abs(after), kill=after < 0):
            begin(overrides, tmp_path)
        folder = resume(overrides, started(tmp_path))
    assert differing(folder, uncut(overrides)[1]) == []


@pytest.mark.parametrize("count", ["skipped", "unmoved"])
def test_no_count_can_be_lost(tmp_path, uncut, count):
    """F18: without the one another t and another sum follow, without the other another end."""
    bad = range(10, 33) if count == "unmoved" else BAD
    with changed(batches(*bad)):
        with cut(18):
            begin(EVERY, tmp_path)
        folder = started(tmp_path)
        content = checkpoints.read(checkpoints.listed(folder / directory.CHECKPOINTS)[0])
        assert content["state"][count] == (9 if count == "unmoved" else 3)
        content["state"][count] = 0
        rewrite(folder / directory.CHECKPOINTS, content)
        if count == "skipped":
            assert differing(resume(EVERY, folder), uncut(EVERY)[1])
            return
        with pytest.raises(Diverged, match="between steps 19 and 28: first at step 19"):
            resume(EVERY, folder)


@pytest.mark.parametrize(
    ("overrides", "last"), [(PLAIN, 24), (EVERY, 23)], ids=["rows of 7", "each a row"]
)
def test_a_run_that_moves_no_more_has_diverged(tmp_path, overrides, last):
    """F22: every step of a window was left out, and ten at least one after the other."""
    with changed(batches(*range(14, 33))), pytest.raises(Diverged) as caught:
        begin(overrides, tmp_path)
    assert str(caught.value).startswith(
        "the loss or the gradient of each step, all skipped, became nan or infinite between steps "
        f"14 and {last}: first at step 14, where the batch itself held the first number that is "
        "not finite; look at the data"
    )
    folder = started(tmp_path)
    assert directory.status(folder)["state"] == "diverged"
    assert max(rows(folder)) < last


def test_a_gradient_is_left_out_as_a_loss_is(tmp_path):
    """F22: infinite, with a finite loss."""
    with changed(losses(12, 13, gradient=True)):
        folder = begin(PLAIN, tmp_path)
    assert (
        rows(folder)[14]["train/skipped"] == read_json(folder / directory.SUMMARY)["skipped"] == 2
    )


# ---- lanes -------------------------------------------------------------------------------------

SKIP = "trainer.on_nonfinite=skip_step"


@pytest.fixture
def sick(monkeypatch):
    """Let the batches of some steps, counted from 1, hold a nan in the lane of this place."""
    bad: dict[int, tuple[int, ...]] = {}
    original = Together.batches

    def poisoned(self):
        batch, seeds = original(self), [run.settings.seed for run in self.runs]

        def at(step):
            x, y = batch(step)
            for lane, seed in enumerate(seeds):
                if step + 1 in bad.get(seed, ()):
                    x = x.clone()
                    x[lane, 3] = torch.nan
            return x, y

        return at

    monkeypatch.setattr(Together, "batches", poisoned)
    return bad


def four(root: Path) -> list[Any]:
    common = (SKIP, "normalization=batch", "averaging=ema")
    return [member(f"job{at}", root, f"seed={at}", *common) for at in range(4)]


def test_lanes_leave_out_steps_of_their_own(tmp_path, sick):
    """F22, F24: counted for each; no bit of the others depends on it; one of them stands still."""
    healthy = four(tmp_path / "healthy")
    trained(healthy, tmp_path / "healthy")
    sick |= {1: (3, 4, 9), 2: tuple(range(5, TOTAL + 1))}
    jobs = four(tmp_path / "sick")
    told = trained(jobs, tmp_path / "sick")
    for at in (0, 3):
        assert logged(jobs[at].folder) == logged(healthy[at].folder)
        assert read(jobs[at].folder, "summary.json") == read(healthy[at].folder, "summary.json")
    found = {row["step"]: row for row in logged(jobs[1].folder)}
    assert [found[step]["train/skipped"] for step in (4, 8, 12, TOTAL)] == [2, 2, 3, 3]
    assert all(math.isfinite(row["train/loss"]) for row in found.values())
    assert read(jobs[1].folder, "summary.json")["skipped"] == 3
    final = told.final()["job2"]
    assert final["state"] == "diverged"
    assert final["message"].startswith(
        "the loss or the gradient of each step, all skipped, became nan or infinite between steps "
        "5 and 16: first at step 5; "
    )


def test_lanes_that_were_cut_leave_out_the_same(tmp_path, sick):
    """F22, F35: their counts are in the checkpoint they share."""
    sick |= {1: (3, 4, 9, 14, 15), 2: (6, 7, 8, 13)}
    whole = four(tmp_path / "whole")
    trained(whole, tmp_path / "whole")
    jobs = four(tmp_path / "cut")
    with pytest.MonkeyPatch.context() as patch:
        kill("between saves", patch)  # saved after step 7, cut after 11
        with pytest.raises(Killed):
            trained(jobs, tmp_path / "cut")
    trained(jobs, tmp_path / "cut")
    for one, other in zip(jobs, whole, strict=True):
        assert recorded(tmp_path, one) == recorded(tmp_path, other)


def test_a_job_alone_says_the_same(tmp_path):
    job = member("job", tmp_path, SKIP)
    trained([job], tmp_path, 1)
    assert json.loads((job.folder / "summary.json").read_text())["skipped"] == 0
    assert {row["train/skipped"] for row in logged(job.folder)} == {0}
