"""The view: one picture on a terminal, plain lines without one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from standin import job

from runner.recording.console import Terminal
from runner.sweeps.state import State
from runner.sweeps.view import View


@pytest.fixture
def state(tmp_path):
    state = State(tmp_path)
    state.merge([job(name) for name in "abcd"])
    state.head(objective="valid/accuracy", direction="max")
    return state


def view_of(state, terminal, width=1000):
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, highlight=False)
    return View(state, Terminal(console))


def text_of(view):
    return view.terminal.console.file.getvalue()


def drawn(view, running):
    with view.terminal.console.capture() as capture:
        view.terminal.console.print(view.picture(running))
    return capture.get()


def test_the_picture(state, monkeypatch):
    now = [50.0]
    monkeypatch.setattr("runner.sweeps.view.time.monotonic", lambda: now[0])
    view = view_of(state, False)
    state.change("id-a", state="finished", value=0.91)
    state.change("id-b", state="finished", value=0.93)
    for name, step in (("c", 40), ("d", 60)):
        state.change(f"id-{name}", state="running")
        metrics = {"valid/accuracy": step / 100}
        view.moved(f"id-{name}", {"step": step, "total": 100, "metrics": metrics})
    now[0] += 90
    text = drawn(view, {"b001": ["id-c", "id-d"], "b002": ["id-x"]})
    assert "4 jobs: 2 running, 2 finished" in text
    assert "0:00:30 left" in text  # three quarters in 90 s
    assert "best  valid/accuracy 0.93  x=b" in text
    assert "b001  2 jobs  step 60/100  valid/accuracy 0.6" in text
    assert "b002  1 job  starting" in text


@pytest.mark.parametrize("total", [0, 10])
def test_the_picture_before_anything_is_known(state, total):
    state.head(objective=None, direction=None)
    view = view_of(state, False)
    view.moved("id-a", {"step": 1, "total": total})
    text = drawn(view, {"b000": ["id-a"]})
    assert "best" not in text
    assert "left" not in text
    assert "step 1" in text


def test_lines_without_a_terminal(state):
    with view_of(state, False) as view:
        state.change("id-a", state="finished", value=0.5, started=1.0, ended=3.5)
        view.ended("id-a")
        state.change("id-b", state="failed", message="no such file")
        view.ended("id-b")
        state.change("id-c", state="diverged", message="loss nan")
        view.ended("id-c")
        view.draw({})
    assert text_of(view).splitlines() == [
        "finished  a  valid/accuracy 0.5  2.5 s  1/4",
        f"failed    b: no such file; see {state.folder / 'b' / 'error.txt'}",
        "diverged  c  loss nan  3/4",
    ]


def test_a_terminal_shows_one_picture_and_what_went_wrong(state, tmp_path):
    view = view_of(state, True)
    view.terminal.keep_log(tmp_path / "run.log")
    with view:
        state.change("id-a", state="finished", value=0.5)
        view.ended("id-a")
        for _ in range(50):
            view.draw({"b000": ["id-b"]})
        state.change("id-b", state="failed", message="no such file")
        view.ended("id-b")
    text = text_of(view)
    assert text.count("4 jobs:") <= 3  # of fifty drawings in no time
    assert "finished  a" not in text
    assert "failed    b: no such file" in text
    assert (tmp_path / "run.log").read_text().startswith("finished  a  valid/accuracy 0.5")
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")  # the cursor is there, always


def test_names_are_no_markup(state):
    view = view_of(state, False)
    state.jobs["id-a"]["directory"] = "[red]a[/]"
    state.change("id-a", state="finished")
    view.ended("id-a")
    assert "[red]a[/]" in text_of(view)
