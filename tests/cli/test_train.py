"""The whole vertical: one command, a trained network, a record; the same command, the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


def the_run(part: str = "") -> Path:
    (run,) = [path for path in Path("outputs").glob("*/*") if part in path.name]
    return run


def test_the_default_run_learns_digits_and_leaves_a_record(runner) -> None:
    done = runner("threads=1")
    assert done.code == 0, done.err
    run = the_run()
    names = {path.name.split(".")[0] for path in run.iterdir()}
    assert names >= {"config", "overrides", "status", "metrics", "timing", "summary",
                     "environment", "checkpoints", "events", "run"}  # fmt: skip
    summary = json.loads((run / "summary.json").read_text())
    assert summary["test"]["accuracy"] >= 0.96
    assert summary["steps"] == 320
    assert summary["best"]["objective"] == "valid/accuracy"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = max(row["valid/accuracy"] for row in rows if "valid/accuracy" in row)
    assert summary["best"]["value"] == best == summary["valid"]["accuracy"]
    status = json.loads((run / "status.json").read_text())
    assert (status["state"], status["step"], status["exit_code"]) == ("finished", 320, 0)
    assert "tensorboard --logdir outputs" in done.out
    assert f"test   {summary['test']['loss']:.4g}" in done.out
    assert yaml.safe_load((run / "config.yaml").read_text())["threads"] == 1
    assert yaml.safe_load((run / "overrides.yaml").read_text())["overrides"] == ["threads=1"]


@pytest.mark.parametrize(
    "line",
    ["", "optimizer=adam normalization=batch dropout=inverted regularizer=l2 clipping=norm",
     "dataset=wine normalization=layer optimizer=sgd clipping=value activation=gelu",
     "dataset=diabetes loss=mse stopping=early hooks=weight_norm schedule=staircase",
     "architecture=cnn augmentation=flip_crop normalization=batch activation=leaky_relu",
     "precision=float64 preprocessing=none architecture=linear", "precision=bfloat16",
     "dataset.valid=0 trainer.drop_last=false"],
)  # fmt: skip
def test_the_same_command_twice_gives_the_same_bytes(runner, line: str) -> None:
    for name in ("one", "two"):
        done = runner(*line.split(), "trainer=quick", f"name={name}")
        assert done.code == 0, done.err
    one, two = (the_run(name) for name in ("one", "two"))
    metrics = (one / "metrics.jsonl").read_bytes()
    assert metrics.count(b"\n") >= 4
    assert metrics == (two / "metrics.jsonl").read_bytes()
    assert runner("evaluate", "one").code == 0


def head(printed: str) -> dict[str, str]:
    """Return what is said before training: data, model, train and device."""
    return dict(line.split(maxsplit=1) for line in printed.splitlines()[:4])


def test_the_head_calls_parts_by_their_options_also_when_resumed(runner) -> None:
    words = ["dataset=correlated_columns", "loss=mse", "architecture=mlp_512", "optimizer=nesterov"]
    printed = runner(*words, "optimizer.lr=1e-6", "trainer=quick").out
    said = head(printed)
    assert said["data"].startswith("correlated_columns: 1,200 / 400 / 400 samples of 2, regression")
    assert said["model"].startswith("mlp_512, ")
    assert said["train"] == "20 steps, batches of 64, nesterov lr 1e-06"
    status = the_run() / "status.json"
    status.write_text(json.dumps({**json.loads(status.read_text()), "state": "running"}))
    resumed = runner("resume", "last")
    assert resumed.code == 0, resumed.err
    assert resumed.out.splitlines()[:4] == printed.splitlines()[:4]


def test_the_head_names_the_factory_where_another_was_put_in(runner) -> None:
    printed = runner("optimizer=sgd", "optimizer._target_=torch.optim.Adam", "trainer=quick").out
    assert head(printed)["train"] == "20 steps, batches of 64, Adam lr 0.1"


def test_what_auto_became_is_recorded_and_used_again(runner, defaults_file: Path) -> None:
    defaults_file.unlink()
    runner("trainer=quick")
    run = the_run()
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert isinstance(config["threads"], int)
    assert config["device"] in ("cpu", "cuda")
    decided = json.loads((run / "environment.json").read_text())["decided"]
    assert decided["threads"]["value"] == config["threads"]
    assert decided["threads"]["reason"]


def test_evaluate_gives_the_summarys_numbers_again(runner) -> None:
    runner("trainer=quick", "normalization=batch", "dropout=inverted")
    summary = json.loads((the_run() / "summary.json").read_text())
    printed = runner("evaluate", "last").out
    for split in ("train", "valid", "test"):
        numbers = [f"{summary[split][name]:.4g}" for name in ("loss", "accuracy")]
        assert [split, *numbers] in [line.split() for line in printed.splitlines()]


def test_load_in_python(runner) -> None:
    import torch

    import runner as package

    runner("trainer=quick")
    loaded = package.load("last")
    assert not loaded.model.training
    x = loaded.data.x[loaded.data.splits["test"]]
    y = loaded.data.y[loaded.data.splits["test"]]
    with torch.no_grad():
        accuracy = (loaded.model(loaded.preprocess(x)).argmax(1) == y).double().mean().item()
    assert accuracy == pytest.approx(loaded.summary["test"]["accuracy"], abs=1e-12)
    predicted = loaded.predict("test").argmax(1)
    assert (predicted == y).double().mean().item() == pytest.approx(accuracy, abs=1e-12)
    assert loaded.config["trainer"]["steps"] == 20
    assert loaded.metrics[-1]["step"] == 20


def test_a_loaded_run_predicts_as_it_was_tested(runner) -> None:
    import torch

    import runner as package

    runner("trainer=quick", "dropout=monte_carlo", "averaging=ema", "normalization=batch",
           "normalization.inference=population")  # fmt: skip
    loaded = package.load("last")
    y = loaded.data.y[loaded.data.splits["test"]]
    accuracy = (loaded.predict("test").argmax(1) == y).double().mean().item()
    assert accuracy == pytest.approx(loaded.summary["test"]["accuracy"], abs=1e-12)
    assert loaded.evaluate()["test"] == loaded.summary["test"]
    x = loaded.preprocess(loaded.data.x[loaded.data.splits["test"]])
    slim = loaded.folded()
    assert not any(hasattr(module, "running_mean") for module in slim.modules())
    with torch.no_grad():
        torch.testing.assert_close(slim(x), loaded.model(x), rtol=1e-4, atol=1e-5)


def test_budgets(runner) -> None:
    runner("trainer.steps=7", "name=steps")
    runner("trainer.epochs=2", "name=epochs")
    runner("trainer.epochs=100000", "trainer.minutes=0.005", "name=minutes")
    steps = {name: json.loads((the_run(f"-{name}-") / "summary.json").read_text())["steps"]
             for name in ("steps", "epochs", "minutes")}  # fmt: skip
    assert steps["steps"] == 7
    assert steps["epochs"] == 32
    assert 0 < steps["minutes"] < 1_600_000


def test_a_hook_of_the_users_own_is_logged_only_with_trust(runner, tmp_path, monkeypatch) -> None:
    (tmp_path / "own_hooks.py").write_text(
        "def measure(state, *, every: str):\n    return {'own/steps': state.step * 2}\n"
    )
    folder = tmp_path / "options/hooks"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(
        "# Mine.\nmine:\n  _target_: own_hooks.measure\n  every: 5steps\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = ["trainer=quick", "hooks=mine", "--config-dir", str(tmp_path / "options")]
    refused = runner(*words)
    assert refused.code == 2
    assert "add --trust own_hooks" in refused.err
    assert runner(*words, "--trust", "own_hooks").code == 0
    rows = [json.loads(line) for line in (the_run() / "metrics.jsonl").read_text().splitlines()]
    assert [row["own/steps"] for row in rows] == [10, 20, 30, 40]
    for verb in ("evaluate", "resume"):
        refused = runner(verb, "last")
        assert refused.code == 2
        assert "calls code of own_hooks" in refused.err
        assert "add --trust own_hooks" in refused.err
        assert runner(verb, "last", "--trust", "own_hooks").code == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [("raise KeyError('boom')", "KeyError('boom')"), ("return 3", "AttributeError"),
     ("return {'train/loss': 1.0}", "'train/loss' is measured already")],
)  # fmt: skip
def test_a_hook_that_fails_is_named(runner, tmp_path, monkeypatch, body, message) -> None:
    name = f"failing_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(f"def measure(state, *, every: str):\n    {body}\n")
    folder = tmp_path / "options/hooks"
    folder.mkdir(parents=True)
    (folder / "bad.yaml").write_text(f"# Bad.\nbad:\n  _target_: {name}.measure\n  every: 5steps\n")
    monkeypatch.syspath_prepend(tmp_path)
    words = ("trainer=quick", "hooks=bad", "--config-dir", str(folder.parent), "--trust", name)
    done = runner(*words)
    assert done.code in (1, 2)
    assert "hooks.bad" in done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert "Traceback" in (the_run() / "error.txt").read_text()
    assert "hooks.bad" in (the_run() / "run.log").read_text()


EVENTS = {"PIL", "tensorboard", "google.protobuf"}  # what an event file is written with
HEAVY = {"torchvision", "sklearn", "scipy", "pandas", "matplotlib", "sympy", "networkx", "joblib",
         "torch._dynamo", "torch._inductor", "torch.utils.tensorboard", "tensorflow",
         "rich.progress"}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "unused"), [("dataset=digits", HEAVY),
                         ("dataset=diabetes loss=mse", HEAVY | {"PIL"}),
                         ("dataset=wine tensorboard=false", HEAVY | EVENTS)],
)  # fmt: skip
def test_a_run_imports_nothing_that_it_does_not_use(line: str, unused: set[str]) -> None:
    """With no terminal, and a step that is not compiled."""
    script = f"""
import sys
from runner import cli
assert cli.run(["trainer=quick", *{line.split()!r}]) == 0
print(*sorted({unused!r} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, timeout=120,
                          capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.stderr.split() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_resuming_gives_the_uninterrupted_run(runner, number) -> None:
    line = ["threads=1", "normalization=batch", "dropout=inverted", "optimizer=adam",
            "trainer.epochs=80"]  # fmt: skip
    runner(*line, "name=whole")
    command = [sys.executable, "-m", "runner", *line, "name=cut"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, **pipes)
    with process:
        until = time.monotonic() + 60
        while not any("\n" in path.read_text() for path in
                      Path("outputs").glob("*/*-cut-*/metrics.jsonl")):  # fmt: skip
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(timeout=20) == 128 + number
        complaint = process.stderr.read()
    assert "continue with: runner resume" in complaint
    assert "Traceback" not in complaint
    cut, whole = the_run("-cut-"), the_run("-whole-")
    status = json.loads((cut / "status.json").read_text())
    assert status["state"] == "interrupted"
    assert 0 < status["step"] < 1280
    assert runner("resume", "cut").code == 0
    assert (cut / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    one, two = (json.loads((run / "summary.json").read_text()) for run in (cut, whole))
    assert one["test"] == two["test"]
    again = runner("resume", "cut")
    assert (again.code, "already finished (step 1280)" in again.out) == (0, True)


@pytest.mark.slow
def test_an_installed_wheel_works_from_any_directory(tmp_path: Path) -> None:
    python = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [*python, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / "w", ROOT]
    subprocess.run(wheel, check=True, timeout=300)
    (built,) = (tmp_path / "w").glob("runner-*.whl")
    target = tmp_path / "site"
    subprocess.run([*python, "install", "--no-deps", "--target", target, built],
                   check=True, timeout=300)  # fmt: skip
    script = "import runner, sys; from runner.__main__ import main; sys.exit(main())"
    sweep = ["-m", "seed=0,1", "trainer=quick", "hydra/launcher=basic"]
    for words in (["list"], ["trainer=quick"], sweep, ["runs"]):
        done = subprocess.run([sys.executable, "-c", script, *words], timeout=120, check=False,
                              cwd=tmp_path, env={"PYTHONPATH": str(target), "HOME": str(tmp_path)},
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (target / "runner/conf/config.yaml").is_file()
    assert "finished" in done.stdout
