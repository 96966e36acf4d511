"""Small data sets that scikit-learn ships: they need no network and no files of the user's.

Their files are read without importing the package, which takes longer than a small run.
"""

from __future__ import annotations

import contextlib
import gzip
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from runner.components.dataset.data import Data, split
from runner.foundation.errors import BadData


@split
def digits() -> Data:
    """Load 1797 images of handwritten digits, 1 x 8 x 8, values 0 to 16, 10 classes."""
    data = _classes(_numbers("digits.csv.gz", ",", 65), tuple(map(str, range(10))))
    return replace(data, x=data.x.reshape(-1, 1, 8, 8))


@split
def wine() -> Data:
    """Load 178 wines, 13 measurements on scales from 0.1 to 1000, 3 classes."""
    return _headed("wine_data.csv")


@split
def breast_cancer() -> Data:
    """Load 569 tumours, 30 measurements with spreads from 0.003 to 570, 2 classes."""
    return _headed("breast_cancer.csv")


@split
def diabetes() -> Data:
    """Load 442 patients, 10 features in raw units, disease progression (25 to 346) to predict."""
    x = _numbers("diabetes_data_raw.csv.gz", " ", 10)
    y = _numbers("diabetes_target.csv.gz", " ", 1)
    return Data(torch.from_numpy(x).float(), torch.from_numpy(y).float(), "regression",
                ("progression",))  # fmt: skip


def _headed(name: str) -> Data:
    """Read a table whose first line has the numbers of rows and columns and the classes' names."""
    path = _file(name)
    with _reading(path), path.open(encoding="utf-8") as file:
        rows, columns, *labels = file.readline().strip().split(",")
        width = int(columns) + 1
    cells = _numbers(name, ",", width, header=1)
    if len(cells) != int(rows):
        raise BadData(f"{path}: expected {rows} rows, as its first line says, found {len(cells)}")
    return _classes(cells, tuple(labels))


def _classes(cells: np.ndarray, labels: tuple[str, ...]) -> Data:
    """Take the last column for the class, the others for samples."""
    numbers = torch.from_numpy(cells)
    return Data(numbers[:, :-1].float(), numbers[:, -1].long(), "classification", labels)


def _numbers(name: str, delimiter: str, columns: int, header: int = 0) -> np.ndarray:
    """Read a file of numbers, (N, D) float64, without so many lines at its head."""
    path = _file(name)
    with _reading(path), gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        cells = np.loadtxt(file, delimiter=delimiter, skiprows=header, ndmin=2)
    if cells.shape[1] != columns:
        raise BadData(f"{path}: expected rows of {columns} numbers, found {cells.shape[1]}")
    return cells


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what is said of a damaged file into `BadData`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of a file without a number
            yield
    except (OSError, EOFError, ValueError, UserWarning, zlib.error) as error:
        raise BadData(f"{path}: cannot be read as a table of numbers: {error}") from error


def _file(name: str) -> Path:
    """Return where scikit-learn keeps a file; finding a package does not import it."""
    package = find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or []:
        if (path := Path(folder, "datasets", "data", name)).is_file():
            return path
    raise BadData(f"{name}: no such file; is scikit-learn installed?")
