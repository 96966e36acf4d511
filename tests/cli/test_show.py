"""`runner show --plot-schedule`: what is drawn, decoded letter by letter, and what is said."""

from __future__ import annotations

import io
import math
import re
import sys
import unicodedata
from pathlib import Path

import pytest
import yaml

from runner.cli.chart import HEIGHT, chart
from runner.foundation.options import own_folder

OPTIONS = sorted(path.stem for path in (own_folder() / "schedule").glob("*.yaml"))
# the dots of a braille letter by number, column by column from the top, as Unicode names them
NUMBERED = ("1237", "4568")


def dots(lines: list[str]) -> list[list[int]]:
    """Return, for each column of dots, the levels that are set, from the bottom."""
    rows = [line.partition("┤")[2] for line in lines[:HEIGHT]]
    width = max(map(len, rows))
    found: list[list[int]] = [[] for _ in range(2 * width)]
    for row, letters in enumerate(rows):
        for at, letter in enumerate(letters):
            numbers = unicodedata.name(letter).partition("DOTS-")[2] if letter != " " else ""
            for side, column in enumerate(NUMBERED):
                for place, number in enumerate(column):
                    if number in numbers:
                        found[2 * at + side].append(4 * HEIGHT - 1 - (4 * row + place))
    return found


CURVES = {
    "line": [1 - at / 500 for at in range(500)],
    "wave": [0.03 * (1.5 + math.sin(at / 40)) for at in range(700)],
    "constant": [7.0] * 144,
    "steps": [10.0 ** -(at // 100) for at in range(300)],
    "few": [1.0, 2.0, 0.5],
    "one": [0.25],
    "nothing": [0.0],
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("width", [40, 80, 133])
def test_the_curve_passes_through_its_values(name: str, width: int) -> None:
    values = CURVES[name]
    lines = chart(values, {"step": len(values), "epoch": 2.5}, width)
    assert max(map(len, lines)) <= width
    found = dots(lines)
    columns = 2 * (len(lines[HEIGHT]) - lines[HEIGHT].index("└") - 1)
    assert len(found) == columns
    heights = [round(value / (max(values) or 1) * (4 * HEIGHT - 1)) for value in values]
    last = heights[0]
    for at, levels in enumerate(found):
        first, following = (place * len(values) // columns for place in (at, at + 1))
        met = heights[first : max(following, first + 1)]
        low, high = min(last, *met), max(last, *met)  # joined to the column before
        assert levels == list(range(high, low - 1, -1))
        last = met[-1]


def test_a_jump_is_a_vertical_line() -> None:
    found = dots(chart([1.0] * 100 + [0.0] * 100, {"step": 200}, 60))
    upright = [levels for levels in found if len(levels) > 1]
    assert upright == [list(range(4 * HEIGHT - 1, -1, -1))]


def test_axes_are_labelled_at_each_quarter() -> None:
    lines = chart([0.2, 0.1], {"step": 1600, "epoch": 12.5}, 70)
    assert lines[-2].split() == ["step", "0", "400", "800", "1,200", "1,600"]
    assert lines[-1].split() == ["epoch", "0", "3.12", "6.25", "9.38", "12.5"]
    assert len(lines[-2]) == len(lines[-1]) == len(lines[-3]) == 70
    labels = [line.partition("┤")[0].strip() for line in lines[:HEIGHT]]
    assert [float(label) for label in labels if label] == [0.2, 0.15, 0.1, 0.05]


def test_a_terminal_without_braille_gets_stars(monkeypatch) -> None:
    braille = chart(CURVES["wave"], {"step": 700}, 80)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    stars = chart(CURVES["wave"], {"step": 700}, 80)
    rows = [(line.partition("┤")[2], star.partition("┤")[2])
            for line, star in zip(braille, stars, strict=True)]  # fmt: skip
    assert all(re.sub(r"[^ ]", "*", line) == star for line, star in rows[:HEIGHT])
    assert any("*" in star for _, star in rows)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_schedule_is_drawn(runner, monkeypatch, option: str) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    done = runner("show", "--plot-schedule", f"schedule={option}", "optimizer.lr=0.04")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == f"learning rate, schedule {option}"
    assert max(map(len, lines)) <= 90
    assert lines[1].lstrip().startswith("0.04 ┤")
    epochs, steps = (lines[HEIGHT + at].split()[-1] for at in (3, 2))
    assert (epochs, int(steps) % 20) == ("20", 0)
    first = lines[HEIGHT + 4].split(", ")[0]
    assert first == {"one_cycle": "first 0.0016", "cyclic": "first 0.004"}.get(option, "first 0.04")
    assert lines[HEIGHT + 5].startswith("Robbins-Monro: ")
    assert ("objective, which only training tells" in done.out) == (option == "plateau")
    assert not list(Path().iterdir()), "nothing is made"


def test_the_conditions_are_told(runner) -> None:
    def told(option: str) -> str:
        return runner("show", "--plot-schedule", f"schedule={option}").out

    assert "Robbins-Monro: met" in told("inverse_time")
    assert "Robbins-Monro: not met (sum t_k = inf fails" in told("inverse_square")
    assert "the schedule ends with the run" in told("cosine")


def test_a_run_without_end_is_drawn_for_a_while_or_refused(runner) -> None:
    words = ["show", "--plot-schedule", "trainer.epochs=null", "trainer.minutes=1"]
    done = runner(*words, "schedule=inverse_time")
    assert done.code == 0
    assert "the first 20 epochs are drawn" in done.out
    refused = runner(*words, "schedule=cosine")
    assert refused.code == 2
    assert "schedule: cosine needs an end" in refused.err


def test_without_the_flag_the_configuration_is_printed(runner) -> None:
    shown = yaml.safe_load(runner("show", "schedule=one_cycle").out)
    assert shown["schedule"]["_target_"] == "runner.components.schedule.one_cycle"
    assert shown["schedule"]["rise"] == "30%"
