"""`-m` on the command line: what is printed, what is handed over, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MISTAKES = [
    ("-m seed=3", "-m: nothing is swept; give a key several values"),
    ("-m optimizer.lr=interval(0,1)", "an interval has no grid; write linspace(a,b,n)"),
    ("-m optimizer.lr=-1,0.1 activation=rellu", "2 mistakes, nothing was run:"),
    ("train -m seeds=2 seed=0,1", "seeds: seed is given too; give one of them"),
    ("--multirun seeds=1001", "1,001 jobs, more than sweep.max_jobs=1000"),
    ("-m seeds=2 sweep.max_job=3", "sweep.max_job: unknown key; did you mean 'sweep.max_jobs'?"),
    ("-m seeds=2 sweep.retries=-1", "sweep.retries: expected a whole number >= 0, got -1"),
    ("-m seeds=2 name=../x", "name: expected a text of up to 80 letters"),
    ("-m optimizer.lr=1,2 sweep.zip=[optimizer.lr,sed]", "sweep.zip: sed is not swept"),
    ("-m sweep.grids=[optimizer=sgd]", "quote each set: sweep.grids=["),
    ("-m seeds=2 --config-dir nowhere", "nowhere: no such folder"),
    ("-m --seeds=2", "configuration has no dashes: write seeds=2"),
]


@pytest.mark.parametrize(("line", "message"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_said_and_nothing_is_left_behind(runner, line: str, message: str) -> None:
    done = runner(*line.split())
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not Path("outputs").exists()


def test_dry_run_prints_the_plan_and_makes_nothing(runner) -> None:
    done = runner("-m", "optimizer=sgd,adam", "optimizer.lr=logspace(1e-4,1,9)", "seeds=3",
                  "name=rates", "--dry-run")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[:3] == [
        "sweep   outputs/default/rates",
        "jobs    54",
        "swept   optimizer: sgd, adam",
    ]
    assert lines[4] == "swept   seed: 0, 1, 2"
    groups = [at for at, line in enumerate(lines) if line.startswith("group ")]
    assert len(groups) == 2
    assert all(lines[at + 1].startswith("        estimate: ") for at in groups)
    assert sum(line.startswith("total   estimate: about ") for line in lines) == 1
    jobs = [line for line in lines if line.startswith("  ") and not line.startswith("   ")]
    assert jobs[0] == "  sgd-lr0.0001-seed0"
    assert (len(jobs), jobs[-1]) == (41, "  ... and 14 more")
    assert not Path("outputs").exists()


def test_dry_run_says_why_jobs_train_alone(runner) -> None:
    done = runner("-m", "optimizer=adam,lbfgs", "--dry-run")
    alone = [line for line in done.out.splitlines() if line.startswith("group ")]
    assert alone[0] == "group   1 job, adam: of its own kind"
    assert alone[1].startswith("group   1 job, lbfgs: optimizer lbfgs ")


def test_dry_run_knows_what_an_earlier_sweep_has_finished(runner) -> None:
    from runner.compose import Composer
    from runner.sweeps.plan import plan

    made = plan(["optimizer.lr=0.1,0.2", "threads=1"], Composer())
    first = made.jobs[0]
    folder = made.folder / "called-otherwise"
    folder.mkdir(parents=True)
    (folder / "status.json").write_text('{"state": "finished"}')
    entry = {"directory": folder.name, "state": "running", "swept": {}, "batch": None,
             "attempts": 1, "started": 1.0, "ended": None, "value": None}  # fmt: skip
    (made.folder / "sweep.json").write_text(
        json.dumps({"format": 1, "name": made.name, "jobs": {first.id: entry}})
    )
    done = runner("-m", "optimizer.lr=0.1,0.3", "threads=1", "--dry-run")
    assert done.out.splitlines()[-2:] == ["  called-otherwise (finished)", "  lr0.3"]
    done = runner("-m", "optimizer.lr=0.1,0.3", "threads=1", "--dry-run", "--new")
    assert done.out.splitlines()[0] == f"sweep   {made.folder}-2"
    assert "(finished)" not in done.out


def test_identical_jobs_are_a_warning(runner) -> None:
    done = runner("-m", "optimizer.lr=0.1,1e-1", "--dry-run")
    assert "warning: 1 job is the same as another and run once: 1 of 2 remain" in done.out


@pytest.mark.parametrize("new", [False, True])
def test_the_plan_is_handed_over(runner, monkeypatch: pytest.MonkeyPatch, new: bool) -> None:
    seen: dict[str, Any] = {}

    def run(jobs, folder, sweep, request, new, terminal, detach):
        seen.update(jobs=jobs, folder=folder, sweep=sweep, request=request, new=new)
        terminal.line("handed over")
        return 6

    monkeypatch.setattr("runner.sweeps.launch.run", run)
    words = ["optimizer.lr=0.1,0.2", "seeds=2", "sweep.retries=1"]
    done = runner("train", "-m", *words, *(["--new"] if new else []))
    assert (done.code, done.out) == (6, "handed over\n")
    assert [job.directory for job in seen["jobs"]] == [
        "lr0.1-seed0", "lr0.1-seed1", "lr0.2-seed0", "lr0.2-seed1"]  # fmt: skip
    assert (seen["new"], seen["sweep"].retries) == (new, 1)
    assert seen["request"].overrides == words
    assert "sweep" not in seen["request"].config


def test_help_tells_the_words_of_a_sweep(runner, capfd) -> None:
    with pytest.raises(SystemExit):
        runner("train", "--help")
    printed = capfd.readouterr().out
    for word in ("seeds=5", "logspace(1e-4,1,9)", "sweep.zip=", "sweep.grids=", "--dry-run"):
        assert word in printed


def test_seeds_are_completed(runner) -> None:
    assert runner("completion", "words", "--", "train", "seed").out.split() == ["seed=", "seeds="]
    assert "sweep.max_jobs=" in runner("completion", "words", "--", "train", "sweep.").out.split()


def test_help_of_a_sweep_imports_neither_torch_nor_hydra() -> None:
    script = """
import sys
from runner import cli
try:
    cli.run(["train", "--help"])
except SystemExit:
    pass
assert not {"torch", "hydra", "omegaconf"} & set(sys.modules)
"""
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", script], check=True, cwd=root, timeout=60,
                   stdout=subprocess.DEVNULL)  # fmt: skip
