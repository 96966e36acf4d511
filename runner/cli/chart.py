"""Draw a curve in the terminal: braille dots where they can be shown, stars elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise

HEIGHT = 12  # lines
DOTS = 4 * HEIGHT  # one above the other
BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a braille letter, by column
BLANK = 0x2800


def chart(values: Sequence[float], axes: Mapping[str, float], width: int) -> list[str]:
    """Return the lines of a curve of numbers >= 0 spread evenly from left to right.

    `axes` gives each horizontal axis the number at its right end; all begin with 0.
    """
    top = max(values) or 1.0
    labels = [f"{top * (1 - row / HEIGHT):.3g}" if row % 3 == 0 else "" for row in range(HEIGHT)]
    margin = max(map(len, [*labels, *axes]))
    columns = max(width - margin - 2, 20)
    drawn = _letters(_spans([value / top for value in values], 2 * columns), columns)
    return [
        *(f"{label:>{margin}} ┤{line}".rstrip() for label, line in zip(labels, drawn, strict=True)),
        f"{'0':>{margin}} └{'─' * columns}",
        *(f"{name:>{margin}}  {_ticks(end, columns)}" for name, end in axes.items()),
    ]


def _spans(shares: Sequence[float], count: int) -> list[tuple[int, int]]:
    """Return each column's lowest and highest dot, from where the column before it ended."""
    heights = [round(share * (DOTS - 1)) for share in shares]
    places = [at * len(heights) // count for at in range(count + 1)]
    ends = [max(following, place + 1) for place, following in pairwise(places)]
    starts = [0, *(end - 1 for end in ends)]
    reached = [heights[start:end] for start, end in zip(starts, ends, strict=False)]
    return [(min(each), max(each)) for each in reached]


def _letters(spans: Sequence[tuple[int, int]], columns: int) -> list[str]:
    """Return the lines: two columns and four rows of dots to a letter."""
    cells = [[0] * columns for _ in range(HEIGHT)]
    for at, (low, high) in enumerate(spans):
        for dot in range(DOTS - 1 - high, DOTS - low):
            cells[dot // 4][at // 2] |= BITS[at % 2][dot % 4]
    braille = "utf" in (sys.stdout.encoding or "").lower()
    return [
        "".join(" " if not bits else chr(BLANK + bits) if braille else "*" for bits in row)
        for row in cells
    ]


def _ticks(end: float, columns: int) -> str:
    """Return a line of numbers at each quarter, the first flush left, the last flush right."""
    line = ""
    for quarter in range(5):
        label = f"{round(end * quarter / 4, 2):,.10g}"
        place = (columns - 1) * quarter // 4 - (len(label) - 1) * quarter // 4
        line = f"{line:<{place}}{label}"
    return line
