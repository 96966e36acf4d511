"""Which rows a data set gives to training, validation and test, and which labels are falsified.

Each choice draws from a stream of its own, so that changing one leaves the others as they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import torch
from torch import Tensor

from runner.foundation import rng
from runner.foundation.errors import Misconfigured
from runner.foundation.ranges import AtLeastOne, Positive, Range

Share = Annotated[float, Range(0, 1, low_open=True)]  # (0, 1]
Several = Annotated[int, Range(low=2)]
Balance = AtLeastOne | list[Positive] | None


def divide(
    count: int, given: Mapping[str, Tensor], shares: Mapping[str, float | None], seed: int
) -> dict[str, Tensor]:
    """Return the rows of `train`, `valid` and `test`: those given, the others drawn by share.

    A share is null exactly where the data set comes with such rows of its own; the other shares
    are of the rows that are left.
    """
    for name, share in shares.items():
        if (name in given) == (share is not None):
            wanted = "null" if name in given else "a share of the rows"
            has = "has" if name in given else "has no"
            own = " of its own" if name in given else ""
            raise Misconfigured(
                f"dataset.{name}: expected {wanted}, as this data set {has} {name} rows{own}"
            )
    rest = given.get("train", torch.arange(count))
    sizes = {name: round((share or 0) * len(rest)) for name, share in shares.items()}
    for name, share in shares.items():
        if share and not sizes[name]:
            raise Misconfigured(
                f"dataset.{name}: a share of {share:g} of {len(rest)} rows is empty"
            )
    if (left := len(rest) - sum(sizes.values())) < 1:
        parts = [share or 0 for share in shares.values()]
        raise Misconfigured(
            f"{' + '.join(f'dataset.{name}' for name in shares)}: expected less than 1, got "
            f"{' + '.join(f'{share:g}' for share in parts)} = {sum(parts):g}, "
            "which leaves no training rows"
        )
    order = rest[torch.randperm(len(rest), generator=rng.generator(seed, "split"))]
    drawn = order.split([left, *sizes.values()])
    splits = dict(zip(("train", *shares), drawn, strict=True)) | {
        name: rows for name, rows in given.items() if name != "train"
    }
    return {name: rows.sort().values for name, rows in splits.items()}


def thin(
    train: Tensor,
    y: Tensor,
    labels: Sequence[str],
    subset: float | None,
    balance: float | Sequence[float] | None,
    seed: int,
) -> Tensor:
    """Return the training rows to keep: as many as `subset` says, in the shares of `balance`.

    A smaller subset is part of a larger one.
    """
    if balance is not None:
        order = _balanced(train, y, labels, _weights(balance, len(labels)), seed)
    else:
        order = train[torch.randperm(len(train), generator=rng.generator(seed, "subset"))]
    if subset is None:
        return order.sort().values
    kept = round(subset * len(order)) if subset <= 1 else int(subset)
    if not 1 <= kept <= len(order):
        raise Misconfigured(
            f"dataset.subset: expected 1 to {len(order)} training rows, got {subset:g}"
            + (f", which is {kept} of {len(order)}" if subset <= 1 else "")
            + ("; dataset.balance has left no more" if balance is not None else "")
        )
    return order[:kept].sort().values


def mislabel(y: Tensor, train: Tensor, classes: int, share: float, seed: int) -> Tensor:
    """Return the labels, a share of those in training replaced by another class, each as likely.

    The draws belong to all rows of the data set: a row that keeps its wrong label as the share
    grows, keeps it also when the subset changes.
    """
    count = round(share * len(train))
    if not count:
        raise Misconfigured(
            f"dataset.label_noise: a share of {share:g} of {len(train)} training rows is none"
        )
    if classes < 2:
        raise Misconfigured(f"dataset.label_noise: expected 0, as there is {classes} class")
    generator = rng.generator(seed, "label_noise")
    chance = torch.rand(len(y), generator=generator, dtype=torch.float64)
    offset = torch.randint(1, classes, (len(y),), generator=generator)
    wrong = train[chance[train].argsort(stable=True)[:count]]
    y = y.clone()
    y[wrong] = (y[wrong] + offset[wrong]) % classes
    return y


def _weights(balance: float | Sequence[float], classes: int) -> Tensor:
    """Return a weight for each class; a ratio r gives r^(-c / (C - 1)), from 1 down to 1/r.

    The "long tail" of Cui et al. 2019, Class-Balanced Loss.
    """
    if isinstance(balance, Sequence):
        if len(balance) != classes:
            raise Misconfigured(
                f"dataset.balance: expected a number for each of the {classes} classes, "
                f"got {len(balance)}"
            )
        return torch.tensor(balance, dtype=torch.float64)
    return float(balance) ** -torch.linspace(0, 1, classes, dtype=torch.float64)


def _balanced(
    train: Tensor, y: Tensor, labels: Sequence[str], weights: Tensor, seed: int
) -> Tensor:
    """Return the most training rows that have the classes in these weights.

    Any first part of them has the weights too, to within a row a class.
    """
    shuffled = train[torch.randperm(len(train), generator=rng.generator(seed, "balance"))]
    found = [shuffled[y[shuffled] == number] for number in range(len(labels))]
    there = torch.tensor([len(rows) for rows in found], dtype=torch.float64)
    wanted = (there / weights).min() * weights
    counts = (wanted + 1e-6).floor().long().tolist()  # 1e-6: 5 rows may come out as 4.9999
    for label, count, rows in zip(labels, counts, found, strict=True):
        if not count:
            raise Misconfigured(
                f"dataset.balance: class '{label}' would keep none of its {len(rows)} training rows"
            )
    places = [(torch.arange(count) + 0.5) / count for count in counts]
    kept = [rows[:count] for rows, count in zip(found, counts, strict=True)]
    return torch.cat(kept)[torch.cat(places).argsort(stable=True)]
