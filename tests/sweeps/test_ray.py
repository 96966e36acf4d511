"""Sweeps on a real Ray, which the tests start themselves."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runner.foundation.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.ray, pytest.mark.slow]
WORDS = ["-m", "optimizer.lr=logspace(1e-3,1,6)", "seeds=4", "architecture.hidden=[16]",
         "compile=trace", "threads=1", "sweep.lanes=8", "trainer.epochs=100"]  # fmt: skip


def start(*words):
    pytest.importorskip("ray", reason="pip install 'runner[ray]'")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "runner", *words]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def ended(process):
    text, _ = process.communicate(timeout=240)
    return process.returncode, text


def results(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open() as file:
        return [{key: value for key, value in row.items() if key != "seconds"}
                for row in csv.DictReader(file)]  # fmt: skip


def step_of(folder: Path, batch: str) -> int:
    events = read_json(folder / "cluster" / batch / "progress.json").get("events", {})
    return max((event["step"] or 0 for event in events.values()), default=0)


def test_an_interrupted_sweep_ends_as_the_same_one_here():
    """What Ray was at is saved when the command is ended, and goes on with the next."""
    here, there = (Path("outputs/default") / name for name in ("here", "there"))
    process = start(*WORDS, "name=there", "sweep.cluster=ray")
    end = time.monotonic() + 120
    while step_of(there, "b001") == 0:
        assert time.monotonic() < end, process.poll()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    code, text = ended(process)
    assert code == 130, text
    assert "continue with: runner resume" in text
    assert "interrupted" in {
        job["state"] for job in read_json(there / "sweep.json")["jobs"].values()
    }
    code, text = ended(start("resume", str(there)))
    assert code == 0, text
    content = read_json(there / "sweep.json")
    for job in content["jobs"].values():
        job |= {"state": "pending", "started": None, "ended": None, "value": None, "attempts": 0}
    for batch in content["batches"].values():
        assert batch.pop("sent")["to"] == "ray"
    here.mkdir()
    write_json(here / "sweep.json", {**content, "name": "here"})
    code, text = ended(start(*WORDS, "name=here"))
    assert code == 0, text
    assert results(there) == results(here)
    assert len(results(there)) == 24
