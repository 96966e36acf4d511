"""`runner env`: what is found here, and what auto has decided, until it is forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.execution import determinism
from runner.foundation import remembered


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache folder of the test's own, which is not there yet."""
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


DECISIONS = [
    ("threads", 1, "1 thread was 1.32 times as fast as 2", "mlp, 26,122 parameters"),
    ("compile", "trace", "8,000 steps are too few", "cnn, batches of 64"),
    ("compile", False, "lbfgs looks at a number on its way", "linear"),
]
SAID = [
    "  threads=1 for mlp, 26,122 parameters: 1 thread was 1.32 times as fast as 2",
    "  compile=trace for cnn, batches of 64: 8,000 steps are too few",
    "  compile=false for linear: lbfgs looks at a number on its way",
]


def decide() -> None:
    for at, (what, value, reason, whom) in enumerate(DECISIONS):
        words = {"what": what, "value": value, "reason": reason, "for": whom}
        remembered.remember(f"key {at}", words)


def test_what_auto_decided_is_listed_and_forgotten(runner, folder: Path) -> None:
    def printed() -> list[str]:
        return runner("env").out.splitlines()

    assert f"remembered     0 decisions of auto in {folder}" in printed()
    assert not folder.exists()
    decide()
    (remembered.kernels() / "of").mkdir(parents=True)
    lines = printed()
    at = lines.index(f"remembered     3 decisions of auto in {folder}")
    assert lines[at + 1 :] == SAID
    assert runner("env", "--forget").out == f"forgot 3 decisions of auto in {folder}\n"
    assert not remembered.kernels().exists()
    assert f"remembered     0 decisions of auto in {folder}" in printed()
    assert runner("env", "--forget").out == f"forgot 0 decisions of auto in {folder}\n"


def test_one_decision_is_counted_as_one(runner, folder: Path) -> None:
    decide()
    path = folder / "decisions.json"
    path.write_text(json.dumps({"key 0": json.loads(path.read_text())["key 0"]}))
    assert f"1 decision of auto in {folder}" in runner("env").out


def test_a_folder_that_cannot_be_used_is_said(
    runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").touch()
    for place in ("taken", "taken/below/it"):
        monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / place))
        why = f"cannot be used: {tmp_path}/taken is not a folder"
        said = f"0 decisions of auto in {tmp_path}/{place}, which {why}; set RUNNER_CACHE"
        assert said in runner("env").out
        done = runner("env", "--forget")
        assert (done.code, done.out) == (8, "")
        assert f"{tmp_path}/{place}: the cache folder {why}" in done.err


def test_what_cannot_be_forgotten_is_an_error(runner, folder: Path) -> None:
    (folder / ".lock").mkdir(parents=True)
    done = runner("env", "--forget")
    assert done.code == 8
    assert f"{folder}/.lock: cannot write" in done.err


def test_where_things_are_is_said(runner, folder: Path, tmp_path: Path) -> None:
    remembered.kernels().mkdir(parents=True)
    (remembered.kernels() / "kernel.so").write_bytes(bytes(1_500_000))
    lines = runner("env").out.splitlines()
    assert f"kernels        1.5 MB in {remembered.kernels()}" in lines
    assert "data           data (does not exist)" in lines
    assert next(line for line in lines if line.startswith("defaults")).endswith("defaults.yaml")


# Determinism

QUICK = ["trainer=quick", "compile=false"]
RANDOM = """
import os
import torch

def moody(outputs, targets, *, eps: float, alpha: float | None):
    noise = int.from_bytes(os.urandom(4), "big") / 2**32
    return torch.nn.functional.cross_entropy(outputs, targets, reduction="none") * (1 + noise)
"""


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the steps in this process, which is quicker."""

    def once(record, trust):
        found = determinism._found({"record": record, "trust": trust})
        return json.loads(json.dumps(found))

    monkeypatch.setattr(determinism, "once", once)


def test_training_twice_is_equal_bit_by_bit(runner, at_once) -> None:
    done = runner("env", "--determinism", *QUICK, "dropout=inverted", "optimizer=adam")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "mlp by adam: 20 steps at most, twice, each time in a new process"
    assert lines[1:5] == [
        "data           equal", "weights        equal", "optimizer      equal",
        "metrics        equal"]  # fmt: skip
    assert "threads 1" in lines[5]
    assert lines[6:] == ["deterministic: 20 steps are equal, bit by bit"]
    assert not Path("outputs").exists()


def test_what_differs_first_is_said(runner, at_once) -> None:
    Path("random_parts.py").write_text(RANDOM)
    done = runner("env", "--determinism", "--trust", "random_parts", *QUICK,
                  "loss._target_=random_parts.moody")  # fmt: skip
    assert done.code == 1, done.err
    lines = done.out.splitlines()
    assert lines[1:5] == [
        "data           equal", "weights        differs after step 1",
        "optimizer      differs after step 1", "metrics        differs after step 1"]  # fmt: skip
    assert lines[-1] == "not deterministic: weights first, after step 1 of 20"


def test_a_fingerprint_that_differs_is_shown_twice(runner, at_once, monkeypatch) -> None:
    once, count = determinism.once, iter("12")

    def other(record, trust):
        found = once(record, trust)
        return {**found, "fingerprint": found["fingerprint"] | {"threads": next(count)}}

    monkeypatch.setattr(determinism, "once", other)
    done = runner("env", "--determinism", *QUICK)
    lines = [line for line in done.out.splitlines() if line.startswith("fingerprint")]
    assert ["threads 1" in lines[0], "threads 2" in lines[1]] == [True, True]


@pytest.mark.parametrize(
    ("others", "first"),
    [
        ([], {"data": None, "weights": None, "optimizer": None, "metrics": None}),
        ([("weights", 2)], {"data": None, "weights": 2, "optimizer": None, "metrics": None}),
        ([("metrics", 1), ("weights", 1), ("weights", 2)],
         {"data": None, "weights": 1, "optimizer": None, "metrics": 1}),
    ],
)  # fmt: skip
def test_where_two_findings_part(others, first) -> None:
    def found() -> dict:
        return {"data": "d", "steps": [dict.fromkeys(determinism.PARTS, at) for at in range(4)]}

    one, two = found(), found()
    for part, at in others:
        two["steps"][at][part] = "other"
    assert determinism.parted(one, two) == first
    assert determinism.parted(one, {**one, "data": "e"})["data"] == 0
    assert determinism.parted(one, {**one, "steps": one["steps"][:3]})["weights"] == 3


@pytest.mark.slow
def test_each_time_in_a_new_process(runner, tmp_path: Path) -> None:
    done = runner("env", "--determinism", *QUICK)
    assert done.code == 0, done.err
    assert "deterministic: 20 steps are equal" in done.out
    done = runner(
        "env", "--determinism", "dataset=csv", "dataset.path=missing.csv", "dataset.target=y"
    )
    assert done.code == 3
    assert "missing.csv" in done.err


def test_configuration_is_for_determinism_alone(runner) -> None:
    done = runner("env", "optimizer=adam")
    assert done.code == 2
    assert "'optimizer=adam': only --determinism takes configuration" in done.err
    done = runner("env", "--determinism", "optimizer.lr=abc")
    assert done.code == 2
    assert "optimizer.lr" in done.err
