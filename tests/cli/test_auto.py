"""What is left to `auto`: decided once, recorded with its reason, and the same bits ever after."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from runner.foundation import remembered

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def all_auto(tmp_path, defaults_file, monkeypatch):
    """Leave threads to auto too, in a memory of the test's own."""
    defaults_file.unlink()
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def burn():
    while True:
        sum(range(10_000))


@pytest.fixture
def load():
    """Keep two processors busy with other things."""
    burners = [multiprocessing.get_context("fork").Process(target=burn) for _ in range(2)]
    for each in burners:
        each.start()
    yield lambda: [each.kill() for each in burners]
    for each in burners:
        each.kill()
        each.join()


def the_run(name: str) -> Path:
    (run,) = [path for path in Path("outputs").glob("*/*") if name in path.name]
    return run


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_same_command_has_the_same_bytes_whatever_else_the_machine_does(runner, load):
    words = ["normalization=batch", "dropout=inverted", "trainer=quick"]
    assert runner(*words, "name=loaded").code == 0
    load()
    assert runner(*words, "name=quiet").code == 0
    loaded, quiet = the_run("loaded"), the_run("quiet")
    metrics = (loaded / "metrics.jsonl").read_bytes()
    assert metrics == (quiet / "metrics.jsonl").read_bytes()
    first, second = ((run / "config.yaml").read_text().splitlines() for run in (loaded, quiet))
    assert [line for line in first if "name:" not in line] == [
        line for line in second if "name:" not in line
    ]
    status = loaded / "status.json"
    status.write_text(json.dumps({**json.loads(status.read_text()), "state": "running"}))
    remembered.forget()
    assert runner("resume", str(loaded)).code == 0
    assert metrics == (loaded / "metrics.jsonl").read_bytes()


def test_what_was_decided_is_recorded_with_its_reason(runner):
    done = runner("trainer=quick", "name=one")
    text = (the_run("one") / "config.yaml").read_text()
    config = yaml.safe_load(text)
    decided = json.loads((the_run("one") / "environment.json").read_text())["decided"]
    said = runner("env").out
    for what in ("threads", "compile"):
        value, reason = decided[what]["value"], decided[what]["reason"]
        assert config[what] == value
        assert f"{yaml.safe_dump({what: value}).strip()} # auto: {reason}" in text
        assert reason in said
    assert config["compile"] == "trace"
    assert f"step    traced: {decided['compile']['reason']}" in done.out
    assert f"{config['threads']} thread" in done.out
    assert "2 decisions" in runner("env", "--forget").out
    assert "0 decisions" in runner("env").out


@pytest.mark.parametrize("way", ["trace", "false"])
def test_what_is_asked_for_is_not_decided(runner, way):
    done = runner(f"compile={way}", "threads=1", "trainer=quick", "name=one")
    assert done.code == 0, done.err
    assert "step    traced\n" in done.out if way == "trace" else "step    plain\n" in done.out
    assert remembered.listed() == {}


def test_traced_and_plain_runs_have_the_same_bytes(runner):
    for way in ("trace", "false"):
        assert runner(f"compile={way}", "threads=1", "trainer=quick", f"name=as-{way}").code == 0
    assert (the_run("as-trace") / "metrics.jsonl").read_bytes() == (
        the_run("as-false") / "metrics.jsonl"
    ).read_bytes()


def test_a_word_that_is_no_way_is_refused(runner):
    done = runner("compile=fast")
    assert done.code == 2
    assert "compile: expected" in done.err
    assert "auto" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1, 4])
def test_a_signal_while_the_step_is_compiled_ends_the_command(seconds):
    words = [sys.executable, "-m", "runner", "compile=true", "threads=1"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        assert process.stdout.readline().startswith("compiling the step")
        time.sleep(seconds)
        process.send_signal(signal.SIGTERM)
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 143
    assert complaint == "runner: interrupted by SIGTERM\n"
    assert not Path("outputs").exists()
