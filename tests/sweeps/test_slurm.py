"""Sweeps on a real Slurm of one node, which the tests start themselves."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import one_node
import pytest

from runner.foundation.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slurm, pytest.mark.slow,
              pytest.mark.skipif(bool(one_node.missing()), reason=one_node.missing())]  # fmt: skip
WORDS = ["-m", "optimizer.lr=logspace(1e-3,1,6)", "seeds=4", "architecture.hidden=[16]",
         "compile=trace", "threads=1", "sweep.lanes=8"]  # fmt: skip
OF_PLACE = ("seconds",)  # columns that a clock decides


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    pytest.importorskip("submitit", reason="pip install 'runner[slurm]'")
    with one_node.slurm(tmp_path_factory.mktemp("slurm")) as path:
        yield path


@pytest.fixture
def run(conf):
    """Run a command of the runner's or of Slurm's; return (exit code, output), or the process."""
    started = []

    def call(*words, wait=True):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "SLURM_CONF": str(conf)}
        own = [] if words[0] in ("scancel", "scontrol") else [sys.executable, "-m", "runner"]
        command = [*own, *words]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)  # fmt: skip
        started.append(process)
        if not wait:
            return process
        return ended(process)

    yield call
    call("scancel", "--me")
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    text, _ = process.communicate(timeout=240)
    return process.returncode, text


def until(true, seconds=90, pause=0.05):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(pause)


def step_of(folder: Path, batch: str) -> int:
    """Return how far a batch is, as it told."""
    events = read_json(folder / "cluster" / batch / "progress.json").get("events", {})
    return max((event["step"] or 0 for event in events.values()), default=0)


def attempts(folder: Path, batch: str) -> int:
    return read_json(folder / "cluster" / batch / "progress.json").get("attempt", 0)


def sent(folder: Path) -> dict[str, str]:
    batches = read_json(folder / "sweep.json").get("batches", {})
    return {name: each["sent"]["as"] for name, each in batches.items() if "sent" in each}


def results(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if key not in OF_PLACE} for row in rows]


def pinned(folder: Path, plan: Path) -> None:
    """Make a sweep that is planned as another was, and has not begun."""
    content = read_json(plan / "sweep.json")
    for job in content["jobs"].values():
        job |= {"state": "pending", "started": None, "ended": None, "value": None, "attempts": 0}
    for batch in content["batches"].values():
        del batch["sent"]
    folder.mkdir()
    write_json(folder / "sweep.json", {**content, "name": folder.name})


def test_a_preempted_sweep_ends_as_the_same_one_here(run, tmp_path):
    """One of its batches is preempted in the middle, and goes on where it was."""
    words = [*WORDS, "trainer.epochs=100"]
    here, there = (Path("outputs/default") / name for name in ("here", "there"))
    process = run(*words, "name=there", "sweep.cluster=slurm", wait=False)
    until(lambda: step_of(there, "b001") > 0)
    assert run("scancel", "--signal=USR2", sent(there)["b001"]) == (0, "")
    # Slurm lets a requeued job wait for two minutes, unless it is told not to.
    hurry = "scontrol", "update", f"JobId={sent(there)['b001']}", "StartTime=now"
    until(lambda: run(*hurry) and attempts(there, "b001") == 2, pause=0.5)
    code, text = ended(process)
    assert code == 0, text
    assert "b001 goes on on" in text
    progress = read_json(there / "cluster/b001/progress.json")
    assert (progress["state"], progress["attempt"]) == ("over", 2)
    pinned(here, there)
    code, text = run(*words, "name=here")
    assert code == 0, text
    assert results(there) == results(here)
    assert len(results(there)) == 24
    for job in read_json(here / "sweep.json")["jobs"].values():
        name = f"{job['directory']}/metrics.jsonl"
        assert (there / name).read_bytes() == (here / name).read_bytes()


SMALL = ["-m", "optimizer.lr=0.1,0.01", "seeds=2", "architecture.hidden=[16]", "compile=trace",
         "threads=1", "name=s", "sweep.cluster=slurm"]  # fmt: skip


def test_left_alone_and_found_again(run):
    """What is queued or at work is not sent twice, and not trained elsewhere."""
    folder = Path("outputs/default/s")
    words = [*SMALL, "trainer.epochs=600", "sweep.lanes=2", "sweep.processes=1"]
    code, text = run(*words, "--detach")
    assert code == 0, text
    assert "at slurm 2 batches go on" in text
    assert f"look: runner report {folder}" in text
    first = sent(folder)
    assert len(first) == 2
    code, text = run(*words, "--detach")
    assert (code, sent(folder)) == (0, first), text
    assert f"b000    still at slurm: {first['b000']}" in text
    code, text = run(*[word for word in words if "cluster" not in word])
    assert code == 7, text
    assert f"scancel {first['b000']}" in text
    until(lambda: step_of(folder, "b000") > 0)
    process = run("resume", str(folder), wait=False)
    until(lambda: (folder / "run.log").read_text().count("b001    still") == 2)
    process.send_signal(signal.SIGINT)
    code, text = ended(process)
    assert code == 130, text
    assert "go on; look: runner report" in text
    code, text = run("resume", str(folder))
    assert (code, sent(folder)) == (0, first), text
    assert {row["state"] for row in results(folder)} == {"finished"}
    jobs = read_json(folder / "sweep.json")["jobs"].values()
    assert [job["attempts"] for job in jobs] == [1] * 4


def test_cancelled_batches_are_saved_and_sent_again(run):
    """The way is found by a job of the cluster, where it is not given."""
    folder = Path("outputs/default/s")
    words = [*SMALL, "trainer.epochs=1000"]
    process = run(*words, wait=False)
    until(lambda: step_of(folder, "b000") > 0)
    number = sent(folder)["b000"]
    trial = next(folder.glob("cluster/try-*"))
    assert read_json(trial / "progress.json")["way"]["threads"] == 1
    assert run("scancel", number) == (0, "")
    code, text = ended(process)
    assert code == 6, text
    assert "interrupted" in {row["state"] for row in results(folder)}
    saved = [json.loads(line)["step"] for path in folder.glob("*/metrics.jsonl")
             for line in path.read_text().splitlines()]  # fmt: skip
    code, text = run(*words)
    assert code == 0, text
    rows = [[json.loads(line)["step"] for line in path.read_text().splitlines()]
            for path in folder.glob("*/metrics.jsonl")]  # fmt: skip
    assert all(each == sorted(set(each)) for each in rows)
    assert sum(map(len, rows)) > len(saved) > 0
    assert {row["state"] for row in results(folder)} == {"finished"}


def test_what_sbatch_refuses(run):
    code, text = run(*SMALL, "trainer.epochs=1", "sweep.lanes=2", "sweep.slurm.partition=nowhere")
    assert code == 2, text
    assert "sweep.slurm: " in text
    assert "partition" in text
    assert "Traceback" not in text
