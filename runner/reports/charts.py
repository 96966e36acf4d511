"""Charts of one run as SVG for its page: small, of one look, with nothing that leads elsewhere."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.foundation.errors import printable
from runner.reports import drawing
from runner.reports.curves import Logged

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPLITS = ("train", "valid", "test")
OF_LAYERS = {
    "std": "standard deviation of activations",
    "flat": "share of activations with a flat slope",
    "dead": "share of dead units",
    "gradient": "gradient of a row's loss, rms",
    "update": "change in a step, share of weights",
}
OF_NETWORK = {
    "sharpness": "sharpness along the gradient",
    "eigenvalue": "largest eigenvalue of the Hessian",
    "noise_scale": "gradient noise scale",
    "jacobian_largest": "largest singular value, Jacobian",
    "jacobian_smallest": "smallest singular value, Jacobian",
}
SHARES = ("flat", "dead")  # numbers between 0 and 1
LARGE, SMALL = (5.2, 3.0), (3.4, 2.3)  # charts of metrics and others, in inches of 96 pixels
FEW = 12  # points of a line that are each marked
DECADES = 300.0  # up to which range a logarithmic axis has marks within decades
BINS = 250  # of a long line, of each of which the lowest and the highest point are drawn
TIP = "tip"  # begins the names of lines that are to tell theirs
Points = Sequence[tuple[float, float]]
Looks = Sequence[Mapping[str, Any]]  # rows of probes.jsonl


class Style(NamedTuple):
    """How a chart is drawn.

    size     width and height in inches
    colours  of the lines, in their order
    unit     what training is counted in
    named    whether there is a legend
    range    of the numbers: a "share" lies between 0 and 1, a rate begins "from zero"
    best     where the best weights were
    """

    size: tuple[float, float]
    colours: Sequence[str]
    unit: str = "epoch"
    named: bool = False
    range: str = ""
    best: float | None = None


def of_metrics(logged: Logged, best: Mapping[str, Any]) -> list[str]:
    """Draw each metric, its splits in one chart; `best` has the epoch and step of the weights."""
    unit = _unit(logged)
    groups: dict[str, dict[str, Points]] = {}
    for name in sorted(_measured(logged), key=lambda name: SPLITS.index(name.partition("/")[0])):
        split, _, metric = name.partition("/")
        groups.setdefault(metric, {})[split] = _points(logged, name, unit)
    style = Style(LARGE, drawing.COLOURS, unit, named=True, best=best.get(unit))
    return [_chart(metric, lines, style) for metric, lines in groups.items()]


def of_others(logged: Logged) -> list[str]:
    """Draw what was logged beside metrics: learning rate, gradient, what hooks return."""
    unit = _unit(logged)
    other = Style(SMALL, drawing.COLOURS, unit)
    rate = other._replace(range="from zero")
    names = {"lr": "learning rate", "gradient/norm": "gradient, 2-norm"}
    return [
        _chart(names.get(name, name), {name: _points(logged, name, unit)},
               rate if name == "lr" else other)
        for name in logged
        if name not in _measured(logged)
    ]  # fmt: skip


def of_layers(looks: Looks) -> list[str]:
    """Draw what was seen of layers: a chart for each number, a line for each layer."""
    names = layers(looks)
    colours = list(names.values())
    charts = []
    for key, title in OF_LAYERS.items():
        lines = {name: _seen(looks, [each["layers"].get(name, {}).get(key) for each in looks])
                 for name in names}  # fmt: skip
        if any(lines.values()):
            style = Style(SMALL, colours, range="share" if key in SHARES else "")
            charts.append(_chart(title, lines, style))
    return charts


def of_network(looks: Looks) -> list[str]:
    """Draw what was seen of the network as a whole, where it was looked at fully."""
    style = Style(SMALL, drawing.COLOURS)
    seen = {title: _seen(looks, [each["network"].get(key) for each in looks])
            for key, title in OF_NETWORK.items()}  # fmt: skip
    return [_chart(title, {title: points}, style) for title, points in seen.items() if points]


def layers(looks: Looks) -> dict[str, str]:
    """Return the layers in their order, each with its colour: from dark to light."""
    names = list(dict.fromkeys(name for each in looks for name in each["layers"]))
    return dict(zip(names, drawing.colours(len(names), ordered=True), strict=True))


def _unit(logged: Logged) -> str:
    """Return what training is counted in: steps where there is not even one epoch."""
    epochs = (epoch for points in logged.values() for epoch, _ in points.values())
    return "epoch" if max(epochs, default=0.0) >= 1 else "step"


def _measured(logged: Logged) -> list[str]:
    """Return the names of what is measured on a split."""
    skipped = "train/skipped"  # a count
    return [name for name in logged if name.partition("/")[0] in SPLITS and name != skipped]


def _points(logged: Logged, name: str, unit: str) -> Points:
    points = sorted(logged[name].items())
    return _finite((epoch if unit == "epoch" else step, value) for step, (epoch, value) in points)


def _seen(looks: Looks, values: Sequence[float | None]) -> Points:
    return _finite((look.get("epoch"), value) for look, value in zip(looks, values, strict=True))


def _finite(points: Iterable[tuple[float | None, float | None]]) -> Points:
    """Leave out what no chart has a place for."""
    return [
        (x, y)
        for x, y in points
        if x is not None and y is not None and math.isfinite(x) and math.isfinite(y)
    ]


def _chart(title: str, lines: Mapping[str, Points], style: Style) -> str:
    """Draw lines over the course of a training."""
    from matplotlib.figure import Figure

    width, height = style.size
    figure = Figure(figsize=style.size)  # all axes begin at one place, so that charts align
    left, low, high = 0.62 / width, 0.52 / height, 1 - 0.34 / height
    axes = figure.add_axes((left, low, 1 - left - 0.08 / width, high - low))
    for at, (label, points) in enumerate(lines.items()):
        if points:
            x, y = zip(*_thinned(points), strict=True)
            marker = "D" if label == "test" else "o" if len(points) <= FEW else None
            axes.plot(x, y, label=drawing.wrapped(printable(label)), color=style.colours[at],
                      marker=marker, markersize=5 if label == "test" else 3, linewidth=1.4,
                      gid=f"{TIP}{at}")  # fmt: skip
    values = [value for points in lines.values() for _, value in points]
    _scaled(axes, values, style.range)
    if style.best is not None:
        axes.axvline(style.best, color="#999999", linewidth=1, linestyle=":", zorder=1,
                     label="best weights")  # fmt: skip
    if style.named:
        figure.legend(
            loc="upper right", ncols=4, handlelength=1.5, columnspacing=1.1, borderaxespad=0.1
        )  # beside the title, where no line is
    figure.text(0.08 / width, 1 - 0.08 / height, drawing.plain(printable(title)), va="top")
    end = max((at for points in lines.values() for at, _ in points), default=0.0) or 1.0
    axes.set_xlim(-0.02 * end, 1.03 * end)
    axes.set_xlabel(style.unit)
    return _svg(figure, list(lines))


def _scaled(axes: Axes, values: Sequence[float], kind: str) -> None:
    """Give a chart its vertical axis: from 0 on, or logarithmic where that is called for."""
    from matplotlib.ticker import LogLocator, NullLocator

    if kind == "share":
        axes.set_ylim(-0.02 * (top := max(0.25, *values) * 1.05), top)
    elif kind == "from zero":
        axes.set_ylim(bottom=min(0.0, *values))
    elif drawing.spans_decades(values):
        axes.set_yscale("log")
        few = max(values) / min(values) < DECADES
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, at: f"{value:g}")


def _thinned(points: Points) -> Points:
    """Return a line that looks the same: of each of many bins the lowest and the highest point."""
    if len(points) <= 2 * BINS:
        return points
    size = -(-len(points) // BINS)
    kept = []
    for at in range(0, len(points), size):
        part = points[at : at + size]
        ends = {min(part, key=lambda each: each[1]), max(part, key=lambda each: each[1])}
        kept += sorted(ends)
    return kept


def _svg(figure: Figure, names: Sequence[str]) -> str:
    """Return a figure as SVG inside HTML, which needs no name spaces, metadata or names of parts.

    A line tells its name to who points at it. Clip paths and markers keep their names, made of
    what they are: alike in two charts, they are
    the same.
    """
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    text = drawn.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    for at, name in enumerate(names):
        text = text.replace(
            f'<g id="{TIP}{at}">', f"<g><title>{html.escape(printable(name))}</title>"
        )
    text = re.sub(r' id="[a-zA-Z.]\w*?_\d+"', "", text)
    return text.replace("xlink:href", "href")
