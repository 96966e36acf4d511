"""Small data sets that scikit-learn ships: they need no network and no files of the user's.

Their files are read without importing the package, which takes longer than a small run.
"""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from runner.components.dataset.data import Data, split
from runner.foundation.errors import BadData


@split
def digits() -> Data:
    """Load 1797 images of handwritten digits, 1 x 8 x 8, values 0 to 16, 10 classes."""
    return _classes(_numbers("digits.csv.gz", ","), tuple(map(str, range(10))), (1, 8, 8))


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
    x, y = (_numbers(f"diabetes_{part}.csv.gz", " ") for part in ("data_raw", "target"))
    return Data(torch.from_numpy(x).float(), torch.from_numpy(y).float(), "regression",
                ("progression",))  # fmt: skip


def _headed(name: str) -> Data:
    """Read a table whose first line has the numbers of rows and columns and the classes' names."""
    with _file(name).open(encoding="utf-8") as file:
        labels = file.readline().strip().split(",")[2:]
    return _classes(_numbers(name, ",", header=1), tuple(labels))


def _classes(cells: np.ndarray, labels: tuple[str, ...], shape: tuple[int, ...] = (-1,)) -> Data:
    """Take the last column for the class, the others for samples of this shape."""
    numbers = torch.from_numpy(cells)
    x = numbers[:, :-1].float().reshape(len(cells), *shape)
    return Data(x, numbers[:, -1].long(), "classification", labels)


def _numbers(name: str, delimiter: str, header: int = 0) -> np.ndarray:
    """Read a file of numbers, (N, D) float64, without so many lines at its head."""
    path = _file(name)
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return np.loadtxt(file, delimiter=delimiter, skiprows=header, ndmin=2)


def _file(name: str) -> Path:
    """Return where scikit-learn keeps a file; finding a package does not import it."""
    package = find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or []:
        if (path := Path(folder, "datasets", "data", name)).is_file():
            return path
    raise BadData(f"{name}: no such file; is scikit-learn installed?")
