"""The diagnosis by the command line: planted faults are named, and what is offered helps."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.diagnosis.verdicts import KINDS
from runner.diagnosis.verdicts.remedy import corrected

ROOT = Path(__file__).resolve().parents[1]
DIAGNOSIS = ROOT / "scripts/diagnosis"
PLAIN = ("compile=trace", "tensorboard=false")
SLOW = "--only", "learning rate too low", "--only", "softmax twice", "--only", "leakage"

# What is planted, the verdict, and what it offers.
PLANTED = {
    "symmetric weights": ("initializer=zeros", "initializer=kaiming_normal"),
    "saturated at the start": (
        "dataset=wine preprocessing=none activation=tanh initializer=xavier_fan_in",
        "preprocessing=standardize",
    ),
    "diverged": ("dataset=wine optimizer.lr=3", "optimizer.lr=0.3"),
    "learning rate too low": ("dataset=wine optimizer.lr=0.0001", "optimizer.lr="),
    "underfitting": ("dataset=quadrants architecture=linear", "architecture=mlp"),
    "unscaled inputs": ("dataset=wine preprocessing=none", "preprocessing=standardize"),
    "softmax twice": ("output=softmax trainer.epochs=3", "output=identity"),
    "schedule ends too early": (
        "dataset=wine schedule=staircase schedule.every=1epochs",
        "schedule=cosine",
    ),
    "weight decay on norms": (
        "dataset=wine normalization=layer regularizer=l2 regularizer.l2.over=all",
        "regularizer.l2.over=weights",
    ),
}
SOUND = [
    "",
    "dataset=wine optimizer=nesterov",
    "dataset=breast_cancer loss=bce",
    "dataset=moons optimizer=adam optimizer.lr=0.01 normalization=batch trainer.epochs=10",
    "experiment=diabetes",
]


def judged(runner: Callable[..., Any], folder: str, words: list[str]) -> tuple[Any, list[Any]]:
    done = runner(*words, *PLAIN, f"run_dir={folder}")
    return done, json.loads((Path(folder) / "diagnosis.json").read_text())["verdicts"]


@pytest.mark.parametrize("name", list(PLANTED))
def test_a_planted_fault_is_named_and_its_remedy_taken(runner, name):
    text, override = PLANTED[name]
    done, verdicts = judged(runner, "broken", text.split())
    assert done.code == (4 if name == "diverged" else 0)
    found = next(each for each in verdicts if each["name"] == name)
    assert found["override"].startswith(override)
    assert str(found["text"])
    better = corrected(text.split(), found["override"])
    done, verdicts = judged(runner, "better", better)
    assert done.code == 0
    assert name not in [each["name"] for each in verdicts]


@pytest.mark.parametrize("words", SOUND)
def test_a_sound_run_is_left_alone(runner, words):
    done, verdicts = judged(runner, "sound", words.split())
    assert done.code == 0
    assert [each for each in verdicts if each["severity"] != "note"] == []


def test_a_run_says_what_is_wrong_with_it(runner):
    done = runner("initializer=zeros", "trainer.epochs=1", *PLAIN, "run_dir=broken")
    at_once, _, at_the_end = (done.out + done.err).partition("samples/s")
    assert "symmetric weights" in at_once
    assert "try initializer=kaiming_normal" in at_the_end


def started(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=600, check=False
    )


@pytest.mark.slow
def test_the_proof_holds():
    done = started(str(DIAGNOSIS), "--seeds", "1", *SLOW)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Recall 100.0% of 7 planted" in done.stdout


@pytest.mark.slow
def test_the_proof_complains_of_what_is_not_found_and_of_false_alarms(tmp_path):
    """A fault that is planted nowhere, and an alarm that is always given, are both told."""
    code = f"""
import runpy, sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "scripts")!r}]
from runner.diagnosis.verdicts import configuration
from diagnosing import sound
sound.SOUND[:] = [("dataset=wine trainer.epochs=2", 0.0)]
def alarm(evidence):
    yield configuration.EARLY.verdict(1, "always")
configuration.RULES = (alarm,)
sys.argv = ["diagnosis", "--seeds", "1", *sys.argv[1:]]
runpy.run_path({str(DIAGNOSIS)!r}, run_name="__main__")
"""
    script = tmp_path / "broken.py"
    script.write_text(code)
    missed = started(str(script), "--only", "softmax twice")
    assert missed.returncode == 1
    assert "Recall 0.0% of 2 planted" in missed.stdout
    alarmed = started(str(script), "--healthy")
    assert alarmed.returncode == 1
    assert "false alarm: schedule ends too early" in alarmed.stderr


def test_the_proof_refuses_what_it_does_not_know():
    done = started(str(DIAGNOSIS), "--only", "dead unit")
    assert done.returncode == 2
    assert "invalid choice: 'dead unit'" in done.stderr


def test_every_verdict_is_planted_on_two_data_sets(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from diagnosing.faults import FAULTS

    words: dict[str, set[str]] = {}
    for fault in FAULTS:
        words.setdefault(fault.verdict, set()).add(fault.words)
    names = {kind.name for kind in KINDS} - {"seed noise"}
    assert set(words) == names
    assert all(len(each) >= 2 for each in words.values())


def test_the_page_names_every_verdict():
    page = (ROOT / "runner/docs/diagnosis.md").read_text(encoding="utf-8")
    for kind in KINDS:
        assert f"| {kind.name} | {kind.severity} | {kind.measure} |" in page, kind.name
