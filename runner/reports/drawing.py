"""What all figures share: how they look, colours anyone can tell apart, files written whole."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.foundation.errors import Misconfigured
from runner.foundation.files import unwritable, write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "figures"
MISSING = "figures need matplotlib, which is not installed: pip install 'runner[reports]'"
# Okabe and Ito's colours less yellow, which white paper swallows: seven for any eye, and black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#882255", "#000000")
COLOURED = len(COLOURS)  # lines that can be told apart
GREY = "#BDBDBD"
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "legend.title_fontsize": 9,
    "svg.fonttype": "none",  # text stays text: it can be searched and edited
    "svg.hashsalt": "runner",  # the same figure gives the same file
}
LONGEST = 36  # characters of a line in a legend
SPAN = 20.0  # from which on a range of positive numbers is drawn on a logarithmic axis


def available() -> bool:
    """Tell whether figures can be drawn here."""
    return importlib.util.find_spec("matplotlib") is not None


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in the runner's style; raises `Misconfigured` where matplotlib is missing."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise Misconfigured(MISSING) from error
    with mpl.rc_context(STYLE):
        yield


def figure(width: float, height: float) -> Figure:
    """Return an empty figure, its size in inches, that makes room for all it holds."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save(drawn: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as SVG and PNG into a folder's `figures`, each whole or not at all."""
    target = folder / FOLDER
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise unwritable(target, error) from error
    paths = []
    for kind, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 160})):
        content = io.BytesIO()
        drawn.savefig(content, format=kind, bbox_inches="tight", **options)
        write_atomic(target / f"{name}.{kind}", content.getvalue())
        paths.append(target / f"{name}.{kind}")
    return paths


def colours(count: int, ordered: bool) -> list[str]:
    """Return colours for up to eight lines: from dark to light if they have an order."""
    if not ordered or count < 2:
        return list(COLOURS[:count])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colormaps["viridis"](0.88 * at / (count - 1))) for at in range(count)]


def legend(drawn: Figure, handles: Sequence[Any], title: str = "") -> None:
    """Put a legend to the right of all axes, long labels on several lines."""
    labels = [wrapped(str(each.get_label())) for each in handles]
    drawn.legend(handles, labels, loc="outside right upper", title=title or None, alignment="left")


def title(drawn: Figure, name: str, note: str = "") -> None:
    """Write what is shown above all axes, flush left, a note below it."""
    drawn.suptitle("\n".join(filter(None, [plain(name), plain(note)])), x=0.01, ha="left",
                   fontsize=11)  # fmt: skip


def plain(text: str) -> str:
    """Return a user's words so that no part of them is read as a formula."""
    return text.replace("$", r"\$")


def wrapped(label: str) -> str:
    """Return a user's words as plain text, on lines that a legend has room for."""
    lines = textwrap.wrap(label, LONGEST, break_on_hyphens=False) or [label]
    return plain("\n".join(lines))


def spans_decades(values: Sequence[float]) -> bool:
    """Tell whether positive numbers want a logarithmic axis."""
    return bool(values) and min(values) > 0 and max(values) / min(values) > SPAN
