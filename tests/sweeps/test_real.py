"""Real sweeps from the command line: cut in the middle, gone on with, looked at, edited."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import runner as package
from runner.assemble import ways
from runner.compose import Composer
from runner.foundation import remembered
from runner.foundation.files import held, read_json
from runner.recording import directory
from runner.sweeps.plan import plan
from runner.training import checkpoints

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
ROOT = Path(__file__).resolve().parents[2]
SMALL = ["dataset=digits", "architecture.hidden=[16]", "threads=1", "sweep.processes=2",
         "sweep.figures=false", "name=rates"]  # fmt: skip
RATES = "optimizer.lr=0.1,0.3,1e30"
TWO = [*SMALL, "trainer.epochs=2", "seeds=2"]
LANES = 8
PATIENCE = 60.0
STARTED: list[subprocess.Popen[str]] = []
EPOCHS = 80


@dataclass(frozen=True)
class Ended:
    """A sweep that ran in a process of its own."""

    folder: Path
    code: int
    out: str
    err: str


def as_lanes(words: Sequence[str], lanes: int = LANES, trust: Sequence[str] = ()) -> None:
    """Let the way of this sweep be known, so that nothing is left to how fast the machine is."""
    settings = [job.settings for job in plan(words, Composer(), trust).jobs]
    most = next((int(word.partition("=")[2]) for word in words if "sweep.lanes" in word), None)
    way = ways.Way(lanes, "trace", 1, "for this test")._asdict()
    key = ways.key_of(settings, min(2, len(settings)), most)
    remembered.remember(key, {"what": "way", "value": way, "reason": "", "for": "a test"})


def start(words: Sequence[str], home: Path) -> subprocess.Popen[str]:
    """Start a sweep in a session of its own, as a terminal does."""
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(home),
                   "NO_COLOR": "1"}  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", "runner", "-m", *words], cwd=home,
                               env=environment, start_new_session=True, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    STARTED.append(process)
    return process


def swept(words: Sequence[str], home: Path) -> Ended:
    process = start(words, home)
    out, err = process.communicate(timeout=120)
    return Ended(home / "outputs/default/rates", process.returncode, out, err)


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    """End what a test that failed has left at work."""
    yield
    while STARTED:
        process = STARTED.pop()
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(what: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def jobs_of(folder: Path) -> dict[str, Path]:
    jobs = read_json(folder / directory.SWEEP).get("jobs", {})
    return {key: folder / each["directory"] for key, each in jobs.items()}


def in_state(folder: Path, *states: str) -> list[Path]:
    found = jobs_of(folder).values()
    return [each for each in found if directory.status(each).get("state") in states]


def files(folders: Sequence[Path]) -> dict[Path, tuple[int, bytes]]:
    """Return what the files of jobs hold, and when they were written."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes())
            for folder in folders for path in folder.iterdir() if path.is_file()}  # fmt: skip


def results(folder: Path) -> list[dict[str, str]]:
    """Return the rows of results.csv but for where and how long."""
    with (folder / "results.csv").open(newline="") as file:
        return [{key: value for key, value in row.items() if key not in ("directory", "seconds")}
                for row in csv.DictReader(file)]  # fmt: skip


def logs(folder: Path) -> dict[str, bytes]:
    return {key: (path / directory.METRICS).read_bytes() for key, path in jobs_of(folder).items()}


def family(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from family(int(child))


# A sweep that has ended


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Six jobs trained as lanes, two of which diverge at once."""
    words = [RATES, *TWO]
    as_lanes(words)
    return swept(words, tmp_path_factory.mktemp("ended"))


def test_what_did_not_finish_is_listed_with_how_to_go_on(ended: Ended) -> None:
    assert ended.code == 6, ended.err
    assert "6 jobs  up to 8 as lanes, traced, 1 thread a process: for this test" in ended.out
    assert "jobs    6: 4 finished, 2 diverged" in ended.out
    assert "diverged  lr1e30-seed0 (2 of 2 jobs): the training loss became nan" in ended.out
    assert ended.out.splitlines()[-1].startswith("the 2 that diverged would diverge again")
    batches = read_json(ended.folder / directory.SWEEP)["batches"]
    assert sorted(len(each["jobs"]) for each in batches.values()) == [3, 3]
    assert {each["way"]["lanes"] for each in batches.values()} == {LANES}


def test_a_job_is_a_run_to_every_command(ended: Ended, runner) -> None:
    one, other = ended.folder / "lr0.1-seed0", ended.folder / "lr0.3-seed0"
    assert {path.name for path in one.iterdir() if "tfevents" not in path.name} == {
        "config.yaml", "status.json", "metrics.jsonl", "summary.json"}  # fmt: skip
    summary = read_json(one / directory.SUMMARY)
    done = runner("evaluate", str(one))
    assert done.code == 0, done.err
    assert f"{summary['test']['accuracy']:.4g}" in done.out
    done = runner("diff", str(one), str(other))
    assert done.code == 0, done.err
    settings = done.out.partition("\n\n")[0].splitlines()[1:]
    assert [line.split() for line in settings] == [["optimizer.lr", "0.1", "0.3"]]
    done = runner("report", str(one))
    assert f"best weights of step {summary['best']['step']}" in done.out


def test_a_job_is_loaded_with_its_own_weights(ended: Ended) -> None:
    models = []
    for name in ("lr0.1-seed0", "lr0.1-seed1"):
        found = package.load(ended.folder / name)
        summary = read_json(ended.folder / name / directory.SUMMARY)
        targets = found.data.y[found.data.splits["test"]]
        accuracy = (found.predict("test").argmax(1) == targets).double().mean().item()
        assert accuracy == pytest.approx(summary["test"]["accuracy"], abs=1e-9)
        assert found.metrics[-1]["step"] == summary["steps"]
        models.append(torch.cat([each.flatten() for each in found.model.parameters()]))
    assert not torch.equal(*models)


def test_a_diverging_lane_changes_no_bit_of_the_others(ended: Ended, tmp_path: Path) -> None:
    """F24."""
    words = ["optimizer.lr=0.1,0.3,0.2", *TWO]
    as_lanes(words)
    tame = swept(words, tmp_path / "tame")
    assert tame.code == 0, tame.err
    wild, calm = logs(ended.folder), logs(tame.folder)
    shared = wild.keys() & calm.keys()
    assert len(shared) == 4
    assert {key: wild[key] for key in shared} == {key: calm[key] for key in shared}


def test_an_edited_grid_trains_what_is_new(ended: Ended, tmp_path: Path, runner) -> None:
    """F36: what is finished stays as it is, to the byte; what goes stays too, and is left out."""
    folder = tmp_path / "here/outputs/default/rates"
    reports = shutil.ignore_patterns("report.html")  # of who looked at a job
    shutil.copytree(ended.folder, folder, ignore=reports)
    before = files(in_state(folder, "finished", "diverged"))
    assert len(before) == 4 * 5 + 2 * 4  # who diverged has no summary
    done = runner("-m", f"{RATES},0.03", *TWO)
    assert done.code == 6, done.err
    assert "8 jobs: 2 pending, 4 finished, 2 diverged" in done.out
    assert before == files([path for path in jobs_of(folder).values() if "0.03" not in path.name])
    assert len(in_state(folder, "finished")) == 6
    again = runner("-m", f"{RATES},0.03", *TWO)
    assert again.code == 6
    assert "started" not in again.out
    assert done.out.partition("table")[2] == again.out.partition("table")[2]
    fewer = runner("-m", "optimizer.lr=0.1,0.03", *TWO)
    assert fewer.code == 0
    assert "left out: 4 that the newest command did not ask for" in fewer.out
    asked = {each["directory"]: each.get("asked", True) for each in
             read_json(folder / directory.SWEEP)["jobs"].values()}  # fmt: skip
    assert {name for name, is_asked in asked.items() if not is_asked} == {
        "lr0.3-seed0", "lr0.3-seed1", "lr1e30-seed0", "lr1e30-seed1"}  # fmt: skip
    assert len(results(folder)) == 4
    assert before == files([path for path in jobs_of(folder).values() if "0.03" not in path.name])


def test_a_job_trained_alone_has_other_bits_and_diff_says_why(ended: Ended, runner) -> None:
    """F19: trained by the command without -m."""
    alone = [word for word in TWO if not word.startswith(("seeds", "sweep", "name"))]
    done = runner("optimizer.lr=0.1", "seed=0", "name=alone", *alone)
    assert done.code == 0, done.err
    (run,) = Path("outputs/default").iterdir()
    done = runner("diff", str(ended.folder / "lr0.1-seed0"), str(run))
    assert done.out.splitlines()[-1] == "not bit-exact: trained as lanes -> alone"
    assert "not bit-exact" not in runner("diff", str(run), str(run)).out


CODE = """
import os, signal, sys
from runner.components.optimizer.kind import Optimizer, zeros
from runner.components.schedule import Schedule

def plain(*, lr: float) -> Optimizer:
    if lr == 0.5:
        raise RuntimeError("this rate is too much for me")
    if lr == 0.6:
        sys.exit(0)

    def update(parameters, gradients, slots, hyper, t):
        return [w - hyper["lr"] * g for w, g in zip(parameters, gradients)], slots

    return Optimizer({"lr": lr}, zeros(), update)

def moody(total, *, does: str) -> Schedule:
    if does == "raise":
        raise RuntimeError("what nobody expected")
    if does == "exit":
        sys.exit(0)
    if does == "leave":
        os._exit(0)
    if does == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return Schedule(lambda step, state: 1.0)
"""
SAID = {"raise": "what nobody expected", "exit": "its code called sys.exit(0)",
        "leave": "its process ended with exit code 0",
        "die": "its process was killed by SIGKILL; out of memory?"}  # fmt: skip


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have code of the user's beside the sweep."""
    (tmp_path / "here/faulty.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    yield
    sys.modules.pop("faulty", None)


def test_code_that_fails_leaves_or_dies_ends_its_own_job(faulty, tmp_path: Path, runner) -> None:
    """F33, F34: the others train; who shared a process with one that died does so with resume."""
    words = ["schedule=constant", "schedule._target_=faulty.moody", "~schedule.warmup",
             "+schedule.does=one,raise,exit,two,leave,die", "trainer=quick", *SMALL]  # fmt: skip
    as_lanes(words, trust=["faulty"])
    folder = tmp_path / "here/outputs/default/rates"
    done = runner("-m", *words, "--trust", "faulty")
    assert done.code == 6, done.err
    assert "jobs    6: 1 finished, 5 failed" in done.out
    assert "what failed has its traceback in " in done.out
    again = runner("resume", str(folder), "--trust", "faulty")
    assert again.code == 6, again.err
    assert {path.name for path in in_state(folder, "finished")} == {"doesone", "doestwo"}
    for name, said in SAID.items():
        status = directory.status(folder / f"does{name}")
        assert (status["state"], status["exit_code"] > 0) == ("failed", True)
        assert said in status["message"]
        text = (folder / f"does{name}" / "error.txt").read_text()
        assert said in text
        assert ('faulty.py", line' in text) == (name in ("raise", "exit"))
    assert {row["state"] for row in results(folder)} == {"finished", "failed"}


def test_an_optimizer_that_cannot_be_made_ends_its_own_job(faulty, tmp_path: Path, runner) -> None:
    """F33, F34: though it is asked for before any job begins."""
    words = ["optimizer=sgd", "optimizer._target_=faulty.plain", "optimizer.lr=0.1,0.5,0.6",
             "trainer=quick", *SMALL]  # fmt: skip
    done = runner("-m", *words, "--trust", "faulty")
    assert done.code == 6, done.err
    folder = tmp_path / "here/outputs/default/rates"
    assert {path.name for path in in_state(folder, "finished")} == {"lr0.1"}
    assert "this rate is too much for me" in (folder / "lr0.5/error.txt").read_text()
    assert directory.status(folder / "lr0.6")["message"] == "its code called sys.exit(0)"


def test_another_objective_is_another_job(tmp_path: Path, runner) -> None:
    """The table, the best and the list of runs go by that of the jobs asked for."""
    words = ["optimizer.lr=0.1,0.3", "trainer=quick", *SMALL]
    done = runner("-m", *words)
    assert done.code == 0, done.err
    assert "* highest valid/accuracy: lr=" in done.out
    done = runner("-m", *words, "objective=valid/loss")
    assert done.code == 0, done.err
    assert "left out: 2 that the newest command did not ask for" in done.out
    assert "* lowest valid/loss: lr=" in done.out
    folder = tmp_path / "here/outputs/default/rates"
    assert {row["objective"] for row in results(folder)} == {"valid/loss"}
    best = min(float(row["best"]) for row in results(folder))
    assert f"valid/loss {best:.4g}" in runner("runs").out
    done = runner("-m", *words)
    assert "* highest valid/accuracy: lr=" in done.out
    assert "2 jobs: 2 finished" in done.out


def test_equal_jobs_run_once(tmp_path: Path, runner) -> None:
    done = runner("-m", "optimizer.lr=0.1,1e-1", "trainer=quick", *SMALL)
    assert done.code == 0, done.err
    assert "1 job is the same as another and run once: 1 of 2 remain" in done.out
    assert len(jobs_of(tmp_path / "here/outputs/default/rates")) == 1


def test_no_learning_rate_is_infinite(runner) -> None:
    done = runner("-m", "optimizer.lr=0.1,inf", *TWO)
    assert done.code == 2
    assert "optimizer.lr: " in done.err
    assert not Path("outputs").exists()


def test_figures_at_the_end(tmp_path: Path, runner) -> None:
    words = ["optimizer.lr=0.1,0.2", "seeds=2", "trainer=quick", *SMALL[:-2], "name=rates"]
    done = runner("-m", *words)
    assert done.code == 0, done.err
    folder = tmp_path / "here/outputs/default/rates"
    assert f"figures {folder.relative_to(tmp_path / 'here')}/figures" in done.out
    drawn = {path: path.stat().st_mtime_ns for path in (folder / "figures").iterdir()}
    assert {path.name for path in drawn} == {"curves.png", "curves.svg", "objective.png",
                                             "objective.svg"}  # fmt: skip
    again = runner("-m", *words)
    assert "figures" not in again.out, "nothing is new"
    assert {path: path.stat().st_mtime_ns for path in (folder / "figures").iterdir()} == drawn


def test_only_jobs_are_rows_of_tensorboards_table(tmp_path: Path, runner) -> None:
    done = runner("-m", "optimizer.lr=0.1,0.2", "seeds=2", "trainer=quick", *SMALL[:-2],
                  "name=rates")  # fmt: skip
    assert done.code == 0, done.err
    rows = {}
    folder = tmp_path / "here/outputs/default/rates"
    for path in folder.rglob("events.*"):
        read = EventAccumulator(str(path)).Reload()
        found = read.summary_metadata.get("_hparams_/session_start_info")
        if found is not None:
            content = HParamsPluginData.FromString(found.plugin_data.content)
            values = content.session_start_info.hparams
            rows[path.parent.name] = {key: each.number_value for key, each in values.items()}
    assert rows == {f"lr{rate}-seed{seed}": {"optimizer.lr": rate, "seed": seed}
                    for rate in (0.1, 0.2) for seed in (0, 1)}  # fmt: skip
    assert len(list((folder / "mean").iterdir())) == 6


# Cut in the middle


def long_enough(seeds: int, epochs: int = EPOCHS) -> list[str]:
    return ["optimizer.lr=0.01,0.03,0.1,0.3,1,1e30", f"seeds={seeds}", f"trainer.epochs={epochs}",
            *SMALL]  # fmt: skip


def kept(folder: Path, job: Path) -> list[int]:
    """Return the steps at which something was saved of a job or its batch."""
    status = directory.status(job)
    saves = folder / "batches" / status["batch"]
    own = saves / status["id"]
    return [
        int(path.name.split("-")[1]) for path in (own if own.is_dir() else saves).glob("step-*")
    ]


def halfway(folder: Path, finished: int) -> Callable[[], bool]:
    """Return what tells whether so many have ended, and others are cut if they are cut now."""

    def tell() -> bool:
        if len(in_state(folder, "finished")) < finished:
            return False
        newest = [max(kept(folder, job), default=0) for job in in_state(folder, "running")]
        return any(0 < step < 16 * EPOCHS / 2 for step in newest)

    return tell


def test_ctrl_c_while_somebody_looks(tmp_path: Path, runner) -> None:
    """F12."""
    words = [*long_enough(2, 400), "sweep.lanes=4"]
    as_lanes(words, 4)
    process = start(words, tmp_path / "here")
    folder = tmp_path / "here/outputs/default/rates"
    until(
        lambda: (
            in_state(folder, "running")
            and any(
                (each / directory.METRICS).stat().st_size for each in in_state(folder, "running")
            )
        )
    )
    looked = runner("report", str(folder))
    assert looked.code == 0, looked.err
    assert "running" in looked.out
    assert "~ so far" in looked.out
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"continue with: runner resume {folder.relative_to(tmp_path / 'here')}" in out + err
    assert not in_state(folder, "running")
    assert in_state(folder, "interrupted")
    assert not held(folder)


@pytest.mark.slow
def test_a_signal_in_the_middle_of_a_save(tmp_path: Path, runner) -> None:
    """F13: what is being written is whole under its name in the end, or not there at all."""
    words = ["optimizer.lr=0.01,0.03,0.1", "trainer.epochs=60", *SMALL, "sweep.save_minutes=0.002"]
    as_lanes(words)
    folder = tmp_path / "here/outputs/default/rates"
    mark, coordinator, synced = tmp_path / "sent", os.getpid(), os.fsync

    def fsync(descriptor: int) -> None:
        writing = list(folder.glob(f"batches/*/.step-*.{os.getpid()}.tmp"))
        if writing and not mark.exists():
            mark.write_text(writing[0].name)
            os.kill(coordinator, signal.SIGTERM)
            time.sleep(0.5)  # until it has told this process
        synced(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        done = runner("-m", *words)
    assert done.code == 143, done.err
    assert mark.read_text().startswith(".step-")
    assert not list(folder.rglob("*.tmp"))
    saved = [path for batch in (folder / "batches").iterdir() for path in checkpoints.listed(batch)]
    assert all(checkpoints.read(path)["step"] > 0 for path in saved)
    assert len(saved) >= 2
    assert in_state(folder, "interrupted")
    assert runner("resume", str(folder)).code == 0
    assert runner("-m", *words, "output_root=whole").code == 0
    assert logs(folder) == logs(tmp_path / "here/whole/default/rates")


@pytest.mark.slow
def test_killed_at_the_third_of_six_jobs(tmp_path: Path, runner) -> None:
    """F35: two are kept, the third goes on from its checkpoint, three are run; equal results."""
    words = ["optimizer.lr=0.01,0.02,0.05,0.1,0.2,0.5", "trainer.epochs=80", *SMALL,
             "sweep.processes=1", "sweep.lanes=1", "sweep.save_minutes=0.002"]  # fmt: skip
    words.remove("sweep.processes=2")
    process = start(words, tmp_path / "here")
    folder = tmp_path / "here/outputs/default/rates"
    until(lambda: len(in_state(folder, "finished")) == 2
          and any(0 < max(kept(folder, job), default=0) < 640 for job in
                  in_state(folder, "running")))  # fmt: skip
    for pid in list(family(process.pid)):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    finished = files(in_state(folder, "finished"))
    (cut,) = in_state(folder, "running")
    (begun,) = cut.glob("events*")
    head = begun.read_bytes()[:24]  # the time at which it was begun
    done = runner("resume", str(folder))
    assert done.code == 0, done.err
    assert "6 jobs: 3 pending, 2 finished, 1 interrupted" in done.out
    assert {path: files([path.parent])[path] for path in finished} == finished
    assert begun.read_bytes()[:24] == head
    whole = swept(words, tmp_path / "whole").folder
    assert results(folder) == results(whole)
    assert logs(folder) == logs(whole)


@pytest.mark.slow
def test_data_that_changed_is_refused(tmp_path: Path, runner) -> None:
    """F32: nothing runs, and with the data as it was all goes on."""
    table = Path("table.csv")
    text = "a,b,y\n" + "".join(f"{at % 7},{at % 5},{at % 3}\n" for at in range(200))
    table.write_text(text)
    words = ["optimizer.lr=0.01,0.1", "trainer=quick", "dataset=csv", "dataset.path=table.csv",
             "dataset.target=y", *SMALL[1:]]  # fmt: skip
    done = runner("-m", *words)
    assert done.code == 0, done.err
    folder = tmp_path / "here/outputs/default/rates"
    before = files(in_state(folder, "finished"))
    table.write_text(text.replace("6,", "5,"))
    done = runner("-m", "optimizer.lr=0.01,0.1,0.3", *words[1:])
    assert done.code == 3
    assert "data hash differs: recorded " in done.err
    assert before == files([path for path in jobs_of(folder).values() if path.is_dir()])
    table.write_text(text)
    assert runner("resume", str(folder)).code == 0
    assert len(in_state(folder, "finished")) == 3


@pytest.mark.slow
def test_ctrl_c_and_resume(tmp_path: Path, runner) -> None:
    """F12: each job alone."""
    words = [*long_enough(1), "sweep.lanes=1"]
    process = start(words, tmp_path / "here")
    folder = tmp_path / "here/outputs/default/rates"
    until(lambda: in_state(folder, "finished") and in_state(folder, "running"))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    cut = in_state(folder, "interrupted")
    assert cut
    done = runner("resume", str(folder))
    assert done.code == 6, done.err
    assert "jobs    6: 5 finished, 1 diverged" in done.out
    assert results(folder) == results(swept(words, tmp_path / "whole").folder)


@pytest.mark.slow
@pytest.mark.parametrize("lanes", [LANES, 1], ids=["lanes", "alone"])
@pytest.mark.parametrize("whom", ["all", "coordinator"])
def test_killed_and_run_again(tmp_path: Path, lanes: int, whom: str) -> None:
    """F35: as lanes too, among them some that have ended."""
    words = [*long_enough(4), f"sweep.lanes={lanes}", "sweep.save_minutes=0.002"]
    if lanes > 1:
        as_lanes(words)
    process = start(words, tmp_path / "cut")
    folder = tmp_path / "cut/outputs/default/rates"
    until(halfway(folder, 5))
    pids = list(family(process.pid))
    assert len(pids) == 3
    for pid in pids if whom == "all" else pids[:1]:
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    until(lambda: whom == "all" or not held(folder))
    ended = files(in_state(folder, "finished", "diverged"))
    begun_at = {
        path: path.read_bytes()[:24]  # the time at which a log was begun
        for job in in_state(folder, "running", "interrupted") if kept(folder, job)
        for path in job.glob("events*")
    }  # fmt: skip
    assert begun_at, "there is something to go on with"
    again, whole = swept(words, tmp_path / "cut"), swept(words, tmp_path / "whole")
    assert again.code == whole.code == 6, again.err
    assert {path: files([path.parent])[path] for path in ended} == ended
    assert {path: path.read_bytes()[:24] for path in begun_at} == begun_at, "it is the same log"
    assert len(results(folder)) == 24
    assert results(folder) == results(whole.folder)
    assert logs(folder) == logs(whole.folder)
    way = {each["way"]["lanes"] for each in read_json(folder / directory.SWEEP)["batches"].values()}
    assert way == {lanes}


@pytest.mark.slow
def test_lanes_are_found_to_be_faster(tmp_path: Path) -> None:
    words = [*long_enough(4, 400), "trainer.evaluate_every=50epochs", "sweep.lanes=8"]
    done = swept(words, tmp_path / "here")
    assert done.code == 6, done.err
    assert "24 jobs  up to 6 as lanes, " in done.out  # two processes, two batches each
    assert "steps of mlp a second, alone 1: 6 lanes " in done.out
