"""Tables of folded configurations: aligned for a terminal, LaTeX with booktabs, CSV.

Each has a column for every swept key but the seed, n, and mean ± standard deviation of the
objective, of the same metric on the test split, and of all others where they are asked for.
"""

from __future__ import annotations

import csv
import io
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from runner.recording.console import number
from runner.reports import naming
from runner.reports.folding import Configuration, Spread, best
from runner.reports.results import BROKEN, UNFINISHED, Results, metric_names

BEST, SO_FAR = "*", "~"
MOST_DECIMALS = 7


@dataclass(frozen=True)
class Column:
    """A metric's numbers, one for each configuration."""

    name: str
    values: list[Spread | None]


def metrics(
    results: Results, configurations: Sequence[Configuration], every: bool = False
) -> list[Column]:
    """Return the objective, the same metric on the test split, and `every` other on demand."""
    found = metric_names(name for each in configurations for name in each.metrics)
    objective = results.objective or ""
    test = f"test/{objective.partition('/')[2]}"
    others = [name for name in found if name != objective and (every or name == test)]
    columns = [Column(name, [each.metrics.get(name) for each in configurations])
               for name in sorted(others, key=lambda name: name != test)]  # fmt: skip
    if not objective:
        return columns
    return [Column(objective, [each.value for each in configurations]), *columns]


def cells(
    results: Results, configurations: Sequence[Configuration], every: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Return a terminal's table: its head, and a row of texts for each configuration."""
    names = naming.short(results.axes)
    keys = naming.columns(results.axes, [each.swept for each in configurations])
    ranked = best(results, configurations)
    marks = [BEST if each in ranked[:1] else "" for each in configurations]
    head, columns = ["", *names.values(), "n"], [marks, *keys.values(), _counts(configurations)]
    for column in metrics(results, configurations, every):
        head.append(column.name)
        columns.append(_aligned(column.values, [each.partial for each in configurations]))
    if any(each.count("finished") < len(each.rows) for each in configurations):
        head.append("jobs")
        columns.append([states(each) for each in configurations])
    return head, [list(row) for row in zip(*columns, strict=True)]


def lines(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Return rows of texts as aligned lines, the first `left` columns and the last flush left.

    A narrow terminal wraps them; it takes no column away.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1
    return [
        "  ".join(
            f"{cell:<{width}}" if at < left or at == last else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def states(configuration: Configuration) -> str:
    """Return how many jobs are in which state, but for those that finished: `1 diverged`."""
    counts = {state: configuration.count(state) for state in (*BROKEN, *UNFINISHED, "pending")}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def texts(values: Sequence[Spread | None]) -> list[tuple[str, str]]:
    """Return a column's means and standard deviations as texts.

    As many decimals as show the median deviation in two digits, so that a column is even; but never
    less than one digit of a deviation, nor more than three. Four significant digits of the mean
    where there is no deviation at all.
    """
    own = [_decimals(each) for each in values if each and each.std]
    usual = int(statistics.median_high(own)) if own else None
    return [_pair(each, usual) for each in values]


def _decimals(spread: Spread) -> int:
    """Return the decimals that show a standard deviation in two significant digits."""
    return 1 - math.floor(math.log10(spread.std)) if spread.std else 0


def _pair(spread: Spread | None, usual: int | None) -> tuple[str, str]:
    if spread is None:
        return naming.NONE, ""
    mean, std, _ = spread
    if std is None or usual is None:
        return number(mean), "" if std is None else f"{std:.2g}"
    own = _decimals(spread) if std else usual
    decimals = min(max(usual, own - 1), own + 1)
    if decimals > MOST_DECIMALS or max(abs(mean), std) >= 1e6:
        return number(mean), f"{std:.2g}"
    return f"{mean:.{max(decimals, 0)}f}", f"{std:.{max(decimals, 0)}f}" if std else "0"


def latex(results: Results, configurations: Sequence[Configuration], every: bool = False) -> str:
    """Return a table for LaTeX, the best row bold; it needs the package booktabs."""
    names = naming.short(results.axes)
    keys = naming.columns(results.axes, [each.swept for each in configurations])
    columns = metrics(results, configurations, every)
    numbered = [texts(each.values) for each in columns]
    ranked = best(results, configurations)
    head = [*map(_escaped, names.values()), "$n$", *(_escaped(each.name) for each in columns)]
    lines = []
    for at, each in enumerate(configurations):
        bold = each in ranked[:1]
        numbers = [_latex_spread(*pairs[at], bold) for pairs in numbered]
        values = [_latex_value(keys[key][at]) for key in results.axes]
        lines.append(" & ".join([*values, str(len(each.members)), *numbers]) + r" \\")
    aligned = "l" * len(names) + "r" * (1 + len(columns))
    return "\n".join([
        r"% \usepackage{booktabs}",
        rf"\begin{{tabular}}{{{aligned}}}",
        r"\toprule", " & ".join(head) + r" \\", r"\midrule", *lines, r"\bottomrule",
        r"\end{tabular}", "",
    ])  # fmt: skip


def as_csv(results: Results, configurations: Sequence[Configuration], every: bool = True) -> str:
    """Return the folded table in full precision, mean and standard deviation side by side."""
    columns = metrics(results, configurations, every)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    pairs = [name for each in columns for name in (each.name, f"{each.name} std")]
    writer.writerow(naming.cells([*results.axes, "n", "jobs", *pairs]))
    for at, each in enumerate(configurations):
        keys = [naming.text(each.swept[key]) if key in each.swept else "" for key in results.axes]
        numbers = [part for column in columns for part in (column.values[at] or (None, None))[:2]]
        writer.writerow(naming.cells([*keys, len(each.members), len(each.rows), *numbers]))
    return text.getvalue()


def _counts(configurations: Sequence[Configuration]) -> list[str]:
    """Return of how many jobs the numbers are."""
    return [str(len(each.members)) for each in configurations]


def _aligned(values: Sequence[Spread | None], partial: Sequence[bool]) -> list[str]:
    """Return texts of one width with one ± below the other; a `~` says that it is not the end."""
    marks = [SO_FAR if so_far and value else ""
             for so_far, value in zip(partial, values, strict=True)]  # fmt: skip
    pairs = [(mark + mean, std) for mark, (mean, std) in zip(marks, texts(values), strict=True)]
    left, right = (max(map(len, column)) for column in zip(*pairs, strict=True))
    if not right:
        return [mean for mean, _ in pairs]
    return [
        f"{mean:>{left}} ± {std:<{right}}" if std else f"{mean:>{left}}   {'':<{right}}"
        for mean, std in pairs
    ]


_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def _escaped(text: str) -> str:
    return re.sub(r"[\\~^&%$#_{}]", lambda found: _SPECIAL.get(found[0], f"\\{found[0]}"), text)


def _latex_value(text: str) -> str:
    """Return a swept value: 3e-05 as a power of ten, all else as a text."""
    found = re.fullmatch(r"(-?[\d.]+)e([+-]\d+)", text)
    if found is None:
        return _escaped(text)
    power = f"10^{{{int(found[2])}}}"
    return f"${power}$" if found[1] == "1" else rf"${found[1]} \times {power}$"


def _latex_spread(mean: str, std: str, bold: bool) -> str:
    if mean == naming.NONE:
        return "--"
    text = rf"{mean} \pm {std}" if std else mean
    text = re.sub(r"e([+-]\d+)", lambda found: rf" \cdot 10^{{{int(found[1])}}}", text)
    return rf"$\mathbf{{{text}}}$" if bold else f"${text}$"
