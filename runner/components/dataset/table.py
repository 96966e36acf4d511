"""Read a table from a text file: a header, then rows of cells; and turn its columns to numbers."""

from __future__ import annotations

import difflib
import io
import math
import re
from collections import Counter
from csv import Error as FormatError
from csv import reader
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from runner.foundation import memory
from runner.foundation.errors import BadData

MISSING = frozenset({"", "na", "n/a", "nan", "null", "?"})  # in any case
MOST_VALUES = 100  # of a text column that becomes one column a value
_LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class Table:
    """The cells of a file by column, and the line of the file each row ended in."""

    path: Path
    columns: dict[str, tuple[str, ...]]
    lines: tuple[int, ...]

    def place(self, row: int, name: str) -> str:
        """Say where a cell stands."""
        return f"{self.path}: line {self.lines[row]}, column '{name}'"

    def without_missing(self, names: list[str]) -> tuple[Table, int, str]:
        """Return the rows that have a value in every column named, the number of the others,
        and where the first of them lacks one.
        """
        columns = [self.columns[name] for name in names]
        lacking = [
            next((name for name, cell in zip(names, cells, strict=True) if _is_missing(cell)), None)
            for cells in zip(*columns, strict=True)
        ]
        first = next((self.place(row, name) for row, name in enumerate(lacking) if name), "")
        keep = [row for row, name in enumerate(lacking) if name is None]
        if len(keep) == len(self.lines):
            return self, 0, ""
        kept = {name: tuple(self.columns[name][row] for row in keep) for name in names}
        lines = tuple(self.lines[row] for row in keep)
        return replace(self, columns=kept, lines=lines), len(self.lines) - len(keep), first


def read(path: Path, delimiter: str, encoding: str) -> Table:
    """Read a file whose first line names the columns; `BadData` says where it is no table.

    Cells may be quoted, with the delimiter, line ends and doubled quotes inside; blank lines and
    a byte order mark are passed over.
    """
    text = _text(path, encoding)
    if text.lstrip().startswith("<"):
        raise BadData(f"{path}: expected a table, found {text.lstrip()[:16]!r}")
    # A space is also what stands between two spaces: a run of them is one delimiter.
    found = reader(io.StringIO(text, ""), delimiter=delimiter, strict=True, skipinitialspace=True)
    rows: list[list[str]] = []
    lines = []
    before = 0  # the line that the row before ended in
    try:
        for cells in found:
            before = found.line_num
            if len(cells) > 1 or "".join(cells).strip():
                rows.append([cell.strip() for cell in cells])
                lines.append(found.line_num)
                _as_wide(path, rows, found.line_num)
    except FormatError as error:
        until = f", at line {found.line_num}" if found.line_num > before + 1 else ""
        raise BadData(f"{path}: line {before + 1}: {error}{until}") from error
    if len(rows) < 2:
        raise BadData(f"{path}: {'has no rows below its header' if rows else 'is empty'}")
    header, *rows = rows
    if twice := [name for name, count in Counter(header).items() if count > 1]:
        raise BadData(f"{path}: line {lines[0]}: column '{twice[0]}' is named twice")
    return Table(path, dict(zip(header, zip(*rows, strict=True), strict=True)), tuple(lines[1:]))


def number(cell: str) -> float | None:
    """Return the finite number a cell holds, or None; 1_000 is a number for Python alone."""
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if abs(value) <= _LARGEST and "_" not in cell else None


def numeric(table: Table, names: list[str], one_hot: bool) -> Tensor:
    """Return the columns named, (N, D) float32; text gives a column of 0 and 1 for each value.

    Raises `BadData` with the first cell of each column that is no number.
    """
    parts: list[list[list[float]]] = []
    problems = []
    for name in names:
        cells = table.columns[name]
        values = [number(cell) for cell in cells]
        wrong = [row for row, value in enumerate(values) if value is None]
        if not wrong:
            parts.append([[value] for value in values if value is not None])
        elif one_hot and len(wrong) == len(values) and len(set(cells)) <= MOST_VALUES:
            known = sorted(set(cells))
            parts.append([[float(cell == each) for each in known] for cell in cells])
        else:
            problems.append(_no_number(table, name, wrong, one_hot))
    if problems:
        raise BadData("\n".join(problems))
    return torch.cat([torch.tensor(part, dtype=torch.float32) for part in parts], 1)


def _no_number(table: Table, name: str, wrong: list[int], one_hot: bool) -> str:
    """Say which cell of a column is no number, and what could be done."""
    cells = table.columns[name]
    problem = f"{table.place(wrong[0], name)}: {cells[wrong[0]][:40]!r} is no finite number"
    comma = re.fullmatch(r"-?\d+,\d+", cells[wrong[0]].strip())
    if comma:
        return f"{problem}; write {cells[wrong[0]].strip().replace(',', '.')}"
    if len(wrong) < len(cells):
        return f"{problem}, unlike {len(cells) - len(wrong)} others"
    if one_hot:
        return f"{problem}, and one-hot would give {len(set(cells))} columns; leave the column out"
    return f"{problem}; pass dataset.categorical=one_hot, or list others in dataset.features"


def _as_wide(path: Path, rows: list[list[str]], line: int) -> None:
    if len(rows[-1]) != len(rows[0]):
        raise BadData(
            f"{path}: line {line}: expected {len(rows[0])} cells as in the header, "
            f"found {len(rows[-1])}"
        )


def _text(path: Path, encoding: str) -> str:
    if not path.is_file():
        raise BadData(f"{path.absolute()}: {_what_instead(path)}")
    if (size := path.stat().st_size) > memory.limit():
        raise BadData(f"{path}: {size / 1e9:.3g} GB, more than there is memory")
    try:
        text = path.read_bytes().decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeError as error:
        where = f"byte {error.start}" if isinstance(error, UnicodeDecodeError) else "it"
        raise BadData(
            f"{path}: expected {encoding} text, {where} is none; set dataset.encoding, or save "
            "the file as utf-8"
        ) from error
    if "\0" in text:
        raise BadData(f"{path}: expected text, found zero bytes; is it dataset.encoding=utf-16?")
    return text


def _what_instead(path: Path) -> str:
    """Say what stands where a file was expected."""
    if path.is_dir():
        return "expected a file, found a folder"
    if path.exists():
        return "expected a file"
    folder = path.parent
    there = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    near = difflib.get_close_matches(path.name, there, n=1)
    return f"no such file; did you mean '{near[0]}'?" if near else "no such file"


def _is_missing(cell: str) -> bool:
    return cell.casefold() in MISSING


def whole(values: list[float | None]) -> bool:
    """Tell whether all cells of a column are whole numbers."""
    return all(value is not None and math.trunc(value) == value for value in values)
