"""Tables with faults in them, and a network that never stops dropping units."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np

ROWS = 400
MODULE = '''"""A network that goes on dropping units when it is only to predict."""

from math import prod

import torch
from torch import nn


class Always(nn.Module):
    def forward(self, x):
        return torch.nn.functional.dropout(x, 0.3, training=True)


def network(inputs, outputs, unit):
    layers = [nn.Flatten(), unit(nn.Linear(prod(inputs), 64)), Always()]
    return nn.Sequential(*layers, nn.Linear(64, outputs))
'''


def made(folder: Path) -> None:
    """Write all of it into a folder."""
    draws = np.random.default_rng(0)
    x = draws.normal(size=(ROWS, 6))
    classes = (x[:, 0] * x[:, 1] > 0).astype(int)
    numbers = x[:, 0] * x[:, 1] + x[:, 2] + 0.1 * draws.normal(size=ROWS)
    for name, values in {"large": 1000 * x, "small": 0.001 * x, "shifted": x + 30}.items():
        _write(folder / f"{name}.csv", values, classes)
        _write(folder / f"{name}_numbers.csv", values, numbers)
    narrow = x[:, :1] + 0.03 * x[:, 1:2]
    pair = np.hstack([x[:, :1], narrow])
    _write(folder / "dependent.csv", pair, (x[:, 1] > 0).astype(int))
    _write(folder / "dependent_numbers.csv", pair, x[:, 1])
    rare = (np.arange(5 * ROWS) % 20 == 0).astype(int)
    _write(folder / "constant.csv", draws.normal(size=(5 * ROWS, 6)) + 2 * rare[:, None], rare)
    twice = np.arange(ROWS) % (ROWS // 2)
    _write(folder / "leaking.csv", x[twice], classes[twice])
    _write(folder / "leaking_numbers.csv", x[twice], numbers[twice])
    (folder / "always_dropping.py").write_text(MODULE, encoding="utf-8")
    option = folder / "conf/architecture/always_dropping.yaml"
    option.parent.mkdir(parents=True)
    option.write_text("# Drops for ever.\n_target_: always_dropping.network\n", encoding="utf-8")


def _write(path: Path, x: np.ndarray, y: Iterable[float]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"x{at}" for at in range(x.shape[1])), "y"])
        writer.writerows([*row, target] for row, target in zip(x.tolist(), y, strict=True))
