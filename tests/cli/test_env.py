"""`runner env`: what is found here, and what auto has decided, until it is forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
