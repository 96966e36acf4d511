"""A sweep sent away, on a stand-in of a cluster: what is believed, and what is said."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import standin
from rich.console import Console
from standin import job

from runner.execution.launch import Request
from runner.foundation.files import read_json
from runner.recording import directory
from runner.recording.console import Terminal
from runner.sweeps import cluster, dispatch, launch
from runner.sweeps.remote import Progress


class Pretended:
    """A cluster that lets a test say what becomes of each job."""

    name, cpus, cut = "slurm", 3, frozenset({"CANCELLED"})
    outlives, limit = True, None

    def __init__(self, **becomes):
        self.becomes = becomes  # by batch: a call with the batch's folder, the cluster's word
        self.words, self.cancelled, self.sent = {}, [], []

    def submit(self, folders, sweep):
        numbers = []
        for folder in map(Path, folders):
            numbers.append(f"{len(self.sent)}")
            self.sent.append(folder.name)
            does, word = self.becomes[folder.name].pop(0)
            does(folder)
            self.words[numbers[-1]] = word
        return numbers

    def ended(self, ids):
        return {each: self.words[each] for each in ids if self.words[each] != "RUNNING"}

    def cancel(self, ids):
        self.cancelled += ids

    def cancelling(self, ids):
        return f"scancel {' '.join(ids)}"

    def log(self, number):
        return Path("nowhere")


def trains(folder: Path) -> None:
    """Do a task as a batch's process would, its jobs counting steps."""
    task = json.loads((folder / "task.json").read_text())
    progress = Progress(folder, begins=True)
    for each in task["jobs"]:
        home = folder.parent.parent / each["directory"]
        home.mkdir(exist_ok=True)
        directory.set_status(home, state="finished", step=3)
        told = {"job": each["id"], "state": "finished", "step": 3, "value": 0.5,
                "objective": "valid/accuracy", "metrics": {"train/loss": float("nan")}}  # fmt: skip
        progress.report(told)
    progress.over(way={"lanes": 4, "compile": "trace", "threads": 3, "reason": "tried"}
                  if "way" not in task else None)  # fmt: skip


def begins(folder: Path) -> None:
    Progress(folder, begins=True)


def dies(folder: Path) -> None:
    Progress(folder, begins=True).over({"message": "killed", "exit_code": 137, "text": ""},
                                       died=True)  # fmt: skip


def nothing(folder: Path) -> None:
    """Never begin."""


@pytest.fixture
def start(monkeypatch, tmp_path):
    """Run a sweep on a pretended cluster; return its exit code, what it printed, its state."""
    monkeypatch.setattr(cluster, "LOOK", 0.0)
    monkeypatch.setattr(cluster, "ASK", 0.0)
    monkeypatch.setattr(dispatch.Slurm, "ready", staticmethod(lambda: None))
    folder = tmp_path / "s"

    def call(pretended, jobs, detach=False, **values):
        monkeypatch.setattr(dispatch, "cluster_of", lambda state, sweep: pretended)
        terminal = Terminal(Console(file=io.StringIO(), width=10_000, highlight=False))
        for each in jobs:
            each.settings.compile = "auto"
        sweep = standin.sweep(**{"cluster": "slurm", "lanes": 2, "processes": "auto"} | values)
        request = Request(config={}, choices={}, overrides=["x=a,b"])
        code = launch.run(jobs, folder, sweep, request, False, terminal, standin.engine(), detach)
        return code, terminal.console.file.getvalue(), read_json(folder / "sweep.json")

    return call


def jobs(names: str):
    return [job(name) for name in names]


def test_lanes_that_were_given_are_what_is_done(start):
    pretended = Pretended(b000=[(trains, "COMPLETED")], b001=[(trains, "COMPLETED")])
    code, text, content = start(pretended, jobs("abc"))
    assert code == 0
    assert pretended.sent == ["b000", "b001"]
    assert "2 jobs sent: 0 1" in text
    assert content["batches"]["b000"]["sent"] == {"to": "slurm", "as": "0"}
    assert content["batches"]["b000"]["way"] == {
        "lanes": 2, "compile": "trace", "threads": 1, "reason": "sweep.lanes=2"}  # fmt: skip
    assert {each["state"] for each in content["jobs"].values()} == {"finished"}
    assert content["objective"] == "valid/accuracy"


def test_a_way_is_tried_on_the_cluster(start):
    pretended = Pretended(**{"try-id-a": [(trains, "COMPLETED")], "b000": [(trains, "COMPLETED")]})
    code, _, content = start(pretended, jobs("abc"), lanes="auto")
    assert code == 0
    assert pretended.sent == ["try-id-a", "b000"]
    assert content["batches"]["b000"]["way"]["lanes"] == 4


def test_a_trial_that_is_cut_is_no_fault_of_the_jobs(start):
    code, _, content = start(Pretended(**{"try-id-a": [(nothing, "CANCELLED")]}), jobs("ab"),
                             lanes="auto")  # fmt: skip
    assert code == 6
    assert {each["state"] for each in content["jobs"].values()} == {"pending"}


def test_a_trial_that_dies_is_made_with_each_alone(start):
    """F34."""
    pretended = Pretended(**{"try-id-a": [(dies, "RUNNING"), (trains, "COMPLETED")],
                             "b000": [(trains, "COMPLETED")]})  # fmt: skip
    code, text, _ = start(pretended, jobs("ab"), lanes="auto")
    assert code == 0
    assert "trying how to train them together: killed" in text


def test_jobs_that_train_alone_are_shared_out(start):
    pretended = Pretended(**{name: [(trains, "COMPLETED")] for name in ("b000", "b001")})
    _, _, content = start(pretended, jobs("abcde"), lanes=1, processes=2)
    assert [len(each["jobs"]) for each in content["batches"].values()] == [3, 2]


@pytest.mark.parametrize(
    ("becomes", "retries", "states", "said"),
    [
        ([(nothing, "FAILED")], 0, ["failed"], "its job 0 of slurm ended: FAILED; see"),
        ([(nothing, "")], 0, ["failed"], "its job 0 of slurm ended: unknown how"),
        ([(dies, "RUNNING")], 0, ["failed"], "failed    a: killed"),
        ([(dies, "RUNNING"), (trains, "COMPLETED")], 1, ["finished"], "again    a"),
        ([(nothing, "OUT_OF_MEMORY"), (trains, "COMPLETED")], 1, ["finished"], "again    a"),
        ([(begins, "CANCELLED")], 1, ["interrupted"], "b000    0 cancelled"),
        ([(lambda folder: Progress(folder, begins=True).cut(), "FAILED")], 0, ["interrupted"],
         "0 failed"),
    ],
)  # fmt: skip
def test_ends(start, becomes, retries, states, said):
    """Of no fault of the job's own it is cut; all else is a failure, which may be tried again."""
    code, text, content = start(Pretended(b000=becomes), jobs("a"), retries=retries)
    assert code == (0 if states == ["finished"] else 6)
    assert [each["state"] for each in content["jobs"].values()] == states
    assert said in text


def test_what_ended_unseen_is_not_sent_again(start):
    """Nor what is still there; what left without a word is."""
    becomes = {name: [(nothing, "RUNNING")] for name in ("b000", "b001", "b002")}
    pretended = Pretended(**becomes)
    code, text, _ = start(pretended, jobs("abcdef"), detach=True)
    assert code == 0
    assert "cancel: scancel 0 1 2" in text
    folder = Path(text.split()[1])
    trains(folder / "cluster" / "b000")
    pretended.words |= {"0": "COMPLETED", "2": ""}
    pretended.becomes["b002"] = [(trains, "COMPLETED")]
    trains(folder / "cluster" / "b001")  # heard of when it is asked for again
    code, text, content = start(pretended, jobs("abcdef"))
    assert code == 0
    assert pretended.sent == ["b000", "b001", "b002", "b002"]
    assert [each["attempts"] for each in content["jobs"].values()] == [1, 1, 1, 1, 2, 2]


def test_a_failed_job_stops_the_others(start):
    pretended = Pretended(b000=[(dies, "RUNNING")], b001=[(begins, "CANCELLED")])
    code, text, content = start(pretended, [job("a", group="x"), job("b", group="y")],
                                on_failure="stop")  # fmt: skip
    assert code == 6
    assert pretended.cancelled == ["1"]
    assert "a job failed: cancelling 1 batch" in text
    assert [each["state"] for each in content["jobs"].values()] == ["failed", "interrupted"]


def test_configurations_cross_as_they_are(tmp_path):
    """What stands in the environment stays there; a changed one is refused."""
    from runner.compose import compose
    from runner.foundation.errors import Misconfigured
    from runner.sweeps.identity import identity
    from runner.sweeps.remote import members_of, write_task

    composition = compose(["optimizer.lr=0.3", "output_root=${oc.env:SOMEWHERE,/data}"])
    key = identity(composition.config, ["optimizer.lr"])
    request = Request(composition.record, composition.choices, ["optimizer.lr=0.3"])
    member = SimpleNamespace(id=key, swept={"optimizer.lr": 0.3}, request=request,
                             folder=tmp_path / "lr0.3")  # fmt: skip
    write_task(tmp_path / "cluster/b000", [member], batch="b000")
    task = read_json(tmp_path / "cluster/b000/task.json")
    assert "SOMEWHERE" in task["jobs"][0]["record"]["output_root"]
    found = members_of(task, tmp_path)[0]
    assert found.settings.optimizer.arguments["lr"] == 0.3
    assert found.settings.output_root == "/data"
    assert (found.id, found.folder) == (key, tmp_path / "lr0.3")
    task["jobs"][0]["record"]["seed"] = 7
    with pytest.raises(Misconfigured, match=r"lr0\.3: its configuration is another one"):
        members_of(task, tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sweep.cluster=slum"], "sweep.cluster: expected one of slurm, ray"),
        (["sweep.slurm.partiton=x"], "did you mean 'sweep.slurm.partition'?"),
        (["sweep.slurm.time=soon"], "sweep.slurm.time: expected a whole number"),
        (["--detach"], "--detach: leaves a sweep to a cluster; add sweep.cluster=slurm"),
        (["--detach", "sweep.cluster=ray"], "--detach: what Ray was sent ends with the command"),
    ],
)
def test_mistakes(runner, words, said):
    done = runner("-m", "seeds=2", *words)
    assert done.code == 2
    assert said in done.err
    assert not Path("outputs").exists()


def test_what_is_missing_is_named(runner, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name: None if name == "submitit" else found(name))  # fmt: skip
    done = runner("-m", "seeds=2", "sweep.cluster=slurm")
    assert (done.code, "pip install 'runner[slurm]'" in done.err) == (2, True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: sys)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    done = runner("-m", "seeds=2", "sweep.cluster=slurm")
    assert (done.code, "there is no sbatch on PATH" in done.err) == (2, True)
    assert not Path("outputs").exists()


def test_a_batch_is_not_trained_in_two_places(start, tmp_path):
    pretended = Pretended(b000=[(nothing, "RUNNING")])
    start(pretended, jobs("a"), detach=True)
    from runner.foundation.errors import InUse

    before = (tmp_path / "s" / "overrides.yaml").read_bytes()
    with pytest.raises(InUse, match="or cancel them: scancel 0"):
        start(pretended, jobs("a"), cluster=None)
    assert (tmp_path / "s" / "overrides.yaml").read_bytes() == before
