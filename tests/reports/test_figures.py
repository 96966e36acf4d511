"""Figures: what is drawn, read from the SVG's texts; that PNGs hold a picture of them."""

from __future__ import annotations

import builtins
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from runner.foundation.errors import Misconfigured
from runner.reports import drawing, figures, landscape, results


def texts(path: Path) -> list[str]:
    """Return the texts of an SVG."""
    tree = ElementTree.parse(path)
    return [
        "".join(each.itertext()).strip() for each in tree.iter("{http://www.w3.org/2000/svg}text")
    ]


def draw(folder: Path) -> dict[str, list[str]]:
    """Draw a sweep; return each figure's texts. Every PNG has to be one that opens."""
    paths = figures.draw(results.read(folder))
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert min(image.size) > 200
                assert len(image.convert("L").getcolors()) > 20
    return {path.stem: texts(path) for path in paths if path.suffix == ".svg"}


def rate(swept: dict) -> float:
    return 0.9 - 0.1 * abs(math.log10(swept["optimizer.lr"]) + 1) + 0.01 * swept.get("seed", 0)


def test_one_range(make_sweep) -> None:
    folder = make_sweep(
        {"optimizer.lr": [0.01, 0.1, 1.0, 10.0], "seed": [0, 1]}, rate,
        lambda swept: "diverged" if swept["optimizer.lr"] == 10 else "finished",
    )  # fmt: skip
    drawn = draw(folder)
    assert set(drawn) == {"curves", "objective"}
    assert {"train/loss", "valid/loss", "valid/accuracy", "epoch", "rates"} <= set(drawn["curves"])
    assert {"lr=0.01 (n=2)", "lr=0.1 (n=2)", "lr=1 (n=2)"} <= set(drawn["curves"])
    assert "1 configurations without curves" in " ".join(drawn["curves"])
    assert {"optimizer.lr", "0.01", "0.1", "1", "10", "best", "some diverged or failed"} <= set(
        drawn["objective"]
    )
    assert {path.name for path in (folder / "figures").iterdir()} == {
        f"{name}.{kind}" for name in drawn for kind in ("svg", "png")
    }


def test_two_ranges_are_a_map_too(make_sweep) -> None:
    folder = make_sweep(
        {"optimizer.lr": [0.01, 0.1, 1.0], "dropout.keep": [0.5, 0.8],
         "optimizer": ["sgd", "adam"]},
        lambda swept: rate(swept) * swept["dropout.keep"],
    )  # fmt: skip
    drawn = draw(folder)
    assert set(drawn) == {"curves", "objective", "map"}
    assert {"optimizer.lr", "dropout.keep", "0.5", "0.8", "0.720"} <= set(drawn["map"])
    assert "the best over optimizer" in " ".join(drawn["map"])
    assert {"keep=0.5, optimizer=sgd", "keep=0.8, optimizer=adam"} <= set(drawn["objective"])


def test_words_are_dots(make_sweep) -> None:
    folder = make_sweep({"loss": ["mse", "$x$_{y}"], "seed": [0, 1]},
                        lambda swept: 0.5 + 0.1 * (swept["loss"] == "mse"))  # fmt: skip
    drawn = draw(folder)
    assert set(drawn) == {"curves", "objective"}
    assert {"loss=mse (n=2) *", "loss=$x$_{y} (n=2)"} <= set(drawn["objective"])


@pytest.mark.parametrize("state", ["finished", "interrupted"])
def test_one_configuration(make_sweep, state) -> None:
    drawn = draw(make_sweep({"seed": [0]}, lambda swept: 0.5, lambda swept: state))
    assert set(drawn) == {"curves"}
    so_far = " so far" if state == "interrupted" else ""
    assert f"all seeds (n=1{so_far})" in drawn["curves"]


def test_nothing_is_drawn_of_nothing(make_sweep) -> None:
    assert draw(make_sweep({"seed": [0]}, lambda swept: 0.5, lambda swept: "pending")) == {}


def test_two_hundred_configurations(make_sweep) -> None:
    rates = [10 ** (-4 + at / 10) for at in range(40)]
    words = [f"a-rather-long-name-of-an-option-{at}" for at in range(5)]
    drawn = draw(make_sweep({"optimizer.lr": rates, "architecture": words}, rate))
    assert {"42 others", "50 of 200 configurations"} <= set(drawn["curves"])
    labels = [each for each in drawn["curves"] if each.endswith("(n=1)")]
    assert len(labels) == 8
    assert all(len(each) <= 36 for each in drawn["curves"]), "long labels are wrapped"


def test_a_run(make_sweep) -> None:
    folder = make_sweep({"seed": [0]}, lambda swept: 0.5) / "seed0"
    svg, png = figures.draw_run(folder, "valid/accuracy")
    assert {"train/loss", "valid/loss", "valid/accuracy", "seed0"} <= set(texts(svg))
    assert png.stat().st_size > 1000


def test_the_same_figure_is_the_same_file(make_sweep) -> None:
    folder = make_sweep({"optimizer.lr": [0.1, 1.0], "seed": [0, 1]}, rate)
    (first, *_), again = figures.draw(results.read(folder)), folder / "figures/curves.svg"
    before = first.read_bytes()
    figures.draw(results.read(folder))
    assert again.read_bytes() == before
    assert not re.search(rb"<dc:date>", before)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.001, 0.01, 0.1], True), ([1, 2, 5, 10, 20], True), ([64, 128, 256], True),
     ([0, 1e-4, 1e-3, 1e-2], True), ([1, 2, 3, 4], False), ([0.1, 0.2], False), ([0.1, 10], True),
     ([-1, 0, 1], False), ([5], False)],
)  # fmt: skip
def test_geometric_ranges(values, expected) -> None:
    assert landscape.is_geometric(values) == expected


def test_without_matplotlib_the_command_that_installs_it_is_named(make_sweep, monkeypatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Misconfigured, match=re.escape("pip install 'runner[reports]'")):
        figures.draw(results.read(make_sweep({"seed": [0]}, lambda swept: 0.5)))


def test_colours_differ() -> None:
    for ordered in (False, True):
        assert len(set(drawing.colours(drawing.COLOURED, ordered))) == drawing.COLOURED
