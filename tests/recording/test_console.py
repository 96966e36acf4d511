"""The terminal: names are text whatever they hold, and no width or pipe stops it."""

import io
import resource
from itertools import pairwise

import pytest
from rich.console import Console

from runner.foundation.errors import Unwritable, printable
from runner.recording import console
from runner.recording.console import Terminal, number

NAMES = ["[/red]", "[bold]x[/bold]", "[link=http://x]y", ":smile:", "\\[a]", "100% [/]", "a" * 300]
ROW = {"step": 8, "epoch": 0.5, "train/loss": 0.25, "valid/accuracy": 0.75, "lr": 0.1}


def plain(width: int = 200) -> Terminal:
    """A terminal that is none: a pipe."""
    return Terminal(Console(file=io.StringIO(), width=width, soft_wrap=True))


def screen(width: int = 80, **options) -> Terminal:
    """A terminal with colours and cursor."""
    return Terminal(Console(file=io.StringIO(), width=width, force_terminal=True, **options))


def shown(terminal: Terminal) -> str:
    return terminal.console.file.getvalue()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [lambda: plain(2000), lambda: screen(2000, color_system=None)],
                         ids=["plain", "screen"])  # fmt: skip
def test_a_name_prints_as_text(make, name):
    """F45: brackets and all."""
    terminal = make()
    terminal.line(name)
    terminal.warn(name)
    terminal.table([name, "b"], [[name, name]])
    assert shown(terminal).count(name) == 5
    assert f"warning: {name}" in shown(terminal)


@pytest.mark.parametrize(
    "name",
    ["a\x1b[2Jb", "a\x1b]0;title\x07b", "a\x9b2Jb", "a\rb", "a\x08b"],
    ids=["clear", "title", "one byte", "return", "backspace"],
)
@pytest.mark.parametrize("act", ["line", "warn", "table", "results"])
def test_a_name_does_not_control_the_terminal(act, name):
    terminal = plain()
    given = {"table": ([name], [[name]]), "results": ({name: {"loss": 1.0}},)}.get(act, (name,))
    getattr(terminal, act)(*given)
    control = {each for each in shown(terminal) if ord(each) < 32 or 127 <= ord(each) < 160}
    assert control == {"\n"}
    assert printable(name) in shown(terminal), "what it would obey is written out"


@pytest.mark.parametrize("act", ["line", "table"])
def test_a_newline_in_a_name_loses_nothing(act):
    terminal = plain()
    terminal.line("a\nb") if act == "line" else terminal.table(["run"], [["a\nb"]])
    lines = [line.strip() for line in shown(terminal).splitlines()]
    assert lines[-2:] == ["a", "b"] or lines[-1:] == ["a\\nb"]


@pytest.mark.parametrize("width", [1, 5, 20, 80])
@pytest.mark.parametrize("make", [plain, screen])
def test_no_width_is_too_small(make, width):
    """F45: nothing ends for lack of columns."""
    terminal = make(width)
    terminal.line("x" * 100)
    terminal.start(100, 0)
    terminal.tick(8)
    terminal.row(ROW, 1234.5)
    terminal.stop()
    terminal.results({name: {"loss": 0.5, "accuracy": 0.25} for name in ("train", "test")})
    terminal.table(["run", "state", "overrides"], [["1432-adam", "finished", "y" * 100]], left=3)
    assert shown(terminal)


def test_without_a_terminal_there_are_plain_lines_only():
    terminal = plain()
    terminal.start(100, 0)
    for step in (1, 2):
        terminal.tick(step)
    terminal.row(ROW, 1234.5)
    terminal.row({"step": 9, "epoch": 0.6, "train/loss": 0.2}, 1000.0)
    terminal.warn("careful")
    terminal.stop()
    assert shown(terminal) == (
        "step 8  epoch 0.5  train/loss 0.25  valid/accuracy 0.75  1,234 samples/s\n"
        "warning: careful\n"
    )


def test_without_validation_about_twenty_rows_are_shown():
    terminal = plain()
    terminal.start(1000, 0, validated=False)
    for step in range(10, 1001, 10):
        terminal.row({"step": step, "epoch": step / 10, "train/loss": 0.5}, 1.0)
    lines = shown(terminal).splitlines()
    assert len(lines) == 20
    assert lines[0].startswith("step 50 ")
    assert lines[-1].startswith("step 1000 ")


def test_without_a_terminal_long_lines_are_not_cut(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    Terminal().line("x" * 500)
    assert capsys.readouterr().out == "x" * 500 + "\n"


def test_the_bar_shows_the_row_and_goes_away():
    terminal = screen(120)
    terminal.start(100, 0)
    terminal.row(ROW, 1000.0)
    terminal.tick(8)
    assert "8/100" in shown(terminal)
    assert "valid/accuracy 0.75" in shown(terminal)
    terminal.stop()
    terminal.stop()
    assert terminal._bar is None


def test_the_bar_is_drawn_less_often_where_that_takes_long(monkeypatch):
    """At most ten times a second, and in one two-hundredth of the time."""
    clock = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    terminal = screen(120)
    terminal.start(1000, 0)
    progress, _ = terminal._bar
    drawn, slow = [], [0.0]

    def update(task, *, completed, **_):
        drawn.append(completed)
        clock[0] += slow[0]

    monkeypatch.setattr(progress, "update", update)
    for step in range(1000):
        slow[0] = 0.002 if step >= 500 else 0.0
        terminal.tick(step)
        clock[0] += 0.001
    terminal.stop()
    quick, late = ([step for step in drawn if (step >= 500) == part] for part in (False, True))
    assert {after - before for before, after in pairwise(quick)} == {100}
    assert {after - before for before, after in pairwise(late)} == {400}


@pytest.mark.parametrize("make", [plain, screen])
def test_the_log_has_all_lines_from_the_first_and_no_escapes(tmp_path, make):
    terminal = make()
    terminal.line("before")
    terminal.keep_log(tmp_path / "run.log")
    terminal.warn("careful")
    terminal.row({"step": 9, "epoch": 0.6, "train/loss": 0.2}, 1000.0)
    terminal.results({"test": {"loss": 0.5}})
    assert (tmp_path / "run.log").read_text().splitlines() == [
        "before",
        "warning: careful",
        "step 9  epoch 0.6  train/loss 0.2  1,000 samples/s",
        "split  loss",
        "test  0.5",
    ]


@pytest.mark.parametrize("make", [plain, screen])
def test_each_row_is_in_the_log_at_once(tmp_path, make):
    terminal, path = make(), tmp_path / "run.log"
    terminal.keep_log(path)
    terminal.start(100, 0)
    for step in (1, 2, 3):
        terminal.row({"step": step, "epoch": 0.1, "train/loss": 0.2}, 1000.0)
        assert path.read_text().count("\n") == step
    terminal.stop()
    terminal.line("after")
    assert path.read_text().splitlines()[3:] == ["after"]


def test_a_log_that_a_full_disk_does_not_take_is_written_later(tmp_path):
    """F07: one warning; what was printed waits in order, and what never comes is named."""
    terminal, path = plain(1000), tmp_path / "run.log"
    terminal.keep_log(path)
    terminal.line("first")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))
    terminal.line("second")
    terminal.start(9, 0)
    terminal.row(ROW, 1.0)
    terminal.stop()
    (reason,) = terminal.unwritten()
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert reason.startswith(f"file size limit reached writing {path} (need ")
    assert path.read_text() == "first\nse"
    assert shown(terminal).count("warning: ") == 1
    terminal.line("third")
    assert terminal.unwritten() == []
    lines = path.read_text().splitlines()
    assert [lines[0], lines[1], lines[-1]] == ["first", "second", "third"]
    assert [line[:8] for line in lines[2:-1]] == ["warning:", "step 8  "]


def test_a_log_that_cannot_be_begun_is_named(tmp_path):
    """F10: with its path."""
    with pytest.raises(Unwritable, match=r"gone/run\.log: cannot write: No such file"):
        plain().keep_log(tmp_path / "gone" / "run.log")


def test_a_log_is_gone_on_with(tmp_path):
    (tmp_path / "run.log").write_text("first run\n")
    terminal = plain()
    terminal.line("resumed")
    terminal.keep_log(tmp_path / "run.log")
    assert (tmp_path / "run.log").read_text() == "first run\nresumed\n"


LAYERS = [
    ("0", "Flatten", (64,), 0, 0),
    ("1.layer", "Linear", (1000,), 65_000, 128_000),
    ("1.unused", "Linear", None, 10, 0),
    ("[bold]", "Conv2d", (16, 4, 4), 5, 7),
]


@pytest.mark.parametrize("make", [plain, screen])
def test_a_summary_of_a_model_shows_and_logs_each_layer_and_the_totals(tmp_path, make):
    terminal = make()
    terminal.keep_log(tmp_path / "run.log")
    terminal.summary(LAYERS)
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert lines == [
        "layer  kind  output shape  parameters  FLOPs",
        "0  Flatten  64  0  0",
        "1.layer  Linear  1000  65,000  128,000",
        "1.unused  Linear  -  10  0",
        "[bold]  Conv2d  16 x 4 x 4  5  7",
        "total  65,015  128,007",
    ]
    words = shown(terminal).split()
    assert all(word in words for line in lines[1:] for word in line.split())


@pytest.mark.parametrize("width", [1, 20, 80])
def test_a_summary_fits_any_width(width):
    terminal = screen(width)
    terminal.summary(LAYERS)
    assert shown(terminal)


def test_no_colour_where_none_is_wanted(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal(Console(file=io.StringIO(), force_terminal=True))
    terminal.warn("careful")
    assert "\x1b[33m" not in shown(terminal)


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567, "1,234,567"), (0.123456, "0.1235"), (1e-9, "1e-09"), (None, ""), (True, "True"),
     ("x", "x"), ([1, 2], "[1, 2]"), (float("nan"), "nan"), (100000.0, "1e+05")],
)  # fmt: skip
def test_number(value, text):
    assert number(value) == text


def test_console_is_as_wide_as_it_needs_without_a_terminal(capsys):
    assert console._console().width == 10_000
