"""A signal at any stage of a command: the right code, soon, with what is saved and how to go on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.assemble import run as assembling
from runner.assemble import speed
from runner.execution import execute
from runner.recording import directory
from runner.training import checkpoints, ready

ROOT = Path(__file__).resolve().parents[2]
HERE = Path("runs/a")
PLAIN = ["architecture.hidden=[16]", "trainer.batch_size=128", "trainer.epochs=4",
         "trainer.save_every=4steps", "tensorboard=false", f"run_dir={HERE}"]  # fmt: skip

# before whose first call the signal comes
STAGES = {
    "data": (assembling, "prepare"),
    "calibration": (speed, "make_ready"),
    "compiling": (ready, "compiled"),
    "validation": (assembling.Run, "evaluate"),
    "save": (checkpoints, "write_atomic"),
    "test": (execute, "finish"),
}


@contextlib.contextmanager
def signalled(stage: str, number: int, times: int = 1) -> Iterator[None]:
    """Send a signal to this process just before something is called for the first time."""
    owner, name = STAGES[stage]
    call, sent = getattr(owner, name), list[int]()

    def before(*given: Any, **named: Any) -> Any:
        if not sent:
            sent.append(number)
            for _ in range(times):
                os.kill(os.getpid(), number)
        return call(*given, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, before)
        yield
    assert sent, f"{stage} was never reached"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["data", "calibration", "compiling"])
def test_a_signal_before_training(runner, stage, number) -> None:
    """F11, F12: it leaves at once; nothing was begun."""
    if stage == "compiling" and not any(map(shutil.which, speed.COMPILERS)):
        pytest.skip("there is no compiler")
    with signalled(stage, number):
        done = runner(*PLAIN, f"compile={'true' if stage == 'compiling' else 'auto'}")
    assert done.code == 128 + number
    assert done.err == f"runner: interrupted by {signal.Signals(number).name}\n"
    assert not HERE.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["validation", "save", "test"])
def test_a_signal_in_training(runner, stage, number) -> None:
    """F11, F12: saved where that can be, the status is true, and the run goes on."""
    with signalled(stage, number):
        done = runner(*PLAIN, "compile=trace")
    step, said = {
        "validation": (8, "saved step 8"),
        "save": (0, f"interrupted by {signal.Signals(number).name}"),
        "test": (32, f"interrupted by {signal.Signals(number).name}"),
    }[stage]
    assert done.code == 128 + number
    assert done.err == f"runner: {said}; continue with: runner resume {HERE}\n"
    status = directory.status(HERE)
    assert [status[key] for key in ("state", "step", "exit_code")] == [
        "interrupted", step, 128 + number]  # fmt: skip
    assert not list(HERE.rglob("*.tmp"))
    assert runner("resume", str(HERE)).code == 0
    assert directory.status(HERE)["state"] == "finished"


@pytest.mark.parametrize("stage", ["data", "calibration", "validation"])
def test_a_signal_when_a_run_goes_on(runner, stage) -> None:
    """F11: whatever stage it comes in, the last checkpoint and its step stand."""
    with signalled("validation", signal.SIGTERM):
        runner(*PLAIN, "compile=auto")
    with signalled(stage, signal.SIGTERM):
        done = runner("resume", str(HERE), "compile=auto")
    assert done.code == 143
    status = directory.status(HERE)
    step = 16 if stage == "validation" else 8
    assert [status[key] for key in ("state", "step", "exit_code")] == ["interrupted", step, 143]
    assert runner("resume", str(HERE)).code == 0


# ---- processes --------------------------------------------------------------------------------

DRIVER = """
import sys
where, *words = sys.argv[1:]

def here():
    print("HERE", flush=True)

def told(owner, name):
    call = getattr(owner, name)
    def first(*given, **named):
        setattr(owner, name, call)
        here()
        return call(*given, **named)
    setattr(owner, name, first)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch.nn":
            here()

if where == "import":
    sys.meta_path.insert(0, Finder())
elif where == "data":
    from runner.assemble import run
    told(run, "build")
elif where == "calibration":
    from runner.assemble import speed
    told(speed, "seconds_of")
elif where == "compiling":
    from runner.training import ready
    told(ready, "compiled")
elif where == "validation":
    from runner.assemble.run import Run
    told(Run, "evaluate")
elif where == "test":
    from runner.execution import execute
    told(execute, "finish")
elif where == "steps":
    from runner.recording.recorder import Recorder
    told(Recorder, "record")
from runner import __main__
sys.argv[1:] = words
sys.exit(__main__.main())
"""
LONG = ["optimizer=adam", "trainer.epochs=1000", "trainer.save_every=8steps", "tensorboard=false"]


@contextlib.contextmanager
def process(stage: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command and wait until it comes to a stage."""
    command = [sys.executable, "-c", DRIVER, stage, *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
                          **pipes) as child:  # fmt: skip
        try:
            for line in child.stdout:
                if line == "HERE\n":
                    break
            yield child
        finally:
            child.kill()


def ended(child: subprocess.Popen[str], after: float, *numbers: int) -> tuple[int, str, float]:
    """Send signals; return the code, the complaint, and how long that took."""
    time.sleep(after)
    began = time.monotonic()
    for number in numbers:
        child.send_signal(number)
        time.sleep(0.05)
    _, complaint = child.communicate(timeout=60)
    return child.returncode, complaint, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stage", "after", "words"),
    [("import", 0.0, []), ("import", 0.3, []), ("data", 0.0, []), ("calibration", 0.0, []),
     ("compiling", 2.0, ["compile=true"]), ("validation", 0.0, ["compile=false"]),
     ("test", 0.0, ["compile=false", "trainer.epochs=2"])],
    ids=["import", "import later", "data", "calibration", "compiling", "validation", "test"],
)  # fmt: skip
def test_a_process_leaves_soon(defaults_file, monkeypatch, tmp_path, stage, after, words) -> None:
    """F11: 143 wherever it was; what compiles is not waited for."""
    if stage == "compiling" and not any(map(shutil.which, speed.COMPILERS)):
        pytest.skip("there is no compiler")
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    given = [each for each in LONG if not any(each[:14] == word[:14] for word in words)]
    with process(stage, *given, f"run_dir={HERE}", *words) as child:
        code, complaint, took = ended(child, after, signal.SIGTERM)
    assert code == 143
    assert "Traceback" not in complaint
    assert took < 10  # 2 s on a machine with nothing else to do
    if stage in ("validation", "test"):
        assert complaint.endswith(f"continue with: runner resume {HERE}\n")
        assert directory.status(HERE)["state"] == "interrupted"
        assert directory.status(HERE)["exit_code"] == 143
    else:
        assert complaint == "runner: interrupted by SIGTERM\n"
        assert not HERE.exists()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["import", "steps"])
def test_the_second_of_two_leaves_at_once(stage) -> None:
    """F12: the older checkpoint is whole, and the run goes on from it."""
    with process(stage, *LONG, "compile=false", f"run_dir={HERE}") as child:
        code, complaint, took = ended(child, 0.3, signal.SIGINT, signal.SIGINT)
    assert (code, "Traceback" in complaint) == (130, False)
    assert took < 10
    if stage == "steps":
        assert checkpoints.load(HERE / "checkpoints", pytest.fail)["step"] >= 0
