"""What every data set gives, and how its rows are split.

`@split` wraps a loader of raw rows and adds the keyword parameters all data sets share, so that
the signature of each factory in `conf/dataset` still is its whole schema.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from runner.foundation import rng
from runner.foundation.errors import BadData, Misconfigured
from runner.foundation.ranges import ProperFraction, Seed

Task = Literal["classification", "regression"]
SPLITS: tuple[str, ...] = ("train", "valid", "test")


@dataclass(frozen=True)
class Data:
    """A data set in memory.

    x       (N, *shape) float32, in the data's own units
    y       (N,) int64 classes 0 ... C-1, or (N, C) float32 targets
    splits  row numbers of `train`, `valid`, `test`; the last two may be empty
    labels  a name for each class or target column
    source  where the rows were read from, if from files
    """

    x: Tensor
    y: Tensor
    labels: tuple[str, ...]
    splits: dict[str, Tensor] = field(default_factory=dict)
    source: str | None = None

    @property
    def task(self) -> Task:
        """Tell classification from regression by the type of the targets."""
        return "regression" if self.y.is_floating_point() else "classification"

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
        digest = hashlib.sha256()
        for tensor in (self.x, self.y, *(self.splits[name] for name in SPLITS)):
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


Loader = Callable[..., Data]


def split(loader: Loader) -> Loader:
    """Let a loader of all rows take `seed`, `valid` and `test`.

    `valid` and `test` are shares of all rows, drawn at random under `seed`; training gets the
    rest. A data set that comes with test rows of its own has them in `splits` already: then
    `test` is null and `valid` a share of the other rows.
    """

    def factory(
        *, seed: Seed, valid: ProperFraction, test: ProperFraction | None, **options: object
    ) -> Data:
        data = loader(**options)
        _verify(data)
        return replace(data, splits=_split(data, seed, valid, test))

    shared = list(inspect.signature(factory, eval_str=True).parameters.values())
    own = list(inspect.signature(loader, eval_str=True).parameters.values())
    factory.__signature__ = inspect.Signature([*shared[:-1], *own])  # type: ignore[attr-defined]
    return functools.update_wrapper(factory, loader)


def _split(data: Data, seed: int, valid: float, test: float | None) -> dict[str, Tensor]:
    given = data.splits.get("test")
    if (given is None) == (test is None):
        raise Misconfigured(
            "dataset.test: expected null, as this data set has test rows of its own"
            if given is not None
            else "dataset.test: expected a share of the rows, as this data set has no test rows"
        )
    rest = data.splits.get("train", torch.arange(len(data.y)))
    order = rest[torch.randperm(len(rest), generator=rng.generator(seed, "split"))]
    sizes = {"test": round((test or 0) * len(rest)), "valid": round(valid * len(rest))}
    for name, share in (("valid", valid), ("test", test or 0)):
        if share and not sizes[name]:
            raise Misconfigured(
                f"dataset.{name}: a share of {share:g} of {len(rest)} rows is empty"
            )
    if (left := len(rest) - sum(sizes.values())) < 1:
        total = valid + (test or 0)
        raise Misconfigured(
            f"dataset.valid + dataset.test: expected less than 1, got {valid:g} + {test or 0:g} = "
            f"{total:g}, which leaves no training rows"
        )
    train, held_out, tested = order.split([left, sizes["valid"], sizes["test"]])
    splits = {"train": train, "valid": held_out, "test": given if given is not None else tested}
    return {name: rows.sort().values for name, rows in splits.items()}


def _verify(data: Data) -> None:
    """Raise `BadData` for values or labels that no training could use."""
    if len(data.x) != len(data.y) or not len(data.y):
        raise BadData(f"expected as many rows of x as of y, got {len(data.x)} and {len(data.y)}")
    for tensor in (data.x, data.y):
        if not (finite := tensor.isfinite().reshape(len(tensor), -1).all(1)).all():
            raise BadData(f"row {int((~finite).nonzero()[0])}: a value is nan or infinite")
    if data.task == "classification":
        wrong = (data.y < 0) | (data.y >= data.outputs)
        if wrong.any():
            row = int(wrong.nonzero()[0])
            raise BadData(f"row {row}: label {int(data.y[row])}, expected 0 to {data.outputs - 1}")
