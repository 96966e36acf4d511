"""What every data set gives, and the keywords that all of them take.

`@split` wraps a loader of raw rows and adds the keyword parameters all data sets share, so that
the signature of each factory in `conf/dataset` still is its whole schema.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from torch import Tensor

from runner.components.dataset import rows
from runner.components.dataset.rows import Balance, Several, Share
from runner.foundation.errors import BadData, Misconfigured
from runner.foundation.ranges import Fraction, ProperFraction, Seed
from runner.foundation.signatures import extended

Task = Literal["classification", "regression"]
SPLITS: tuple[str, ...] = ("train", "valid", "test")


@dataclass(frozen=True)
class Data:
    """A data set in memory.

    x         (N, *shape) float32, in the data's own units
    y         (N,) int64 classes 0 ... C-1, or (N, C) float32 targets
    task      classification or regression
    labels    a name for each class or target column
    splits    row numbers of `train`, `valid`, `test`; the last two may be empty
    source    where the rows were read from, if from files
    warnings  what the user should know about the rows
    """

    x: Tensor
    y: Tensor
    task: Task
    labels: tuple[str, ...]
    splits: dict[str, Tensor] = field(default_factory=dict)
    source: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def inputs(self) -> tuple[int, ...]:
        """Return the shape of one sample."""
        return tuple(self.x.shape[1:])

    @property
    def outputs(self) -> int:
        """Return the number of columns a model must give."""
        return len(self.labels)

    def checksum(self) -> str:
        """Hash values and split, so that a record can tell whether the data changed."""
        return self._checksum

    @functools.cached_property
    def _checksum(self) -> str:
        digest = hashlib.sha256(repr((self.task, self.labels)).encode())
        for tensor in (self.x, self.y, *(self.splits[name] for name in SPLITS)):
            digest.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


Loader = Callable[..., Data]


def split(loader: Loader) -> Loader:
    """Let a loader of all rows take `seed` and what all data sets share.

    valid, test   shares of all rows, drawn at random; training gets the rest. A data set that
                  comes with such rows of its own has them in `splits` already: then it is null,
                  and the other a share of the other rows
    subset        how many training rows to keep, a number or a share; null keeps all
    balance       the shares of the classes among the training rows: the ratio of the first
                  class to the last, those between in geometric steps (1: all alike), or a weight
                  for each class; null leaves them as they are
    label_noise   the share of training labels replaced by another class, drawn uniformly

    A loader whose positional parameter is `seed: Seed` makes its rows, and is given the seed too.
    """
    own = inspect.signature(loader, eval_str=True).parameters
    positional = [each for each in own.values() if each.kind is not inspect.Parameter.KEYWORD_ONLY]
    # `config` takes annotations from the loader first.
    assert [(each.name, each.annotation) for each in positional] in ([], [("seed", Seed)])

    def factory(
        *,
        seed: Seed,
        valid: ProperFraction | None,
        test: ProperFraction | None,
        subset: Share | Several | None,
        balance: Balance,
        label_noise: Fraction,
        **options: object,
    ) -> Data:
        data = loader(*[seed for _ in positional], **options)
        _verify(data)
        splits = rows.divide(len(data.y), data.splits, {"valid": valid, "test": test}, seed)
        _only_for_classes(data, balance=balance, label_noise=label_noise or None)
        train, y = splits["train"], data.y
        if subset is not None or balance is not None:
            train = rows.thin(train, y, data.labels, subset, balance, seed)
        if label_noise:
            y = rows.mislabel(y, train, data.outputs, label_noise, seed)
        data = replace(data, y=y, splits=splits | {"train": train})
        return replace(data, warnings=(*data.warnings, *_odd(data)))

    shared = list(inspect.signature(factory, eval_str=True).parameters.values())[:-1]
    return extended(factory, loader, **{each.name: each.annotation for each in shared})


def locate(path: str) -> Path:
    """Return a path as the user means it, `~` being home; `BadData` where it cannot even be."""
    try:
        found = Path(path).expanduser()
        found.exists()  # too long a name, or a folder that may not be entered
    except (OSError, RuntimeError) as error:
        raise BadData(f"{path}: cannot be read: {getattr(error, 'strerror', error)}") from error
    return found


def _verify(data: Data) -> None:
    """Raise `BadData` for values or labels that no training could use."""
    where = f"{data.source}: " if data.source else ""
    if len(data.x) != len(data.y) or not len(data.y):
        counts = f"{len(data.x)} and {len(data.y)}"
        raise BadData(f"{where}expected as many rows of x as of y, got {counts}")
    for name, tensor in (("x", data.x), ("y", data.y)):
        if tensor.sum().isfinite():  # in a twentieth of the time that a look at each value takes
            continue
        if len(wrong := tensor.isfinite().logical_not().nonzero()):
            row, *place = wrong[0].tolist()
            value = f"{name}{place or ''} is {tensor[tuple(wrong[0])]:g}"
            raise BadData(f"{where}row {row}: {value}, expected a finite number")
    assert data.y.is_floating_point() == (data.task == "regression")
    if data.task == "classification":
        wrong = (data.y < 0) | (data.y >= data.outputs)
        if wrong.any():
            row = int(wrong.nonzero()[0])
            label = f"label {int(data.y[row])}, expected 0 to {data.outputs - 1}"
            raise BadData(f"{where}row {row}: {label}")


def _only_for_classes(data: Data, **given: object) -> None:
    """Raise `Misconfigured` where a regression is asked for what needs classes."""
    if data.task == "classification":
        return
    neutral = {"balance": "null", "label_noise": "0"}
    problems = [
        f"dataset.{name}: expected {neutral[name]}, as this data set has numbers to predict"
        for name, value in given.items()
        if value is not None
    ]
    if problems:
        raise Misconfigured(problems)


def _odd(data: Data) -> list[str]:
    """Warn of training rows that teach nothing."""
    there = data.y[data.splits["train"]]
    if data.task == "regression":
        if data.source is None:  # what was made so was meant so
            return []
        still = (there == there[0]).all(0).tolist()
        names = [f"'{name}'" for name, same in zip(data.labels, still, strict=True) if same]
        return [f"the same target in all training rows: {', '.join(names)}"] if names else []
    if len(there.unique()) > 1:
        return []
    return [f"all training rows are of one class, '{data.labels[int(there[0])]}'"]
