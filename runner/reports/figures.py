"""Figures of a sweep or a run, as SVG and PNG in its folder `figures`.

curves       train and valid loss and the objective over training: the mean of each configuration
             and a band of ± one standard deviation over its seeds; the best eight in colour
objective    the objective over a swept range of numbers, a line for each of the other values; a
             dot for each configuration where no numbers were swept
map          the objective over two swept ranges of numbers
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runner.reports import curves, drawing, landscape
from runner.reports.curves import Curves, Found, Point
from runner.reports.drawing import COLOURED
from runner.reports.folding import Configuration, best, folded
from runner.reports.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

FEW = 12  # points of a curve that are each marked
WIDTH, HEIGHT = 3.9, 3.3  # of a panel, in inches
LEGEND = 2.6  # its width


def draw(results: Results, known: Found | None = None) -> list[Path]:
    """Draw what there is to draw of a sweep as it stands; return the files.

    `known` curves need not be read again. Raises `Misconfigured` with the command that installs
    matplotlib where it is missing.
    """
    configurations = folded(results)
    drawn: dict[str, Figure] = {}
    with drawing.style():
        found = curves.of(results, configurations) if known is None else known
        if found:
            drawn["curves"] = _learning(results, found, _without(configurations, found))
        drawn |= landscape.draw(results, configurations)
        return [path for name, figure in drawn.items()
                for path in drawing.save(figure, results.folder, name)]  # fmt: skip


def draw_run(folder: Path, objective: str | None) -> list[Path]:
    """Draw the learning curves of one run; return the files."""
    with drawing.style():
        found = curves.mean([curves.logged(folder)])
        metrics = {tag.partition("/")[2]: None for tag in _tags(objective, [found])}
        splits = {each: [tag for tag in (f"train/{each}", f"valid/{each}") if tag in found]
                  for each in metrics}  # fmt: skip
        if not splits:
            return []
        figure = drawing.figure(WIDTH * len(splits), HEIGHT)
        panels = figure.subplots(1, len(splits), squeeze=False)[0]
        for axes, (metric, tags) in zip(panels, splits.items(), strict=True):
            unit = _unit([found])
            for tag, colour in zip(tags, drawing.COLOURS, strict=False):
                _line(axes, found[tag], unit, tag, colour)
            _finish(axes, metric, unit, [found[tag] for tag in tags])
            axes.legend()
        drawing.title(figure, folder.name)
        return drawing.save(figure, folder, "curves")


def _without(configurations: Sequence[Configuration], found: Found) -> str:
    """Say which configurations have no curves here."""
    lacking = len(configurations) - len(found)
    return curves.too_many(configurations) or (
        f"{lacking} configurations without curves" * bool(lacking)
    )


def _learning(results: Results, found: Found, note: str) -> Figure:
    """Return a panel for each of the curves, the configurations' colours the same in all."""
    tags = _tags(results.objective, list(found.values()))
    unit = _unit(list(found.values()))
    chosen, order = _coloured(results, list(found))
    colours = drawing.colours(len(chosen), ordered=bool(order))
    figure = drawing.figure(WIDTH * len(tags) + LEGEND, HEIGHT)
    handles: list[Line2D] = []
    for axes, tag in zip(figure.subplots(1, len(tags), squeeze=False)[0], tags, strict=True):
        others = [each for each in found if each not in chosen and tag in found[each]]
        grey = [_line(axes, found[each][tag], unit, f"{len(found) - len(chosen)} others", None)
                for each in others]  # fmt: skip
        handles = []
        for each, colour in zip(chosen, colours, strict=True):
            if tag in found[each]:
                label = _label(each)
                handles.append(_line(axes, found[each][tag], unit, label, colour))
        handles += grey[:1]
        drawn = [each[tag] for each in found.values() if tag in each]
        _finish(axes, tag, unit, drawn)
    several = any(len(each.members) > 1 for each in found)
    drawing.legend(figure, handles, "mean ± std of n seeds" if several else "")
    drawing.title(figure, results.name, note)
    return figure


def _label(configuration: Configuration) -> str:
    so_far = " so far" if configuration.partial else ""
    count = len(configuration.members)
    return f"{configuration.label} (n={count}{so_far})"


def _coloured(
    results: Results, configurations: Sequence[Configuration]
) -> tuple[list[Configuration], str]:
    """Return what is drawn in colour, and the key they are in the order of, if numbers are.

    The best ones if there are too many, in the order of the plan.
    """
    ranked = [each for each in best(results, configurations) if each in configurations]
    rest = [each for each in configurations if each not in ranked]
    kept = {*[*ranked, *rest][:COLOURED]}
    chosen = [each for each in configurations if each in kept]
    (key, *further) = results.axes or [""]
    if further or key not in landscape.numeric_axes(results, chosen):
        return chosen, ""
    return sorted(chosen, key=lambda each: each.swept[key]), key


def _tags(objective: str | None, found: Sequence[Curves]) -> list[str]:
    """Return which curves are drawn: both losses and one metric more, where there are such."""
    more = objective if objective and not objective.endswith("/loss") else "valid/accuracy"
    wanted = dict.fromkeys(["train/loss", "valid/loss", objective or more, more])
    return [tag for tag in wanted if any(tag in each for each in found)]


def _unit(found: Sequence[Curves]) -> str:
    """Return what training is counted in: epochs, steps where there is not even one epoch."""
    points = [each[-1] for one in found for each in one.values()]
    return "epoch" if max((point.epoch for point in points), default=0.0) >= 1 else "step"


def _line(axes: Axes, points: Sequence[Point], unit: str, label: str, colour: str | None) -> Line2D:
    """Draw a mean and its band; without a colour, a thin grey line below all others."""
    x = [getattr(point, unit) for point in points]
    means = [point.mean for point in points]
    marker = "o" if len(points) <= FEW and colour else ""
    width, layer = (1.6, 3.0) if colour else (0.7, 2.0)
    (line,) = axes.plot(x, means, label=label, color=colour or drawing.GREY, linewidth=width,
                        zorder=layer, marker=marker, markersize=3.5)  # fmt: skip
    spread = [point for point in points if point.std is not None]
    if colour and spread:
        low = [point.mean - (point.std or 0.0) for point in spread]
        high = [point.mean + (point.std or 0.0) for point in spread]
        at = [getattr(point, unit) for point in spread]
        axes.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0, zorder=2.5)
    return line


def _finish(axes: Axes, tag: str, unit: str, drawn: Sequence[Sequence[Point]]) -> None:
    """Name the axes; a loss that spans decades gets a logarithmic one."""
    axes.set(xlabel=unit, ylabel=tag)
    means = [point.mean for points in drawn for point in points]
    if tag.endswith("loss") and drawing.spans_decades(means):
        axes.set_yscale("log")
        # A band may reach below zero, where there is no logarithm: the means say where it ends.
        axes.set_ylim(min(means) / 1.3, max(means) * 1.3)
