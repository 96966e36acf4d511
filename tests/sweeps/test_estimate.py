"""Estimates of time and memory: measured on the jobs themselves, or none."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from runner.assemble.ways import Way
from runner.compose import Composer
from runner.foundation.errors import RunnerError
from runner.sweeps import estimate
from runner.sweeps.plan import plan

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
WORDS = ["optimizer.lr=0.1,0.2", "seeds=2", "architecture.hidden=[16]", "threads=1",
         "trainer.epochs=2"]  # fmt: skip


def estimated(*words: str) -> list[str]:
    made = plan([*WORDS, *words], Composer())
    return list(estimate.estimates([made.jobs], made.sweep))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.01, "1 s"), (1.4, "1 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"),
     (599.4, "9 min 59 s"), (600, "10 min"), (3590, "1 h 0 min"), (7500, "2 h 5 min"),
     (3 * 86400, "3 days")],
)  # fmt: skip
def test_lengths_of_time_as_people_say_them(seconds: float, text: str) -> None:
    assert estimate.lasting(seconds) == text


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["sweep.lanes=1", "sweep.processes=2"],
         r"estimate: about \d+ s with 2 processes of up to [\d,]+ MB "
         r"\(tried: lr0.1-seed0 alone\)"),
        (["sweep.processes=1"],
         r"estimate: at most about \d+ s with 1 process of up to [\d,]+ MB "
         r"\(tried: lr0.1-seed0 alone; it will try whether lanes are faster\)"),
        (["sweep.cluster=slurm"], "no estimate: the machines of a cluster are not this one"),
        (["dataset=cifar10", "dataset.root=nowhere"], r"no estimate, it would fail: .*nowhere.*"),
    ],
)  # fmt: skip
def test_what_is_said(words: list[str], pattern: str) -> None:
    (line,) = estimated(*words)
    assert re.fullmatch(pattern, line, re.DOTALL), line
    assert os.listdir() == [], "nothing is left behind"


def test_nothing_is_left_to_do() -> None:
    made = plan(WORDS, Composer())
    assert list(estimate.estimates([[], []], made.sweep)) == ["nothing is left to do"] * 2


def test_groups_add_up_and_none_is_tried_when_time_is_up(monkeypatch) -> None:
    made = plan(WORDS, Composer())
    found = [estimate.Estimate(100.0, 10.0, "a"), "no estimate: b", estimate.Estimate(6, 80, "c")]
    monkeypatch.setattr(estimate, "_estimate", lambda *rest: found.pop(0))
    lines = list(estimate.estimates([made.jobs] * 3, made.sweep))
    assert lines[:3] == ["a", "no estimate: b", "c"]
    assert lines[3].startswith("total   estimate: about 1 min 2") or os.cpu_count() != 2
    assert lines[3].endswith(" without 1 group")
    monkeypatch.setattr(estimate, "ALTOGETHER", -1.0)
    (line,) = estimate.estimates([made.jobs], made.sweep)
    assert line == "no estimate: trying the groups before took -1 s"


def test_a_trial_that_takes_too_long_is_ended(monkeypatch) -> None:
    monkeypatch.setattr(estimate, "PATIENCE", 0.2)
    monkeypatch.setattr(estimate, "_tried", lambda *rest: time.sleep(30))
    began = time.monotonic()
    assert estimated() == ["no estimate: a trial took more than 0 s"]
    assert time.monotonic() - began < 10


def test_a_trial_that_dies_is_said(monkeypatch) -> None:
    monkeypatch.setattr(estimate, "_tried", lambda *rest: os._exit(9))
    assert estimated() == ["no estimate: the process of the trial died; out of memory?"]


@pytest.mark.parametrize("lanes", [1, 4])
def test_a_long_job_is_told_by_its_pace(tmp_path: Path, lanes: int) -> None:
    made = plan([*WORDS[:-1], "trainer.epochs=100000"], Composer())
    began = time.monotonic()
    measured = estimate._tried(made.jobs[: max(lanes, 2)], 2, Way(lanes, "trace", 1, ""), tmp_path)
    spent = time.monotonic() - began
    steps = 100_000 * 16
    assert 20e-6 * steps < measured.batch < 20e-3 * steps
    assert spent < 20
    assert measured.memory > 50e6


def test_what_fails_is_raised_and_what_comes_after_the_end_is_not_heard() -> None:
    seen = estimate._Seen()
    with pytest.raises(RunnerError, match="no such thing"):
        seen.report({"state": "failed", "message": "no such thing", "job": "a"})
    seen.report({"state": "running", "job": "a", "step": 1, "total": 9})
    seen.report({"state": "running", "job": "b", "step": 1, "total": 9})
    seen.report({"state": "finished", "job": "a"})
    seen.report({"state": "running", "job": "b", "step": 2, "total": 9})
    assert (len(seen.rows), len(seen.ends)) == (1, 1)
