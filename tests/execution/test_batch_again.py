"""A batch that goes on elsewhere, in another way, or with what is not its own fault."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest
import torch
from test_batch import TOTAL, Told, base, member, near, read, rows, signalled, three, trained

from runner.components.dataset.data import Data
from runner.execution import batch as batches
from runner.execution import jobs, lanes
from runner.foundation.errors import BadData, Interrupted
from runner.foundation.files import read_json, write_json
from runner.recording import recorder


@pytest.fixture(autouse=True)
def told_at_once(monkeypatch):
    """Let every row be told, and no run lend its data to the next test."""
    for module, name in ((lanes, "TOLD"), (jobs, "TOLD"), (recorder, "WAIT")):
        monkeypatch.setattr(module, name, 0.0)
    batches._lender.cache_clear()


def cut(root: Path, count: int | None = None) -> list[jobs.Member]:
    """Return jobs that were cut at step 8."""
    made = three(root)
    with pytest.raises(Interrupted):
        trained(made, root, count, Told(on=signalled(signal.SIGTERM, 8)))
    return made


def inexact(job: jobs.Member) -> list[str]:
    return read(job.folder, "status.json").get("not_bit_exact", [])


def warned(told: Told) -> set[str]:
    return {each["warning"] for each in told.events if "warning" in each}


@pytest.mark.parametrize("count", [None, 1], ids=["as lanes", "each alone"])
def test_another_machine_is_said(tmp_path, count):
    """F19: a batch that goes on under another torch and with other threads says so, for each."""
    made = cut(tmp_path, count)
    again = tmp_path / "batches/b000"
    path = again / "fingerprint.json" if count is None else again / "job0/fingerprint.json"
    write_json(path, read_json(path) | {"torch": "1.0", "threads": 2})
    told = trained(made, tmp_path, count)
    said = [f"torch 1.0 -> {torch.__version__}", "threads 2 -> 1"]
    assert warned(told) == {f"not bit-exact: {each}" for each in said}
    concerned = made if count is None else made[:1]
    assert [inexact(job) for job in concerned] == [said] * len(concerned)
    assert all(inexact(job) == [] for job in made if job not in concerned)
    assert read_json(path)["torch"] == torch.__version__


@pytest.mark.parametrize("count", [None, 1], ids=["as lanes", "each alone"])
def test_nothing_is_said_where_nothing_changed(tmp_path, count):
    made = cut(tmp_path, count)
    assert not warned(trained(made, tmp_path, count))
    assert [inexact(job) for job in made] == [[]] * 3


def test_what_goes_on_alone_says_so(tmp_path, monkeypatch):
    """Lanes that can no longer be stacked begin anew, each alone, and say that bits differ."""
    made = cut(tmp_path)

    def unstackable(self, held):
        raise batches.Unstackable("vmap: no batching rule")

    monkeypatch.setattr(batches._Batch, "_stacked", unstackable)
    told = trained(made, tmp_path)
    said = "trained as lanes -> alone (vmap: no batching rule)"
    assert warned(told) == {f"not bit-exact: {said}"}
    assert [inexact(job) for job in made] == [[said]] * 3
    assert [rows(job.folder)[0]["step"] for job in made] == [4] * 3
    assert [each["state"] for each in told.final().values()] == ["finished"] * 3


@pytest.mark.parametrize("count", [None, 1], ids=["as lanes", "each alone"])
def test_other_data_is_refused(tmp_path, count, monkeypatch):
    """F32: where a job of a batch would go on with other data, it does not."""
    made = cut(tmp_path, count)
    batches._lender.cache_clear()
    monkeypatch.setattr(Data, "checksum", lambda self: "other")
    if count is None:
        with pytest.raises(BadData, match=r"data hash differs: recorded [0-9a-f]{16}, found other"):
            trained(made, tmp_path)
        return
    told = trained(made, tmp_path, count)
    last = told.final()["job0"]
    assert (last["state"], last["step"]) == ("failed", 8)
    assert "data hash differs: recorded " in last["message"]
    assert read(made[0].folder, "status.json")["exit_code"] == 3


MOODY = """
from runner.components.schedule import Schedule

def moody(total, *, fails: int, tells: int) -> Schedule:
    def at(step, state):
        return 1.0 / (step - fails)

    def observe(state, row, value):
        return {} if row["step"] != tells else state["what nobody knows"]

    return Schedule(at, observe=observe)
"""


@pytest.mark.parametrize("count", [None, 1], ids=["as lanes", "each alone"])
def test_a_schedule_that_fails_on_the_way_ends_its_job_alone(tmp_path, count, monkeypatch):
    """F33: between two rows, and at an evaluation; the others train as if it had not been there."""
    (tmp_path / "moods.py").write_text(MOODY)
    monkeypatch.syspath_prepend(str(tmp_path))
    schedule = {"_target_": "moods.moody", "fails": -1, "tells": -1}
    monkeypatch.setitem(base().config, "schedule", schedule)

    def made(root: Path, *faults: str) -> list[jobs.Member]:
        return [member(f"job{at}", root, f"seed={at}", *filter(None, [fault]), trust=["moods"])
                for at, fault in enumerate(faults)]  # fmt: skip

    faulty = made(tmp_path, "", "schedule.fails=6", "schedule.tells=6", "")
    sound = made(tmp_path / "sound", "", "", "", "")
    final = trained(faulty, tmp_path, count).final()
    trained(sound, tmp_path / "sound", count)
    states = [final[job.id]["state"] for job in faulty]
    assert states == ["finished", "failed", "failed", "finished"]
    for at, fault in ((1, "ZeroDivisionError('float division by zero')"),
                      (2, "KeyError('what nobody knows')")):  # fmt: skip
        said = f"schedule failed at step 6: {fault}; the traceback is in error.txt"
        assert final[f"job{at}"]["message"] == said
        assert 'moods.py", line' in (faulty[at].folder / "error.txt").read_text()
    for at in (0, 3):
        near(rows(faulty[at].folder), rows(sound[at].folder))
    del sys.modules["moods"]


RAISES = """
import sys
from runner.components.optimizer.kind import Optimizer, zeros

def faulty(*, lr: float) -> Optimizer:
    if lr > 1:
        raise RuntimeError("this rate is too much for me")
    if lr > 0.5:
        sys.exit(0)

    def update(parameters, gradients, slots, hyper, t):
        return [w - hyper["lr"] * g for w, g in zip(parameters, gradients)], slots

    return Optimizer({"lr": lr}, zeros(), update)
"""


@pytest.mark.parametrize("count", [None, 1], ids=["as lanes", "each alone"])
@pytest.mark.parametrize(("lr", "said"), [(2.0, "this rate is too much for me"),
                                          (0.6, "its code called sys.exit(0)")])  # fmt: skip
def test_code_that_raises_or_leaves_ends_its_job_alone(tmp_path, count, lr, said, monkeypatch):
    """F33, F34: with the traceback in its own error.txt; jobs that stand beside it train."""
    (tmp_path / "raises.py").write_text(RAISES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(base().config, "optimizer", {"_target_": "raises.faulty", "lr": 0.1})
    made = [member(f"job{at}", tmp_path, f"optimizer.lr={rate}", trust=["raises"])
            for at, rate in enumerate((0.1, lr, 0.2))]  # fmt: skip
    told = trained(made, tmp_path, count)
    assert [each["state"] for each in told.final().values()].count("finished") == 2
    assert told.final()["job1"]["state"] == read(made[1].folder, "status.json")["state"] == "failed"
    assert said in told.final()["job1"]["message"]
    assert read(made[1].folder, "status.json")["exit_code"] == 1
    text = (made[1].folder / "error.txt").read_text()
    assert 'raises.py", line' in text
    assert said in text
    assert [rows(made[at].folder)[-1]["step"] for at in (0, 2)] == [TOTAL, TOTAL]
    del sys.modules["raises"]
