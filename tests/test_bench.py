"""The bench: every contender that was asked for has a row, missing ones with the reason."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from runner.assemble.model import construct

ROOT = Path(__file__).resolve().parents[1]


def bench(*words: str, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/bench", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_contender_has_a_row_and_a_missing_one_its_reason(tmp_path: Path) -> None:
    (tmp_path / "skorch.py").write_text("raise ModuleNotFoundError(name='skorch')")
    names = "eager,typical,skorch"
    lines = bench("W1", "--rounds", "2", "--steps", "5", "--threads", "1", "--contenders", names,
                  PYTHONPATH=str(tmp_path))  # fmt: skip
    start = next(at for at, line in enumerate(lines) if line.startswith("W1: MLP 64-128-128-10"))
    rows = {line.split()[0]: line for line in lines[start + 2 : start + 6]}
    assert list(rows) == ["tuned", "typical", "eager", "skorch"]
    for name in ("tuned", "typical", "eager"):
        speed, low, high = map(float, re.findall(r"\d+\.\d\d", rows[name])[:3])
        assert 0 < low <= speed <= high
    assert rows["skorch"].endswith("missing: skorch is not installed")
    assert "2 rounds of 5 steps; threads: 1" in lines[start + 6]
    assert any(line.startswith("threads  GEMM, GFLOP/s") for line in lines)


def test_a_step_goes_into_its_parts() -> None:
    *_, header, row, _ = bench("W1", "--profile", "--steps", "5", "--threads", "1")
    assert header.split() == ["µs/step", "data", "forward", "backward", "update", "logging",
                              "other"]  # fmt: skip
    shares = [float(share) for share in re.findall(r"(-?\d+\.\d)%", row)]
    assert len(shares) == 6
    assert abs(sum(shares) - 100) < 0.5
    assert min(shares) >= 0


def test_networks_by_hand_are_those_of_the_runner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from benchmarks.workloads import CLASSES, WORKLOADS, settings

    for workload in WORKLOADS.values():
        ours, _ = construct(settings(workload), workload.shape, CLASSES, nn.Identity())
        shapes, by_hand = (
            sorted(tuple(parameter.shape) for parameter in model.parameters())
            for model in (ours, workload.model())
        )
        assert shapes == by_hand, workload.text
