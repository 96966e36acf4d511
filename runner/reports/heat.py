"""A map of the objective over two swept ranges of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runner.reports import drawing, naming
from runner.reports.folding import Configuration
from runner.reports.results import BROKEN, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WRITTEN = 130  # cells up to which each has its number written in
BROKEN_MARK = "×"
Cells = dict[tuple[float, float], float]


def heat_map(results: Results, configurations: Sequence[Configuration], x: str, y: str) -> Figure:
    """Return the map: a cell for each pair of values; brighter is better.

    Of several configurations in a cell the best one counts. A cross says that jobs diverged or
    failed there.
    """
    have = [each for each in configurations if x in each.swept and y in each.swept]
    columns = sorted({each.swept[x] for each in have})
    lines = sorted({each.swept[y] for each in have})
    cells = _cells(results, have, x, y)
    grid = [[cells.get((column, line), float("nan")) for column in columns] for line in lines]
    size = max(0.6 * len(columns), 3.0) + 2.6, max(0.42 * len(lines), 1.8) + 1.6
    figure = drawing.figure(*size)
    axes = figure.subplots()
    axes.grid(visible=False)
    axes.set_facecolor("#EEEEEE")
    image = axes.imshow(grid, origin="lower", aspect="auto", **_colours(results, cells))
    axes.set_xticks(range(len(columns)), naming.shown(columns), rotation=45, ha="right",
                    rotation_mode="anchor")  # fmt: skip
    axes.set_yticks(range(len(lines)), naming.shown(lines))
    axes.set(xlabel=x, ylabel=y)
    figure.colorbar(image, ax=axes, label=f"{results.objective} (mean)")
    broken = {(each.swept[x], each.swept[y]) for each in have if each.count(*BROKEN)}
    written = len(columns) * len(lines) <= WRITTEN
    for at, line in enumerate(lines):
        for place, column in enumerate(columns):
            value = cells.get((column, line))
            text = f"{value:#.3g}".rstrip(".") if written and value is not None else ""
            text += BROKEN_MARK if (column, line) in broken else ""
            _write(axes, image, (place, at), value, text)
    others = [naming.short(results.axes)[key] for key in results.axes if key not in (x, y)]
    drawing.title(figure, results.name, f"the best over {', '.join(others)}" * bool(others))
    return figure


def _cells(results: Results, have: Sequence[Configuration], x: str, y: str) -> Cells:
    """Return the best mean of each pair of values; the first where nobody can tell."""
    sign, cells = results.sign(), Cells()
    for each in have:
        if each.value is not None:
            place, value = (each.swept[x], each.swept[y]), each.value.mean
            if place not in cells or sign * value > sign * cells[place]:
                cells[place] = value
    return cells


def _colours(results: Results, cells: Cells) -> dict[str, Any]:
    """Return the colours: the bright end is the better one."""
    if results.direction == "min" and drawing.spans_decades(list(cells.values())):
        return {"cmap": "viridis_r", "norm": "log"}
    return {"cmap": "viridis_r" if results.direction == "min" else "viridis"}


def _write(axes: Axes, image: Any, place: tuple[int, int], value: float | None, text: str) -> None:
    """Write into a cell, black on bright colours and white on dark ones."""
    red, green, blue, _ = image.cmap(image.norm(value)) if value is not None else (1.0,) * 4
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5
    axes.text(*place, text, ha="center", va="center", fontsize=8,
              color="black" if bright else "white")  # fmt: skip
