"""The record of a launched run: what auto became stands in config.yaml, with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from runner.execution import launch

PLAIN = ("trainer=quick", "compile=false")
REASONS = {
    "plain": "torch sees no GPU",
    "like YAML": "a: [1, {b # c ' \" % @ & * !",
    "of several lines": "one\n- two\r\nseed: 3\u2028name: x\x85 y\t z",
    "not printable": "a bell \x07, an escape \x1b[31m",
    "empty": "",
}


@pytest.fixture
def decide(monkeypatch: pytest.MonkeyPatch):
    """Return a function that says what auto becomes in the runs to come."""

    def choose(**decided: tuple[object, str]) -> None:
        original = launch.launch

        def with_decisions(run, request, terminal, folder):
            run.decided.update(decided)
            return original(run, request, terminal, folder)

        monkeypatch.setattr(launch, "launch", with_decisions)

    return choose


def the_run() -> Path:
    (run,) = Path("outputs").glob("*/*")
    return run


@pytest.mark.parametrize("case", REASONS)
def test_a_reason_is_a_comment(runner, decide, case: str) -> None:
    shown = yaml.safe_load(runner("show", *PLAIN).out)
    decide(device=("cpu", REASONS[case]))
    assert runner(*PLAIN).code == 0
    text = (the_run() / "config.yaml").read_text()
    assert yaml.safe_load(text) == shown | {"device": "cpu"}
    (line,) = [each for each in text.splitlines() if each.startswith("device:")]
    assert line.startswith("device: cpu # auto:")
    assert text.count("#") == 1 + REASONS[case].count("#")
    if case == "plain":
        assert line == "device: cpu # auto: torch sees no GPU"


def test_what_the_user_chose_has_no_comment(runner, decide) -> None:
    decide(threads=(7, "nobody asked"), deterministic=(True, "no key of a configuration"))
    assert runner(*PLAIN, "threads=1", "device=cpu").code == 0
    text = (the_run() / "config.yaml").read_text()
    assert "#" not in text
    assert "threads: 1\n" in text
    assert "deterministic" not in text
    decided = json.loads((the_run() / "environment.json").read_text())["decided"]
    assert decided["deterministic"]["reason"] == "no key of a configuration"


def test_a_record_with_reasons_is_read_by_every_command(runner, decide) -> None:
    decide(device=("cpu", REASONS["like YAML"]))
    assert runner(*PLAIN, "name=one", "device=auto").code == 0
    run = the_run()
    metrics = (run / "metrics.jsonl").read_bytes()
    status = run / "status.json"
    status.write_text(json.dumps({**json.loads(status.read_text()), "state": "running"}))
    done = runner("resume", "last")
    assert (done.code, done.err) == (0, "")
    assert (run / "metrics.jsonl").read_bytes() == metrics
    assert runner("evaluate", "last").code == 0
    assert runner(*PLAIN, "name=two", "device=cpu").code == 0
    printed = runner("diff", "one", "two").out
    assert "(none differs)" in printed
