"""Jobs that train together on a full disk: what ends then, and what is told of it."""

from __future__ import annotations

import contextlib
import re
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_batch import TOTAL, Told, ending, record, signalled, trained
from test_disk import limited

from runner.execution import lanes
from runner.foundation.errors import Interrupted
from runner.recording import directory
from runner.training import checkpoints

LIMIT = 9_000  # bytes: less than a checkpoint, more than any of a job's own files
FULL = r"file size limit reached writing \S+/step-(\d+)-\S+ \(need \d+ kB, limit 9\.0 kB\)"
ENDS = [4, 6, 12]  # of the jobs that do not last to the end


@contextlib.contextmanager
def full(until: int) -> Iterator[list[str]]:
    """Let no checkpoint be written before this step; give what is warned of."""
    warned: list[str] = []
    with contextlib.ExitStack() as limit, pytest.MonkeyPatch.context() as patch:
        save = lanes.Batch.save

        def saved(self: lanes.Batch) -> None:
            if self.stack.step >= until:
                limit.close()
            save(self)

        patch.setattr(lanes.Batch, "save", saved)
        patch.setattr(warnings, "warn", warned.append)
        limit.enter_context(limited(LIMIT))
        yield warned


def steps(warned: list[str]) -> list[int]:
    """Return the steps that could not be saved; nothing else is warned of."""
    pattern = f"{FULL}; training goes on, and tries again with the next checkpoint"
    return [int(re.fullmatch(pattern, each)[1]) for each in warned]


@pytest.fixture
def whole(tmp_path: Path) -> list[dict[str, Any]]:
    """Return the records of the jobs that met nothing."""
    jobs = ending(tmp_path / "whole")
    trained(jobs, tmp_path / "whole")
    return [record(tmp_path / "whole", job) for job in jobs]


def test_what_ends_on_a_full_disk_is_told_once_there_is_room(tmp_path, whole):
    """F07: the others train on, a warning for each save that failed, and nothing is lost."""
    jobs, ended = ending(tmp_path), []
    said = Told(on=lambda event: ended.append(event["step"]) if event["state"] != "running" else 0)
    with full(until=12) as warned:
        trained(jobs, tmp_path, told=said)
    assert steps(warned) == [4, 6]
    assert ended == [4, 6, 12, TOTAL, TOTAL]
    assert [record(tmp_path, job) for job in jobs] == whole


def test_what_ends_on_a_disk_that_stays_full_says_so(tmp_path, whole):
    """F07: exit 8 with the reason; with room, they go on from what is saved."""
    jobs = ending(tmp_path)
    with full(until=TOTAL + 1) as warned:
        final = trained(jobs, tmp_path).final()
    assert steps(warned) == ENDS
    assert not checkpoints.listed(tmp_path / "batches/b000")
    for job in jobs:
        status = directory.status(job.folder)
        if job.id == "diverged":
            assert status["state"] == "diverged"
            continue
        assert [status["state"], status["exit_code"]] == ["failed", 8]
        assert status["message"] == final[job.id]["message"]
        assert re.search(FULL, status["message"])[1] == str(TOTAL)
        assert (job.folder / directory.SUMMARY).exists()
        directory.set_status(job.folder, state="interrupted", exit_code=None, message=None)
    trained(jobs, tmp_path)
    assert [record(tmp_path, job) for job in jobs] == whole


def test_a_signal_on_a_full_disk_interrupts_all_the_same(tmp_path, whole, monkeypatch):
    """F07, F38: each job is told so, and that nothing is kept; with room they go on."""
    monkeypatch.setattr(lanes, "TOLD", 0.0)
    jobs, told = ending(tmp_path), Told(on=signalled(signal.SIGTERM, 8))
    with full(until=TOTAL + 1), pytest.raises(Interrupted, match="step 8 could not be") as left:
        trained(jobs, tmp_path, told=told)
    assert left.value.exit_code == 143
    assert str(left.value).endswith("; nothing is kept")
    states = {each["state"] for each in told.final().values()}
    assert "interrupted" in states
    trained(jobs, tmp_path)
    assert [record(tmp_path, job) for job in jobs] == whole
