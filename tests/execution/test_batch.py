"""A batch of jobs: each leaves the record of a run, however it was trained and interrupted."""

from __future__ import annotations

import copy
import functools
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.assemble.run import assemble
from runner.assemble.settings import Settings
from runner.assemble.speed import begin
from runner.assemble.ways import Way
from runner.components import stopping
from runner.compose import Composition, compose
from runner.config import check
from runner.execution import batch as batches
from runner.execution import jobs, lanes
from runner.execution.batch import perform
from runner.execution.jobs import Member
from runner.execution.launch import Request, launch
from runner.foundation import options
from runner.foundation.errors import Interrupted
from runner.recording import recorder
from runner.recording.console import Silent
from runner.training import checkpoints
from runner.training.ready import Compiled, Traced

SMALL = ["device=cpu", "threads=1", "compile=trace", "dataset=wine", "architecture.hidden=[16]",
         "normalization=batch", "dropout=inverted", "dropout.keep=0.9", "optimizer=momentum",
         "trainer.batch_size=16", "trainer.epochs=4", "trainer.log_every=4steps",
         "output_root=solo"]  # fmt: skip
TOTAL = 24
FILES = {"config.yaml", "status.json", "metrics.jsonl", "summary.json"}
TIMES = {"seconds", "samples_per_second"}


@functools.cache
def base() -> Composition:
    return compose(SMALL)


def member(name: str, root: Path, *overrides: str, trust: Sequence[str] = ()) -> Member:
    """Return a job: the small run with these values, whose directory is `root/name`."""
    config = copy.deepcopy(dict(base().config))
    config.pop("sweep", None)
    swept: dict[str, Any] = {}
    for each in overrides:
        key, _, text = each.partition("=")
        *path, last = key.split(".")
        place = functools.reduce(lambda content, part: content[part], path, config)
        known = not path and last in options.groups([options.own_folder()])
        swept[key] = yaml.safe_load(text)
        place[last] = options.node(last, text) if known else swept[key]
    settings = check(config, Settings, trust=trust)
    request = Request(config, base().choices, list(overrides), list(trust))
    return Member(name, settings, request, root / name, swept)


@dataclass
class Told:
    """What a batch reported; `on` may act on an event."""

    events: list[dict[str, Any]] = field(default_factory=list)
    on: Any = None

    def __call__(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if self.on is not None:
            self.on(event)

    def final(self) -> dict[str, dict[str, Any]]:
        """Return the last word on each job, of which there is one."""
        last = [each for each in self.events if each["state"] != "running"]
        assert len(last) == len({each["job"] for each in last}), "one last word on each"
        return {each["job"]: each for each in last}


def trained(
    members: Sequence[Member], root: Path, count: int | None = None, told: Told | None = None,
    save_minutes: float = 10.0, way: str = "trace",
) -> Told:  # fmt: skip
    """Perform a batch of so many lanes, all of them unless told otherwise."""
    told = told or Told()
    many = len(members) if count is None else count
    perform(members, root / "batches" / "b000", Way(many, way, 1, "a test"), told, save_minutes)
    return told


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def read(folder: Path, name: str) -> dict[str, Any]:
    content = json.loads((folder / name).read_text())
    return {key: each for key, each in content.items() if key not in TIMES | {"versions"}}


def solo(job: Member) -> Path:
    """Train a job as a run that nobody sweeps; return its directory."""
    run = assemble(job.settings)
    begin(run, lambda text: None)
    try:
        return launch(run, job.request, Silent())
    except Exception:
        return max(Path("solo").glob("*/*"), key=lambda path: path.stat().st_mtime_ns)


def near(ours: Any, theirs: Any) -> None:
    """Compare nested results: numbers as float32 rounds, all else exactly."""
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key, value in theirs.items():
            near(ours[key], value)
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            near(one, other)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=2e-3, abs=1e-5)
    else:
        assert ours == theirs


def record(root: Path, job: Member) -> dict[str, Any]:
    """Return all that a job has written and no clock decides."""
    status = read(job.folder, "status.json")
    status.pop("started")
    summary = read(job.folder, "summary.json") if (job.folder / "summary.json").exists() else None
    metrics = (job.folder / "metrics.jsonl").read_bytes()
    return {"status": status, "summary": summary, "metrics": metrics,
            "config": (job.folder / "config.yaml").read_bytes()}  # fmt: skip


def three(root: Path) -> list[Member]:
    return [member(f"job{at}", root, f"optimizer.lr={lr}", f"seed={at}")
            for at, lr in enumerate((0.01, 0.003, 0.03))]  # fmt: skip


@pytest.fixture(autouse=True)
def told_at_once(monkeypatch):
    """Let every row be told, and no run lend its data to the next test."""
    for module, name in ((lanes, "TOLD"), (jobs, "TOLD"), (recorder, "WAIT")):
        monkeypatch.setattr(module, name, 0.0)
    batches._lender.cache_clear()


@pytest.mark.parametrize("count", [3, 1], ids=["as lanes", "each alone"])
def test_each_job_leaves_the_record_of_a_run(tmp_path, count):
    jobs = three(tmp_path)
    told = trained(jobs, tmp_path, count)
    for job in jobs:
        alone = solo(job)
        names = {path.name for path in job.folder.iterdir()}
        events = {name for name in names if name.startswith("events.out.tfevents.")}
        assert names - events == FILES
        assert len(events) == 1
        near(rows(job.folder), rows(alone))
        near(read(job.folder, "summary.json"), read(alone, "summary.json"))
        if count == 1:
            assert (job.folder / "metrics.jsonl").read_bytes() == (
                alone / "metrics.jsonl"
            ).read_bytes()
        status = read(job.folder, "status.json")
        assert (status["state"], status["step"], status["exit_code"]) == ("finished", TOTAL, 0)
        config = yaml.safe_load((job.folder / "config.yaml").read_text())
        assert config == job.request.config | {"threads": 1}
        best = read(job.folder, "summary.json")["best"]
        last = told.final()[job.id]
        assert (last["step"], last["value"], last["message"]) == (TOTAL, best["value"], "")
        assert last["objective"] == best["objective"] == "valid/accuracy"
    running = [each for each in told.events if each["state"] == "running"]
    assert {each["job"] for each in running} == {job.id for job in jobs}
    assert all(each["total"] == TOTAL and each["metrics"]["step"] == each["step"]
               for each in running)  # fmt: skip


def test_events_are_those_of_the_rows(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (job, *_) = jobs = three(tmp_path)
    trained(jobs, tmp_path)
    found = EventAccumulator(str(job.folder)).Reload()
    written = [(row["step"], row["train/loss"]) for row in rows(job.folder)]
    seen = [(each.step, each.value) for each in found.Scalars("train/loss")]
    assert seen == [(step, pytest.approx(loss, rel=1e-6)) for step, loss in written]
    assert "test/accuracy" in found.Tags()["scalars"]


# ---- lanes that end before the others -----------------------------------------------------------

ENDING = {  # overrides; state, last step
    "long": (["seed=1"], "finished", TOTAL),
    "stopped": (["stopping=target", "stopping.value=0.2", "seed=2"], "finished", 6),
    "diverged": (["optimizer.lr=1.0e+30", "seed=3"], "diverged", 4),
    "stopped later": (["stopping=early", "stopping.patience=1", "stopping.min_delta=9.0"],
                      "finished", 12),
    "also long": (["seed=4", "initializer=orthogonal", "schedule=constant"], "finished", TOTAL),
}  # fmt: skip


def ending(root: Path) -> list[Member]:
    common = ["optimizer=sgd", "normalization=none", "loss.alpha=0.1"]
    return [member(name, root, *common, *overrides)
            for name, (overrides, *_) in ENDING.items()]  # fmt: skip


def test_jobs_end_by_themselves(tmp_path, monkeypatch):
    counts = []
    original = lanes.Batch._compacted

    def compacted(self):
        went = original(self)
        counts.append(self.stack.count)
        return went

    monkeypatch.setattr(lanes.Batch, "_compacted", compacted)
    jobs = ending(tmp_path)
    told = trained(jobs, tmp_path)
    assert counts[0] == 5
    assert counts[-1] == 2
    for job in jobs:
        _, state, step = ENDING[job.id]
        last, status = told.final()[job.id], read(job.folder, "status.json")
        assert (last["state"], last["step"]) == (state, step)
        assert (status["state"], status["step"]) == (state, step)
        alone = solo(job)
        near(rows(job.folder), rows(alone))
        if state == "finished":
            near(read(job.folder, "summary.json"), read(alone, "summary.json"))
            continue
        assert not (job.folder / "summary.json").exists()
        assert not (job.folder / "error.txt").exists()
        theirs = read(alone, "status.json")
        assert status["message"] == last["message"] == theirs["message"]
        assert status["exit_code"] == theirs["exit_code"] == 4
        assert " at step " in status["message"]


def test_lanes_whose_number_is_fixed_end_by_themselves_too(tmp_path, monkeypatch):
    """As compiled ones are, whose kernels are for 8; here without a compiler."""
    monkeypatch.setattr(Compiled, "__call__", Traced.__call__)
    fixed, free = ending(tmp_path / "fixed"), ending(tmp_path / "free")
    trained(fixed, tmp_path / "fixed", 8, way="true")
    trained(free, tmp_path / "free")
    for one, other in zip(fixed, free, strict=True):
        assert record(tmp_path, one) == record(tmp_path, other)


# ---- interruptions ------------------------------------------------------------------------------


class Killed(BaseException):
    """The process is no more."""


def signalled(number: int, step: int):
    """Return what sends this process a signal, once, when it hears of a step."""
    sent = []

    def on(event: dict[str, Any]) -> None:
        if event["state"] == "running" and event["step"] == step and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)

    return on


@pytest.mark.parametrize("count", [None, 1], ids=["as lanes", "each alone"])
@pytest.mark.parametrize("make", [three, ending])
def test_a_signal_loses_nothing(tmp_path, make, count):
    """F11: each job that was under way goes on, as if never stopped."""
    whole, cut = make(tmp_path / "whole"), make(tmp_path / "cut")
    trained(whole, tmp_path / "whole", count)
    said = Told(on=signalled(signal.SIGTERM, 8))
    with pytest.raises(Interrupted) as caught:
        trained(cut, tmp_path / "cut", count, said)
    assert caught.value.exit_code == 143
    stopped = {key for key, each in said.final().items() if each["state"] == "interrupted"}
    assert said.final().keys() == {job.id for job in cut}
    assert "also long" in stopped or make is three
    for job in cut:
        status = read(job.folder, "status.json")
        assert status["state"] == said.final()[job.id]["state"]
        if job.id in stopped and count is None:
            assert said.final()[job.id]["step"] == status["step"] == 8
            assert status["exit_code"] == 143
    again = trained(cut, tmp_path / "cut", count)
    assert again.final().keys() == stopped
    for one, other in zip(cut, whole, strict=True):
        assert record(tmp_path, one) == record(tmp_path, other)


def kill(where: str, patch: pytest.MonkeyPatch) -> None:
    """Let a batch save after 7 steps, and end it at a moment as a kill does."""
    saves = []

    def save(folder, step, content):
        saves.append(step)
        if where == "before the second save" and len(saves) == 2:
            raise Killed
        original(folder, step, content)
        if where == f"after the {NTH.get(len(saves))} save":
            raise Killed

    def finish(*given):
        result = finished(*given)
        if where == "after a summary":
            raise Killed
        return result

    def keep(self, waiting, ended):
        if self.stack.step == 7 and where != "before any save":
            self.save()
        if self.stack.step == 11 and where in ("before any save", "between saves"):
            raise Killed

    original, finished = checkpoints.save, lanes.finish
    patch.setattr(checkpoints, "save", save)
    patch.setattr(lanes, "finish", finish)
    patch.setattr(lanes.Batch, "_keep", keep)


NTH = {1: "first", 2: "second"}
MOMENTS = ["before any save", "between saves", "after the first save", "before the second save",
           "after the second save", "after a summary", "after the first is told"]  # fmt: skip


@pytest.mark.parametrize(("make", "where"), [(three, "between saves"),
                                             *((ending, where) for where in MOMENTS)])  # fmt: skip
def test_a_kill_loses_nothing(tmp_path, make, where, monkeypatch):
    """F02, F35: of jobs that go on, and of jobs that end at that moment."""
    whole, cut = make(tmp_path / "whole"), make(tmp_path / "cut")
    trained(whole, tmp_path / "whole")

    def die(event):
        if where == "after the first is told" and event["state"] != "running":
            raise Killed

    told = Told(on=die)
    with monkeypatch.context() as patch:
        kill(where, patch)
        with pytest.raises(Killed):
            trained(cut, tmp_path / "cut", told=told)
    again = trained(cut, tmp_path / "cut")
    assert {*told.final(), *again.final()} == {job.id for job in cut}
    for one, other in zip(cut, whole, strict=True):
        assert record(tmp_path, one) == record(tmp_path, other)
        assert len(list(one.folder.glob("events.out.tfevents.*"))) == 1


def test_what_is_done_is_not_done_again(tmp_path):
    """F16, F35."""
    jobs = three(tmp_path)
    trained(jobs, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert trained(jobs, tmp_path).events == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# ---- faults -------------------------------------------------------------------------------------

UNSTACKABLE = """
from runner.components.optimizer.kind import Optimizer, zeros

def looking(*, lr: float) -> Optimizer:
    def update(parameters, gradients, slots, hyper, t):
        turned = -1.0 if float(gradients[0].sum()) > 1e9 else 1.0
        return [w - turned * hyper["lr"] * g for w, g in zip(parameters, gradients)], slots

    return Optimizer({"lr": lr}, zeros(), update)
"""


def test_what_cannot_be_stacked_trains_alone_and_says_why(tmp_path, monkeypatch):
    (tmp_path / "looks_at_numbers.py").write_text(UNSTACKABLE)
    monkeypatch.syspath_prepend(str(tmp_path))
    own = {"_target_": "looks_at_numbers.looking", "lr": 0.1}
    monkeypatch.setitem(base().config, "optimizer", own)
    jobs = [member(f"job{at}", tmp_path, f"seed={at}", "compile=auto", trust=["looks_at_numbers"])
            for at in (0, 1)]  # fmt: skip
    told = trained(jobs, tmp_path)
    assert [each["state"] for each in told.final().values()] == ["finished", "finished"]
    for job in jobs:
        assert rows(job.folder)[-1]["step"] == TOTAL
        config = (job.folder / "config.yaml").read_text()
        assert "compile: false # auto: alone: vmap: It looks like you're calling .item()" in config
    del sys.modules["looks_at_numbers"]


FAULTS = {  # overrides of the faulty job, part of what is said
    "a number out of range": (["loss.eps=0.9"], "leaves the true class less"),
    "a metric nobody logs": (["loss.eps=0.02", "stopping=target", "stopping.metric=valid/acuracy"],
                             "'valid/acuracy' is not logged"),
}  # fmt: skip


@pytest.mark.parametrize("faulty", [0, 2])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_job_that_cannot_begin_leaves_the_others_alone(tmp_path, faulty, fault):
    """F33."""
    overrides, said = FAULTS[fault]
    jobs = [member(f"job{at}", tmp_path, f"seed={at}", "loss.eps=0.01") for at in range(3)]
    jobs[faulty] = member(f"job{faulty}", tmp_path, *overrides)
    told = trained(jobs, tmp_path)
    for at, job in enumerate(jobs):
        status, last = read(job.folder, "status.json"), told.final()[job.id]
        assert status["state"] == last["state"] == ("failed" if at == faulty else "finished")
    broken = jobs[faulty].folder
    assert {path.name for path in broken.iterdir()} == {"status.json", "error.txt"}
    assert read(broken, "status.json")["exit_code"] == 2
    assert said in read(broken, "status.json")["message"]
    assert said in (broken / "error.txt").read_text()


@pytest.mark.parametrize("count", [None, 1], ids=["as lanes", "each alone"])
def test_a_mistake_of_all_is_told_of_each(tmp_path, count):
    """F33: in its own error.txt too."""
    jobs = [member(f"job{seed}", tmp_path, "loss=mse", f"seed={seed}") for seed in (0, 1)]
    told = trained(jobs, tmp_path, count)
    for job in jobs:
        last = told.final()[job.id]
        assert last["state"] == read(job.folder, "status.json")["state"] == "failed"
        assert "use loss.one_hot=true" in last["message"]
        assert "use loss.one_hot=true" in (job.folder / "error.txt").read_text()


def test_a_rule_that_fails_on_the_way_ends_its_job_alone(tmp_path, monkeypatch):
    """F33."""
    jobs = three(tmp_path)
    jobs[1] = member("job1", tmp_path, "stopping=gradient_norm")

    def fail(row, metric, group):
        raise ValueError("stopping: this metric is gone")

    monkeypatch.setattr(stopping, "logged", fail)
    told = trained(jobs, tmp_path)
    assert [told.final()[job.id]["state"] for job in jobs] == ["finished", "failed", "finished"]
    assert told.final()["job1"]["message"] == "stopping: this metric is gone"
    assert told.final()["job1"]["step"] == 6


def test_a_lane_that_diverges_keeps_its_best_weights(tmp_path, monkeypatch):
    """F21, F24."""
    jobs = [member(f"job{at}", tmp_path, f"seed={at}") for at in (0, 1)]
    original = lanes.Batch._measured

    def measured(self, window):
        found = original(self, window)
        if self.stack.step == TOTAL:
            found[0]["train/loss"] = float("nan")
            self.stack.window[-1].loss[0] = float("nan")
            for tensor in self.stack.weights.values():
                tensor[0] = float("nan")
        return found

    monkeypatch.setattr(lanes.Batch, "_measured", measured)
    told = trained(jobs, tmp_path)
    assert told.final()["job0"]["state"] == "diverged"
    (path,) = checkpoints.listed(tmp_path / "batches" / "b000")[:1]
    kept = checkpoints.read(path)["results"]["job0"]
    value, step, _ = kept["best"]
    assert 0 < step < TOTAL
    run = assemble(jobs[0].settings)
    run.model.load_state_dict(kept["weights"])
    assert run.sign * run.evaluate("valid")[run.goal.partition("/")[2]] == pytest.approx(value)
