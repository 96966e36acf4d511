"""The objective over what was swept: lines over a range of numbers, dots, a map of two ranges."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from runner.reports import drawing, heat, naming
from runner.reports.drawing import COLOURED
from runner.reports.folding import Configuration, best
from runner.reports.hints import is_number
from runner.reports.results import BROKEN, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Groups = dict[str, list[Configuration]]
DOTS = 40
TICKS = 12  # values up to which each has its own mark on an axis
LABELS = 44  # characters that these may have together


def draw(results: Results, configurations: Sequence[Configuration]) -> dict[str, Figure]:
    """Return the figures there can be of a sweep over more than seeds."""
    if len(configurations) < 2 or all(each.value is None for each in configurations):
        return {}
    ranges = numeric_axes(results, configurations)
    if not ranges:
        return {"objective": _dots(results, configurations)}
    figures = {"objective": _lines(results, configurations, ranges[0])}
    if len(ranges) > 1:
        figures["map"] = heat.heat_map(results, configurations, ranges[0], ranges[1])
    return figures


def numeric_axes(results: Results, configurations: Sequence[Configuration]) -> list[str]:
    """Return the swept keys of two numbers or more, those of the most first."""
    counts = {}
    for key in results.axes:
        values = [each.swept[key] for each in configurations if key in each.swept]
        if all(map(is_number, values)) and len(set(values)) > 1:
            counts[key] = len(set(values))
    return sorted(counts, key=lambda key: -counts[key])


def is_geometric(values: Sequence[float]) -> bool:
    """Tell whether positive numbers are spaced more evenly by their ratios than differences.

    Zero may stand before them, as the value that turns something off.
    """
    ordered = sorted({value for value in values if value != 0})
    if len(ordered) < 2 or ordered[0] < 0:
        return False
    ratios = [b / a for a, b in pairwise(ordered)]
    steps = [b - a for a, b in pairwise(ordered)]
    if len(ordered) == 2:
        return ratios[0] >= 10
    return max(ratios) / min(ratios) < max(steps) / min(steps)


def _lines(results: Results, configurations: Sequence[Configuration], key: str) -> Figure:
    """Return the objective over a range, with a line for each combination of the other values."""
    others = [each for each in results.axes if each != key]
    groups = _groups(others, [each for each in configurations if key in each.swept])
    kept = _best_groups(results, groups)
    ordered = len(others) == 1 and others[0] in numeric_axes(results, configurations)
    if ordered:
        kept = sorted(kept, key=lambda label: groups[label][0].swept.get(others[0], 0.0))
    figure = drawing.figure(5.2 + (2.4 if others else 1.2), 3.8)
    axes = figure.subplots()
    handles = []
    for label, colour in zip(kept, drawing.colours(len(kept), ordered), strict=True):
        handles.append(_series(axes, key, groups[label], label, colour))
    grey = [_series(axes, key, groups[label], f"{len(groups) - len(kept)} others", drawing.GREY)
            for label in groups if label not in kept]  # fmt: skip
    handles += grey[:1]
    values = sorted({each.swept[key] for group in groups.values() for each in group})
    _range_axis(axes, key, values)
    _value_axis(axes, results, configurations)
    handles = [each for each in handles if others] + _marks(axes, results, key, configurations)
    if handles:
        drawing.legend(figure, handles)
    lacking = sum(key not in each.swept for each in configurations)
    drawing.title(figure, results.name, f"{lacking} configurations have no {key}" * bool(lacking))
    return figure


def _groups(keys: Sequence[str], configurations: Sequence[Configuration]) -> Groups:
    """Return the configurations that have the same values of these keys, by label."""
    found: Groups = {}
    for each in configurations:
        values = {key: each.swept[key] for key in keys if key in each.swept}
        (label,) = naming.labels(keys, [values])
        found.setdefault(label, []).append(each)
    return found


def _best_groups(results: Results, groups: Groups) -> list[str]:
    """Return the labels of the groups that are drawn in colour, in the order of the plan."""

    def rank(label: str) -> float:
        values = [each.value.mean for each in groups[label] if each.value]
        return max((results.sign() * value for value in values), default=float("-inf"))

    kept = sorted(groups, key=rank, reverse=True)[:COLOURED]
    return [label for label in groups if label in kept]


def _series(axes: Axes, key: str, group: Sequence[Configuration], label: str, colour: str) -> Any:
    """Draw means with bars of one standard deviation."""
    grey = colour == drawing.GREY
    points = sorted((each.swept[key], each.value.mean, each.value.std or 0.0)
                    for each in group if each.value)  # fmt: skip
    x, means, stds = zip(*points, strict=True) if points else ((), (), ())
    size, width, layer = (2, 0.7, 2) if grey else (4.5, 1.6, 3)
    (line,) = axes.plot(x, means, color=colour, marker="o", markersize=size, linewidth=width,
                        zorder=layer, label=label)  # fmt: skip
    if not grey and any(stds):
        axes.errorbar(x, means, stds, fmt="none", ecolor=colour, elinewidth=1.0, capsize=2.5)
    return line


def _marks(
    axes: Axes, results: Results, key: str, configurations: Sequence[Configuration]
) -> list[Any]:
    """Mark the best point, and at the foot of the axes what diverged or failed."""
    handles: list[Any] = []
    broken = sorted({each.swept[key] for each in configurations
                     if key in each.swept and each.count(*BROKEN)})  # fmt: skip
    if broken:
        handles += axes.plot(
            broken, [0.03] * len(broken), "x", color="#B00020", markersize=7, linewidth=0,
            transform=axes.get_xaxis_transform(), label="some diverged or failed", zorder=4,
        )  # fmt: skip
    first = next((each for each in best(results, configurations) if key in each.swept), None)
    if first is not None and first.value is not None:
        handles += axes.plot(
            [first.swept[key]], [first.value.mean], "o", markersize=11, markerfacecolor="none",
            markeredgecolor="black", markeredgewidth=1.2, label="best", zorder=4,
        )  # fmt: skip
    return handles


def _range_axis(axes: Axes, key: str, values: Sequence[float]) -> None:
    """Make the horizontal axis that of a swept range, logarithmic where its values are."""
    axes.set_xlabel(key)
    if is_geometric(values):
        positive = [value for value in values if value > 0]
        if len(positive) < len(values):
            axes.set_xscale("symlog", linthresh=min(positive), linscale=0.5)
        else:
            axes.set_xscale("log")
    texts = naming.shown(values)
    if len(values) <= TICKS and sum(map(len, texts)) <= LABELS:
        axes.set_xticks(values, texts)
        axes.minorticks_off()


def _value_axis(axes: Axes, results: Results, configurations: Sequence[Configuration]) -> None:
    """Make the vertical axis that of the objective."""
    axes.set_ylabel(f"{results.objective} (mean ± std)")
    values = [each.value.mean for each in configurations if each.value]
    if results.direction == "min" and drawing.spans_decades(values):
        axes.set_yscale("log")


def _dots(results: Results, configurations: Sequence[Configuration]) -> Figure:
    """Return the objective of each configuration, the first on top."""
    ranked = best(results, configurations)
    rest = [each for each in configurations if each.value and each not in ranked]
    kept = {*[*ranked, *rest][:DOTS]}
    shown = [each for each in configurations if each in kept and each.value]
    figure = drawing.figure(6.4, 1.4 + 0.3 * len(shown))
    axes = figure.subplots()
    for at, each in enumerate(shown):
        assert each.value is not None
        colour = drawing.COLOURS[1] if each in ranked[:1] else drawing.COLOURS[0]
        axes.errorbar(each.value.mean, at, xerr=each.value.std, fmt="o", color=colour,
                      markersize=5, capsize=3, elinewidth=1.2)  # fmt: skip
    names = [_dot_label(each, each in ranked[:1]) for each in shown]
    axes.set_yticks(range(len(shown)), names)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel(f"{results.objective} (mean ± std)")
    if results.direction == "min" and drawing.spans_decades(
        [each.value.mean for each in shown if each.value]
    ):
        axes.set_xscale("log")
    left = len([each for each in configurations if each.value]) - len(shown)
    drawing.title(figure, results.name, f"{len(shown)} of {left + len(shown)}" * bool(left))
    return figure


def _dot_label(configuration: Configuration, first: bool) -> str:
    """Return a configuration's label with its n, and whether it is the best."""
    text = drawing.wrapped(f"{configuration.label} (n={len(configuration.members)})")
    return f"{text} *" if first else text
