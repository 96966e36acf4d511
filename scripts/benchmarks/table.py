"""Tables: as lines for the terminal, and as the Markdown page in the documentation."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

WORDS = ("what it is", "remark", "severity", "measured", "source", "remedy", "verdict", "pasted")
SWEEP = "## Sweep"  # how the headings of tables of sweeps begin
INTRODUCTION = """\
# Benchmarks

Written by `{command}` on {date}.

- machine: {machine}
- versions: {versions}

Each contender is a process of its own that trains the same network on the same rows in the same
batches. A round lets it train for some steps; before and after it the tuned hand-written loop does
as many. The ratio is the mean of those two over the contender's time: above 1 is faster than the
tuned loop. Shown are medians over the rounds, with quartiles; those of the tuned loop itself, each
round against the one before, are the noise. Nobody validates. Read the ratios, not the times: a
ratio is a median of rounds paired with the loop beside them, a time a median over all rounds,
whatever the machine did meanwhile, so that the two may rank contenders differently. Whole sweeps,
with validation and files, are measured apart; their tables say how.
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


def replaced(text: str, tables: Sequence[Table]) -> str:
    """Return a page with these tables, each in the place of its namesake or at the end."""
    introduction, *sections = _sections(text)
    for table in tables:
        heading = f"## {table.title}\n"
        at = [number for number, each in enumerate(sections) if each.startswith(heading)]
        place = at[0] if at else len(sections)
        sections[place : place + 1] = [f"{markdown(table).rstrip()}\n"]
    return "\n".join([introduction, *sections])


def sweeps_kept(new: str, old: str) -> str:
    """Return a new page with the sweeps of the old one, which are measured apart, at its end."""
    kept = [each for each in _sections(old)[1:] if each.startswith(SWEEP)]
    return "\n".join([*_sections(new), *kept])


def _sections(text: str) -> list[str]:
    """Return what stands before the first table, and each section, with one newline at its end."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return [f"{part.rstrip()}\n" for part in parts]


def _is_text(table: Table, at: int) -> bool:
    """Tell whether a column holds words."""
    return table.columns[at] in WORDS
