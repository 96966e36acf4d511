"""The bench: every contender that was asked for has a row, missing ones with the reason."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from runner.assemble.model import construct
from runner.compose import Composer
from runner.sweeps.plan import plan

ROOT = Path(__file__).resolve().parents[1]


def bench(*words: str, **environment: str) -> list[str]:
    done = started(*words, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def started(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts/bench", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **environment},
    )


REFUSED = {
    "W1 --rounds 0": "argument --rounds: expected a whole number of at least 1, got 0",
    "W1 --steps -5": "argument --steps: expected",
    "W9": "no part W9 (there are W1, W2, W3, W4, whole, look) (--help",
    "W1 --contenders eager traced": "no part traced (there are W1, W2, W3, W4, whole, look); "
    "contenders are joined by commas",
    "W1 --contenders eager,fast": "no contender fast (there are tuned, ",
    "W1 sweeps": "no part sweeps (there are W1, W2, W3, W4, whole, look); sweeps stands alone",
    "sweeps W1": "unrecognized arguments: W1",
    "sweeps --jobs 1": "argument --jobs: expected a whole number of at least 2, got 1",
    "sweeps --part 3": "argument --part: expected at least 4 jobs, got 3",
    "sweeps --contenders tuned,fast": "no contender fast (there are ours, basic, tuned, ",
    "sweeps --workload W2 --contenders template": "template sweeps W1 only",
}


@pytest.mark.parametrize(("words", "complaint"), REFUSED.items())
def test_a_mistake_is_refused_in_a_line(words: str, complaint: str) -> None:
    done = started(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"bench: {complaint}")


def test_few_rounds_are_warned_of_and_what_the_default_chose_is_noted() -> None:
    done = started(
        "W1", "--rounds", "1", "--steps", "2", "--threads", "1", "--contenders", "default"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "bench: quartiles of fewer than 3 rounds mean little\n"
    (note,) = [line for line in done.stdout.splitlines() if line.startswith("1 rounds of 2 steps")]
    assert re.search(r"threads: 1, but for `default` \(threads: \d+, traced\); 9 MFLOP", note)


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


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return ROOT / "scripts"


@pytest.mark.slow
def test_sweeps_are_timed_whole_and_what_a_part_took_is_scaled(tmp_path: Path) -> None:
    (tmp_path / "lightning.py").write_text("raise ModuleNotFoundError(\"No module named 'x'\")")
    words = "--jobs 5 --epochs 1 --rounds 1 --part 4 --cold --contenders tuned,template"
    done = started("sweeps", *words.split(), PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    start = lines.index("Sweep of W1: 5 jobs of 1 epochs, cold")
    ours, tuned, template = lines[start + 2 : start + 5]
    assert re.fullmatch(r"ours +\S+ +1\.00 .* 5  each job alone, traced, \d process.*", ours)
    seconds = [float(row.split()[1]) for row in (ours, tuned)]
    assert min(seconds) > 0
    assert float(tuned.split()[2]) == pytest.approx(seconds[1] / seconds[0], rel=0.1)
    assert tuned.endswith(" 4  4 of 5 jobs, scaled")
    assert template.endswith("missing: x is not installed")
    assert "5 learning rates from 0.001 to 0.3, 1 seeds" in lines[start + 5]
    assert f"by `scripts/bench sweeps {words}`" in lines[start + 5]


def test_what_takes_part_in_a_sweep_by_hand_leaves_the_files_of_a_run(
    scripts: Path, tmp_path: Path
) -> None:
    from benchmarks.sweeps import by_hand
    from benchmarks.sweeps.grid import Grid

    folder, threads = tmp_path / "out", torch.get_num_threads()
    try:
        by_hand.sweep(Grid("W1", 2, 3), 1, folder)
    finally:
        torch.set_num_threads(threads)
    folders = sorted(path.name for path in folder.iterdir())
    assert folders == ["lr0.001-seed0", "lr0.3-seed0"]
    found = sorted(path.name.split(".")[0] for path in (folder / folders[1]).iterdir())
    assert found == ["best", "config", "events", "metrics", "summary"]
    rows = (folder / folders[1] / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(row)["train/loss"] for row in rows]
    assert len(losses) == 3
    assert losses[-1] < losses[0] / 2
    summary = json.loads((folder / folders[1] / "summary.json").read_text())
    best = max(json.loads(row)["valid/accuracy"] for row in rows)
    assert summary["valid"]["accuracy"] == pytest.approx(best)


@pytest.mark.parametrize(("jobs", "seeds"), [(64, 8), (256, 16), (24, 4), (7, 1)])
def test_the_runner_sweeps_the_same_jobs(scripts: Path, jobs: int, seeds: int) -> None:
    from benchmarks.sweeps import ours
    from benchmarks.sweeps.grid import Grid

    grid = Grid("W1", jobs, 2)
    assert grid.seeds == seeds
    words = ours.command(grid, Path("out"))
    planned = plan(words[words.index("-m", 3) + 1 :], Composer()).jobs
    swept = {(job.swept["optimizer.lr"], job.swept["seed"]) for job in planned}
    assert swept == set(grid.each())
    assert len(planned) == jobs
    assert {job.settings.trainer.epochs for job in planned} == {2}


def test_the_way_of_a_sweep_is_that_of_most_jobs(scripts: Path, tmp_path: Path) -> None:
    from benchmarks.sweeps import ours

    ways = [(8, "true", 3), (8, "true", 3), (32, "trace", 4)]  # lanes, compile, jobs
    batches = {
        f"b{at}": {"jobs": ["x"] * jobs, "way": {"lanes": lanes, "compile": mode, "threads": 1}}
        for at, (lanes, mode, jobs) in enumerate(ways)
    }
    folder = tmp_path / "default/sweep"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps({"processes": 2, "batches": batches}))
    assert str(ours.way(tmp_path)) == "8 lanes, compiled, 2 processes of 1 thread"
    only = {"processes": 1, "batches": {"b2": batches["b2"]}}
    (folder / "sweep.json").write_text(json.dumps(only))
    assert str(ours.way(tmp_path)) == "4 lanes, traced, 1 process of 1 thread"


def test_what_a_job_takes_is_told_by_the_ends_of_jobs(scripts: Path) -> None:
    from benchmarks.sweeps.contest import apart

    assert apart([9, 11, 13, 15], workers=1) == 2  # the start-up took 7
    assert apart([9, 9, 13, 13], workers=2) == 2  # two in 4 seconds


@pytest.mark.slow
def test_the_steady_state_is_measured_against_the_tuned_loop(scripts: Path) -> None:
    from benchmarks.sweeps.ours import Way
    from benchmarks.sweeps.steady import steady

    result = steady("W1", Way(2, "trace", 1, 2), 2, {})
    assert not result.missing
    assert len(result.ratios) == 2
    assert min(result.ratios) > 0
    assert re.fullmatch(r"[\d,]+ steps of a model a second; the tuned loop [\d,]+", result.chosen)


def test_a_table_takes_the_place_of_its_namesake(scripts: Path) -> None:
    from benchmarks.table import Table, replaced, sweeps_kept

    old, new, other = (Table(title, ["", "n"], [["a", n]]) for title, n in
                       (("Sweep of W1", "1"), ("Sweep of W1", "2"), ("W1", "3")))  # fmt: skip
    page = replaced(replaced("# Page\n\ntext\n", [other, old]), [new])
    assert page == (
        "# Page\n\ntext\n\n## W1\n\n|  | n |\n| --- | ---: |\n| a | 3 |\n"
        "\n## Sweep of W1\n\n|  | n |\n| --- | ---: |\n| a | 2 |\n"
    )
    assert sweeps_kept("# New\n\n## W1\n\nx\n", page) == (
        "# New\n\n## W1\n\nx\n\n## Sweep of W1\n\n|  | n |\n| --- | ---: |\n| a | 2 |\n"
    )
