"""Tables: as lines for the terminal, and as the Markdown page in the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

INTRODUCTION = """\
# Benchmarks

Written by `{command}` on {date}.

- machine: {machine}
- versions: {versions}

Each contender is a process of its own that trains the same network on the same rows in the same
batches. A round lets it train for some steps; before and after it the tuned hand-written loop does
as many. The ratio is the mean of those two over the contender's time: above 1 is faster than the
tuned loop. Shown are medians over the rounds, with quartiles; those of the tuned loop itself, each
round against the one before, are the noise. Nobody validates. Read the ratios, not the times.
"""


@dataclass(frozen=True)
class Table:
    """Texts in rows; the first column is flush left, the others right unless they are words."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def lines(table: Table) -> str:
    """Return a table for the terminal."""
    rows = [list(table.columns), *map(list, table.rows)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(table.columns))]
    body = []
    for row in rows:
        first, *others = (
            cell.ljust(width) if at == 0 or _is_text(table, at) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        body.append("  ".join([first, *others]).rstrip())
    return "\n".join(["", table.title, *body, *([table.note] if table.note else [])])


def markdown(table: Table) -> str:
    """Return a section of the page."""
    marks = ["---" if _is_text(table, at) else "---:" for at in range(1, len(table.columns))]
    rows = [table.columns, ["---", *marks], *table.rows]
    body = ["| " + " | ".join(row) + " |" for row in rows]
    note = ["", table.note] if table.note else []
    return "\n".join([f"## {table.title}", "", *body, *note, ""])


def page(tables: Sequence[Table], **facts: str) -> str:
    """Return the whole page: command, date, machine and versions, then the tables."""
    return "\n".join([INTRODUCTION.format(**facts), *map(markdown, tables)])


def _is_text(table: Table, at: int) -> bool:
    """Tell whether a column holds words."""
    return table.columns[at] in ("what it is", "remark")
