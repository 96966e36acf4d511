"""Runs in a directory of the user's choice, begun and gone on with by the same command."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from resuming import Killed, signalled

from runner.execution import execute
from runner.foundation.errors import Unwritable
from runner.foundation.files import locked
from runner.recording import directory
from runner.recording.recorder import Recorder
from runner.training import checkpoints

PLAIN = ["architecture.hidden=[16]", "trainer.batch_size=128", "trainer.epochs=4",
         "trainer.save_every=4steps", "compile=trace", "tensorboard=false"]  # fmt: skip
HERE = Path("runs/a")
AUTO = ["resume=auto", f"run_dir={HERE}"]


def state(folder: Path = HERE) -> list[Any]:
    return [directory.status(folder).get(key) for key in ("state", "step", "exit_code")]


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}  # fmt: skip


def refused(done: Any, *messages: str) -> None:
    assert (done.code, "Traceback" in done.err) == (2, False), done
    assert all(message in done.err for message in messages), done.err


@pytest.fixture
def whole(runner: Callable[..., Any]) -> Path:
    """Return the uninterrupted run."""
    assert runner(*PLAIN, "run_dir=whole").code == 0
    return Path("whole")


def test_the_same_command_goes_on_by_itself(runner, whole) -> None:
    """F11, F16: begun, killed, interrupted, finished, and done."""
    with signalled(6, kill=True), contextlib.suppress(Killed):
        runner(*PLAIN, *AUTO)
    assert state()[1] == 4
    with signalled(11):
        assert runner(*PLAIN, *AUTO).code == 143
    assert state() == ["interrupted", 15, 143]
    done = runner(*PLAIN, *AUTO)
    assert done.code == 0, done.err
    assert "resuming at step 15 of 32" in done.out
    assert (HERE / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    before = files(HERE)
    again = runner(*PLAIN, *AUTO)
    assert (again.code, again.out) == (0, f"{HERE}: already finished (step 32)\n")
    assert files(HERE) == before


def test_what_is_about_the_command_is_no_part_of_the_run(runner) -> None:
    assert runner(*PLAIN, *AUTO, "trainer=quick", "trainer.epochs=null").code == 2  # two budgets
    assert not HERE.exists()
    assert runner(*PLAIN, *AUTO).code == 0
    config = yaml.safe_load((HERE / "config.yaml").read_text())
    assert not {"resume", "run_dir"} & set(config)
    assert yaml.safe_load((HERE / "overrides.yaml").read_text())["overrides"] == PLAIN
    content = checkpoints.load(HERE / "checkpoints", pytest.fail)
    assert not [key for key in content["config"] if key.startswith(("resume", "run_dir"))]
    assert runner("evaluate", str(HERE)).code == 0


def test_a_run_that_died_before_its_first_checkpoint_begins_again(runner, whole) -> None:
    """F01: whatever was there of it already."""
    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
        patch.setattr(execute._Saver, "save", lambda saver: (_ for _ in ()).throw(Killed()))
        runner(*PLAIN[:-1], *AUTO)
    (left,) = HERE.glob("events.out.tfevents.*")
    assert state()[0] == "failed"
    left.write_bytes(left.read_bytes() + b"of the run that died")
    assert checkpoints.listed(HERE / "checkpoints") == []
    done = runner(*PLAIN[:-1], *AUTO)
    assert done.code == 0, done.err
    (events,) = HERE.glob("events.out.tfevents.*")  # of the same name in the same second
    assert b"of the run that died" not in events.read_bytes()
    assert (HERE / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert state() == ["finished", 32, 0]


@pytest.mark.parametrize("made", ["", "checkpoints", ".nfs01"])
def test_a_directory_may_be_there_already(runner, made) -> None:
    (HERE / made).mkdir(parents=True)
    assert runner("trainer=quick", f"run_dir={HERE}").code == 0


def test_a_run_is_not_begun_over_another(runner) -> None:
    """F20: exit 2 with both ways out, finished or not."""
    with signalled(6):
        runner(*PLAIN, f"run_dir={HERE}")
    before = files(HERE)
    for words in ([], ["resume=never"]):
        done = runner(*PLAIN, f"run_dir={HERE}", *words)
        refused(done, f"run_dir: {HERE} holds a run already (interrupted); add resume=auto to go "
                      "on with it, or give another directory")  # fmt: skip
    assert files(HERE) == before


def test_values_of_other_commands_are_refused_and_allowed(runner) -> None:
    """F15: the checks of `runner resume`."""
    with signalled(6):
        runner(*PLAIN, *AUTO)
    before = files(HERE)
    changed = [*PLAIN, *AUTO, "optimizer.lr=0.01"]
    refused(runner(*changed), "optimizer.lr: ", " -> 0.01", "resume.allow=[optimizer.lr]")
    assert files(HERE) == before
    for _ in range(2):  # the same command when it is cut, and when it is finished
        done = runner(*changed, "resume.allow=[optimizer.lr]")
        assert done.code == 0, done.err
    assert "already finished" in done.out
    assert yaml.safe_load((HERE / "config.yaml").read_text())["optimizer"]["lr"] == 0.01


def test_what_auto_became_stays(runner, defaults_file) -> None:
    """F19: the same command is the same run on the same machine, whatever auto would say now."""
    defaults_file.unlink()
    words = [each for each in PLAIN if not each.startswith("compile")]
    with signalled(6):
        assert runner(*words, *AUTO, "threads=2").code == 143
    config = HERE / "config.yaml"
    assert "threads: 2\n" in config.read_text()
    done = runner(*words, *AUTO)
    assert done.code == 0, done.err
    assert "not bit-exact" not in done.out
    assert not [line for line in done.out.splitlines() if line.startswith("changed")]
    assert "threads: 2\n" in config.read_text()
    torch.set_num_threads(1)


def test_a_directory_in_use(runner) -> None:
    """F14, F46: whether the other process has saved already or not."""
    with signalled(6):
        runner(*PLAIN, *AUTO)
    with locked(HERE):
        assert runner(*PLAIN, *AUTO).code == 7
    for path in checkpoints.listed(HERE / "checkpoints"):
        path.unlink()
    with locked(HERE):
        done = runner(*PLAIN, *AUTO)
        assert (done.code, f"in use by pid {os.getpid()}" in done.err) == (7, True)


def test_two_begin_in_one_directory(runner, monkeypatch) -> None:
    """F20, F46: the second finds out under the lock, and leaves what is there alone."""
    with signalled(6):
        runner(*PLAIN, *AUTO)
    before = files(HERE)
    from runner.cli import continuing

    monkeypatch.setattr(continuing, "found", lambda about: None)
    done = runner(*PLAIN, *AUTO)
    assert (done.code, "another process has begun to train here" in done.err) == (7, True)
    assert files(HERE) == before


def test_unusable_checkpoints_are_not_begun_over(runner) -> None:
    """F05: exit 5; nothing is deleted."""
    with signalled(6):
        runner(*PLAIN, *AUTO)
    for path in checkpoints.listed(HERE / "checkpoints"):
        path.write_bytes(b"<html></html>")
    before = files(HERE)
    done = runner(*PLAIN, *AUTO)
    assert done.code == 5
    assert done.err.count("not a checkpoint: it is an HTML page") == 2
    assert files(HERE) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [(["resume=yes"], "resume: expected never or auto, got 'yes'"),
     (["resume=auto"], "resume=auto: needs run_dir=DIR"),
     (["run_dir="], "run_dir: missing value after '='"),
     (["run_dir=a", "run_dir=b"], "run_dir: given 2 times (a, b)"),
     (["resume.allow=[seed]", "run_dir=a"], "resume.allow: is about a run that goes on"),
     (["resume.alow=[seed]"], "resume.alow: unknown key; did you mean 'resume.allow'?"),
     (["run_dir=file"], "run_dir: file is no directory"),
     (["run_dir=full"], "run_dir: full holds a.txt, b/c.txt and no run; give a new or an empty"),
     (["run_dir=sweep"], "run_dir: sweep is a sweep; give a directory of its own"),
     (["run_dir=sweep/a"], "run_dir: sweep is a sweep; give a directory of its own"),
     (["-m", "seed=0,1", "run_dir=a"], "run_dir: a sweep is found by its name; use name="),
     (["-m", "seed=0,1", "resume=auto"], "resume: the same command of a sweep goes on by itself"),
     (["run_dir=a", "optimizer.lr=-1"], "optimizer.lr: expected a number > 0, got -1")],
    ids=lambda each: "+".join(each) if isinstance(each, list) else "",
)  # fmt: skip
def test_mistakes(runner, words, message) -> None:
    Path("file").write_text("")
    Path("full/b").mkdir(parents=True)
    Path("full/a.txt").write_text("")
    Path("full/b/c.txt").write_text("")
    Path("sweep").mkdir()
    Path("sweep/sweep.json").write_text("{}")
    before = sorted(Path().rglob("*"))
    refused(runner(*words), message)
    assert sorted(Path().rglob("*")) == before


def test_a_directory_that_cannot_be_made(runner) -> None:
    """F10: exit 8 with the path."""
    Path("file").write_text("")
    done = runner("trainer=quick", "run_dir=file/a")
    assert (done.code, "Traceback" in done.err) == (8, False)
    assert "file/a" in done.err


# ---- when checkpoints are made ----------------------------------------------------------------


def test_a_checkpoint_every_so_many_minutes(runner, monkeypatch) -> None:
    """F02: on the clock on the wall, at any step."""
    clock, saved = [0.0], []

    class Time:
        def __getattr__(self, name: str) -> Any:
            return (lambda: clock[0]) if name == "monotonic" else getattr(execute.time, name)

    from runner.execution import saving

    original, save = execute.advancing, saving.Saving.save

    def advancing(*given: Any) -> Any:
        advance = original(*given)

        def timed(state: Any) -> Any:
            clock[0] += 60.0
            return advance(state)

        return timed

    def noted(self: Any, content: dict[str, Any], *others: Any) -> None:
        saved.append(content["step"])
        save(self, content, *others)

    monkeypatch.setattr(execute, "advancing", advancing)
    monkeypatch.setattr(saving.Saving, "save", noted)
    for module in (execute, saving):
        monkeypatch.setattr(module, "time", Time())
    words = [each for each in PLAIN if not each.startswith("trainer.save_every")]
    done = runner(*words, "trainer.save_every=5minutes")
    assert done.code == 0, done.err
    assert saved == [0, 5, 10, 15, 20, 25, 30, 32]


@pytest.mark.parametrize("value", ["5", "5min", "-1minutes", "1e3minutes", "5 hours"])
def test_how_often_is_a_duration_or_minutes(runner, value) -> None:
    refused(runner("show", f"trainer.save_every='{value}'"),
            "trainer.save_every: expected a duration such as 200steps, 10epochs, 5% or 5minutes or "
            "null, got")  # fmt: skip


def test_how_often_is_not_never(runner) -> None:
    refused(runner("show", "trainer.save_every=0minutes"), "it must be longer than nothing")
    refused(runner("show", "trainer.log_every=5minutes"), "trainer.log_every: expected a duration")


# ---- signals ----------------------------------------------------------------------------------


def test_a_signal_whose_save_fails_names_what_is_kept(runner, monkeypatch) -> None:
    """F11, F07: the code is the signal's, the message says what stands."""
    original = checkpoints.save

    def full(folder: Path, step: int, content: dict[str, Any]) -> Path:
        if step > 4:
            raise Unwritable("disk full writing it (need 35 kB, free 0)")
        return original(folder, step, content)

    monkeypatch.setattr(checkpoints, "save", full)
    with signalled(6):
        done = runner(*PLAIN, f"run_dir={HERE}")
    assert done.code == 143
    assert done.err == (
        "runner: step 6 could not be saved: disk full writing it (need 35 kB, free 0); "
        f"step 4 is kept; continue with: runner resume {HERE}\n"
    )
    assert state() == ["interrupted", 4, 143]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_last_step_is_not_lost(runner, number) -> None:
    """F11, F12: noted while the last checkpoint was begun."""
    stop, sent = Recorder.stop, list[int]()

    def signalled(recorder: Recorder) -> None:
        if not sent:
            os.kill(os.getpid(), number)
        sent.append(number)
        stop(recorder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "stop", signalled)
        done = runner(*PLAIN, f"run_dir={HERE}")
    assert done.code == 128 + number
    assert done.err == f"runner: saved step 32; continue with: runner resume {HERE}\n"
    assert runner("resume", str(HERE)).code == 0
    assert state() == ["finished", 32, 0]


def test_a_signal_in_the_final_evaluation(runner) -> None:
    """F11: the last checkpoint is there; the evaluation is made again."""
    finish = execute.finish

    def interrupted(*given: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return finish(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "finish", interrupted)
        done = runner(*PLAIN, f"run_dir={HERE}")
    assert done.code == 143
    assert done.err == f"runner: interrupted by SIGTERM; continue with: runner resume {HERE}\n"
    assert state() == ["interrupted", 32, 143]
    assert runner("resume", str(HERE)).code == 0
    assert json.loads((HERE / "summary.json").read_text())["steps"] == 32
