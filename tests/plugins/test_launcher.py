"""Hydra's launchers: each job a run of its own, in a sweep like any other."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runner.foundation.files import read_json, read_yaml, write_json
from runner.recording import directory
from runner.recording.environment import version

ROOT = Path(__file__).resolve().parents[2]
WORDS = ["optimizer.lr=0.1,0.01", "seeds=2", "trainer=quick", "compile=false"]
RECORD = {directory.CONFIG, directory.OVERRIDES, directory.STATUS, directory.METRICS,
          directory.TIMING, directory.SUMMARY, directory.ENVIRONMENT, directory.CHECKPOINTS,
          directory.LOG}  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def table(folder: Path) -> list[dict[str, Any]]:
    """Return results.csv without what a clock decides, numbers as such."""
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))

    def read(text: str) -> Any:
        try:
            return float(text)
        except ValueError:
            return text

    return [{key: read(text) for key, text in row.items() if key != "seconds"} for row in rows]


def test_basic_and_joblib_give_the_numbers_of_our_own(runner, shell, sweeps: Path) -> None:
    assert runner("-m", *WORDS, "sweep.lanes=1", "name=own").code == 0
    basic = runner("-m", *WORDS, "hydra/launcher=basic", "name=basic")
    joblib = shell("-m", *WORDS, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "name=joblib")
    for done, name in ((basic, "basic"), (joblib, "joblib")):
        assert done.code == 0, done.err
        assert "* highest valid/accuracy: lr=0.1" in done.out
        expected, found = table(sweeps / "own"), table(sweeps / name)
        assert len(found) == 4
        assert [list(row) for row in found] == [list(row) for row in expected]
        for row, other in zip(found, expected, strict=True):
            for key, value in row.items():
                number = isinstance(value, float)
                assert value == (pytest.approx(other[key], rel=1e-5) if number else other[key])
        for job in directory.jobs(sweeps / name):
            assert {path.name for path in job.iterdir()} >= RECORD


def test_the_same_command_runs_what_is_missing(runner, sweeps: Path) -> None:
    command = ["-m", "seed=0,1", "trainer=quick", "compile=false", "hydra/launcher=basic",
               "name=twice"]  # fmt: skip
    first = runner(*command)
    assert first.code == 0, first.err
    folder = sweeps / "twice"
    before = table(folder)
    written = {job.name: (job / directory.SUMMARY).stat().st_mtime_ns
               for job in directory.jobs(folder)}  # fmt: skip
    directory.set_status(folder / "seed1", state="running", exit_code=None)  # as a kill leaves it
    again = runner(*command)
    assert (again.code, table(folder)) == (0, before)
    assert "2 jobs: 1 finished, 1 interrupted" in again.out
    assert "Launching 1 jobs" in again.out
    changed = {name for name, at in written.items()
               if (folder / name / directory.SUMMARY).stat().st_mtime_ns != at}  # fmt: skip
    assert changed == {"seed1"}
    assert "resuming at step 20 of 20" in (folder / "seed1" / directory.LOG).read_text()
    assert "Launching" not in runner(*command).out


def test_failures_do_not_end_the_sweep(runner, sweeps: Path) -> None:
    grids = 'sweep.grids=["optimizer.lr=1e30,0.1","trainer.batch_size=100000"]'
    command = ["-m", grids, "trainer=quick", "compile=false", "hydra/launcher=basic", "name=some"]
    done = runner(*command)
    assert done.code == 6, done.err
    folder = sweeps / "some"
    states = {row["directory"]: row["state"] for row in table(folder)}
    assert states == {"lr1e30": "diverged", "lr0.1": "finished", "batch_size100000": "failed"}
    assert "failed    batch_size100000: " in done.out
    assert (folder / "batch_size100000" / directory.ERROR).is_file()
    again = runner("resume", "some")
    assert again.code == 6
    assert "Launching 1 jobs" in again.out
    jobs = read_json(folder / directory.SWEEP)["jobs"].values()
    assert [job["attempts"] for job in jobs] == [1, 1, 2]


def test_a_sweep_goes_over_from_one_launcher_to_another(runner, sweeps: Path) -> None:
    """F19: a job that was a lane begins anew as a run of its own, and the other way round."""
    command = ["-m", "seed=0,1", "trainer=quick", "compile=false", "name=both"]
    assert runner(*command, "hydra/launcher=runner").code == 0  # ours, by name
    folder = sweeps / "both"
    plan = read_json(folder / directory.SWEEP)
    for each in plan["batches"].values():
        each["way"] |= {"lanes": 2, "reason": "a test"}
    write_json(folder / directory.SWEEP, plan)
    directory.set_status(folder / "seed1", state="interrupted")
    done = runner(*command, "hydra/launcher=basic")
    assert done.code == 0
    said = "not bit-exact: trained as lanes -> alone, 1 of 2 jobs (hydra/launcher=basic)"
    assert said in done.out + done.err
    assert not (folder / "seed0" / directory.OVERRIDES).exists()
    assert "batch" not in directory.status(folder / "seed1")
    assert read_yaml(folder / "seed1" / directory.OVERRIDES)["overrides"] == [
        "seed=1", "trainer=quick", "compile=false", "name=both"]  # fmt: skip
    directory.set_status(folder / "seed1", state="interrupted")
    back = runner(*command)
    assert back.code == 0, back.err
    said = "not bit-exact: trained alone -> as lanes, 1 of 2 jobs (a test)"
    assert said in back.out + back.err
    assert not (folder / "seed1" / directory.CHECKPOINTS).exists()
    assert directory.status(folder / "seed1")["batch"] == "b002"


ABSENT = [
    (f"hydra/launcher={name}", f"hydra/launcher={name}: not installed: pip install {extra}")
    for name, extra, package in (
        ("ray", "'runner[ray]'", "hydra-ray-launcher"),
        ("submitit_local", "'runner[slurm]'", "hydra-submitit-launcher"),
    )
    if version(package) is None
]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("hydra/launcher=joblb", "did you mean 'joblib'? (installed: basic, joblib"),
        *ABSENT,
        ("hydra/launcher=joblib hydra.launcher.n_job=2", "did you mean 'hydra.launcher.n_jobs'?"),
        ("hydra.launcher.n_jobs=2", "the runner's own launcher has no keys here"),
        ("hydra/launcher=basic hydra/launcher=joblib", "hydra/launcher: given more than once"),
        ("hydra/launcher=basic sweep.lanes=1", "sweep.lanes: means nothing to hydra/launcher="),
        ("hydra/launcher=basic optimizer.lr=-1", "optimizer.lr: expected a number > 0, got -1"),
        ("hydra/sweeper=opt", "hydra/sweeper=opt: no such sweeper (installed: basic"),
        ("hydra.foo=1", "hydra.foo: the runner composes by itself; hydra has no keys here"),
        ("hydra/output=x", "hydra/output: the runner composes by itself"),
    ],
)
def test_mistakes(runner, tmp_path: Path, words: str, message: str) -> None:
    done = runner("-m", "seed=0,1", "trainer=quick", "compile=false", *words.split())
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not Path("outputs").exists()


def test_a_launcher_is_about_a_sweep(runner) -> None:
    done = runner("hydra/launcher=basic")
    assert (done.code, done.out) == (2, "")
    assert "hydra/launcher: belongs to a sweep; add -m" in done.err


def test_dry_run_says_who_would_start_them(runner) -> None:
    done = runner("-m", "seed=0,1", "hydra/launcher=basic", "--dry-run")
    assert done.code == 0
    assert done.out.splitlines()[-1] == "each is a run of its own, by hydra/launcher=basic"
    assert not Path("outputs").exists()


def test_it_is_found_by_name() -> None:
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        words = ["hydra/launcher=runner", "hydra/sweeper=runner"]
        hydra = compose("config", words, return_hydra_config=True).hydra
    assert hydra.launcher == {"_target_": "hydra_plugins.runner.launcher.RunnerLauncher"}
    assert hydra.sweeper == {"_target_": "hydra_plugins.runner.sweeper.RunnerSweeper"}


def test_other_programs_pay_next_to_nothing_for_it() -> None:
    script = f"""
import sys
sys.path.append({str(ROOT / "runner" / "plugins")!r})
from hydra.core.plugins import Plugins
names = {{each.__name__ for each in Plugins.instance().discover()}}
assert {{"RunnerLauncher", "RunnerSweeper"}} <= names, names
heavy = {{"torch", "rich", "runner", "sklearn"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_it_is_for_the_runner_alone() -> None:
    from hydra_plugins.runner.launcher import RunnerLauncher

    with pytest.raises(ValueError, match="this program has jobs of its own"):
        RunnerLauncher().setup(hydra_context=None, task_function=print, config=None)
