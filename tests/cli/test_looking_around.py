"""Verbs that look: what they print, and that looking never imports torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.cli import VERBS

ROOT = Path(__file__).resolve().parents[2]


def test_help_names_every_verb_and_every_verb_has_help(runner, capfd) -> None:
    with pytest.raises(SystemExit) as left:
        runner("--help")
    assert left.value.code == 0
    printed = capfd.readouterr().out
    for verb in VERBS:
        assert f"  {verb} " in printed
        with pytest.raises(SystemExit) as left:
            runner(verb, "--help")
        assert left.value.code == 0
        assert f"usage: runner {verb}" in capfd.readouterr().out


def test_show_prints_the_composed_configuration(runner) -> None:
    import yaml

    shown = yaml.safe_load(runner("show", "optimizer=adam", "seed=4").out)
    assert shown["optimizer"]["_target_"] == "runner.components.optimizer.adam"
    assert shown["seed"] == 4
    assert not Path("outputs").exists()


def test_runs_and_diff(runner) -> None:
    assert "no runs in outputs" in runner("runs").out
    runner("trainer=quick", "name=first")
    runner("trainer=quick", "optimizer=adam", "seed=1")
    printed = runner("runs").out.splitlines()
    assert len(printed) == 3
    assert "-quick-adam-seed1-" in printed[1], "newest first"
    assert "finished" in printed[1]
    assert "valid/accuracy 0." in printed[1]
    assert "-first-" in printed[2]
    assert len(runner("runs", "adam").out.splitlines()) == 2
    assert "no runs with 'sgd'" in runner("runs", "sgd").out
    difference = runner("diff", "first", "last").out
    lines = {line.split()[0]: line.split()[1:] for line in difference.splitlines() if line.split()}
    assert lines["seed"] == ["0", "1"]
    assert lines["optimizer"] == ["momentum", "adam"]
    assert "test/accuracy" in lines
    assert "architecture.hidden" not in lines


def test_a_killed_run_is_told_from_a_running_one(runner) -> None:
    runner("trainer=quick")
    (status,) = Path("outputs").glob("*/*/status.json")
    status.write_text(json.dumps({**json.loads(status.read_text()), "state": "running"}))
    assert "killed" in runner("runs").out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["res", "res"], ["resume"]),
        (["rep", "rep"], ["report"]),
        (["optimizer=mu", "optimizer=mu"], ["optimizer=muon"]),
        (["optimizer=rm", "optimizer=rm"], ["optimizer=rmsprop"]),
        (["train", "optimizer.lr"], ["optimizer.lr="]),
        (["opt", "opt"], ["optimizer="]),
        (["show", "see"], ["seed="]),
        (["list", "opti"], ["optimizer"]),
        (["evaluate", "la"], ["last"]),
        (["report", "la"], ["last"]),
        (["env", "x"], [""]),
    ],
)
def test_completion_words(runner, words: list[str], expected: list[str]) -> None:
    assert runner("completion", "words", "--", *words).out.splitlines() == expected


def test_completion_in_bash(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "runner"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m runner "$@"\n')
    program.chmod(0o755)
    script = """
eval "$(runner completion bash)"
complete_line() { COMP_LINE="$1"; COMP_POINT=${#1}; COMP_WORDS=($1); _runner 2>/dev/null
                  echo "${COMPREPLY[@]}"; }
complete_line "runner resu"
complete_line "runner train activation=t"
"""
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60,
                          env=environment, check=True)  # fmt: skip
    assert done.stdout.splitlines() == ["resume", "tanh"]


LOOKING = [["--help"], ["list"], ["list", "optimizer"], ["runs"], ["diff", "last", "last"],
           ["completion", "words", "--", "train", "opt"], ["completion", "zsh"]]  # fmt: skip


def test_looking_never_imports_torch_or_hydra(runner) -> None:
    assert runner("trainer=quick").code == 0
    script = f"""
import sys
from runner import cli
for words in {LOOKING!r}:
    try:
        code = cli.run(words)
    except SystemExit as left:
        code = left.code
    assert not code, words
    heavy = {{"torch", "hydra", "omegaconf", "numpy", "tensorboard"}} & set(sys.modules)
    assert not heavy, (words, heavy)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env=environment,
                   stdout=subprocess.DEVNULL)  # fmt: skip


def test_output_that_nobody_reads_is_no_error() -> None:
    command = f"{sys.executable} -m runner list | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
