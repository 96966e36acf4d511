"""A table of the user's own: a text file with a header, its columns chosen by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import torch

from runner.components.dataset.data import Data, Task, locate, split
from runner.components.dataset.table import Table, number, numeric, read, whole
from runner.foundation.errors import BadData, Misconfigured, did_you_mean

MOST_CLASSES = 20  # that different whole numbers are taken for, with task: auto
COMPARED = 10_000  # columns whose names a misspelt one is compared to
_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "pipe": "|"}


@split
def csv(
    *,
    path: str,
    target: str | list[str],
    features: list[str] | None,
    task: Literal["auto", "classification", "regression"],
    categorical: Literal["refuse", "one_hot"],
    missing: Literal["refuse", "drop"],
    delimiter: Literal["comma", "semicolon", "tab", "space", "pipe"],
    encoding: Literal["utf-8", "utf-16", "latin-1", "cp1252"],
) -> Data:
    """Load a table; x is (N, D), the columns of `features`, or all but the target for null.

    task         auto: a target of text, or of at most 20 different whole numbers, is of classes
    categorical  what to do with columns of text: refuse them, or a column of 0 and 1 for each value
    missing      what to do with rows that lack a value: refuse, or drop them with a warning

    Classes are numbered in the order of their names, numbers in theirs.
    """
    table = read(locate(path), _DELIMITERS[delimiter], encoding)
    targets, inputs = _choose(table, target, features, delimiter)
    table, warnings = _complete(table, [*inputs, *targets], missing)
    x = numeric(table, inputs, categorical == "one_hot")
    if (decided := _task(table, targets, task)) == "regression":
        y, labels = numeric(table, targets, one_hot=False), tuple(targets)
    else:
        y, labels = _classes(table, targets[0])
    if task == "auto" and decided == "classification" and len(labels) > 2 and labels[0].isdigit():
        warnings = (*warnings, _taken(targets[0], len(labels)))
    return Data(x, y, decided, labels, source=str(table.path), warnings=warnings)


def _choose(
    table: Table, target: str | list[str], features: Sequence[str] | None, delimiter: str
) -> tuple[list[str], list[str]]:
    """Return the names of target and feature columns, or raise `Misconfigured` with all faults."""
    names = list(table.columns)
    targets = [target] if isinstance(target, str) else list(target)
    inputs = [name for name in names if name not in targets] if features is None else list(features)
    hint = f"; is dataset.delimiter={delimiter} right?" if len(names) == 1 else ""
    problems = []
    for key, chosen in (("target", targets), ("features", inputs)):
        if not chosen:
            problems.append(f"dataset.{key}: no column{hint}")
        if len(set(chosen)) < len(chosen):
            twice = next(name for name, count in Counter(chosen).items() if count > 1)
            problems.append(f"dataset.{key}: column '{twice}' is named twice")
        problems += [
            f"dataset.{key}: no column '{name}' in {table.path}, which has "
            f"{', '.join(names)[:300]}{did_you_mean(name, names[:COMPARED])}{hint}"
            for name in chosen
            if name not in table.columns
        ]
    problems += [f"dataset.features: '{name}' is the target" for name in inputs if name in targets]
    if problems:
        raise Misconfigured(problems)
    if features is None and "" in inputs:
        raise BadData(
            f"{table.path}: column {names.index('') + 1} has no name; name it, or list the "
            "columns to learn from in dataset.features"
        )
    return targets, inputs


def _complete(table: Table, names: list[str], missing: str) -> tuple[Table, tuple[str, ...]]:
    """Return the rows that lack nothing, and a warning if others were dropped."""
    kept, lacking, first = table.without_missing(names)
    if not lacking:
        return table, ()
    share = f"{lacking} of {len(table.lines)} rows lack a value"
    if missing == "refuse" or not kept.lines:
        raise BadData(
            f"{first}: no value ({share}); fill them in, leave such columns out of "
            "dataset.features, or pass dataset.missing=drop"
        )
    return kept, (f"{share} and were dropped",)


def _task(table: Table, targets: list[str], task: str) -> Task:
    """Return the task asked for, or the one that the target's cells suggest."""
    if len(targets) > 1 and task == "classification":
        raise Misconfigured("dataset.target: expected one column of classes")
    if task == "classification":
        return "classification"
    cells = table.columns[targets[0]]
    values = [number(cell) for cell in cells]
    text = all(value is None for value in values)
    few = whole(values) and len(set(values)) <= MOST_CLASSES
    if task == "auto" and len(targets) == 1 and (text or few):
        return "classification"
    return "regression"


def _classes(table: Table, target: str) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Return the number of each row's class, and the names of the classes."""
    cells = table.columns[target]
    values = [number(cell) for cell in cells]
    names: list[str] = list(cells)
    order = sorted(set(cells))
    if whole(values):
        names = [str(int(value)) for value in values if value is not None]
        order = sorted(set(names), key=int)
    elif any(value is not None and not value.is_integer() for value in values):
        row = next(at for at, value in enumerate(values) if value and not value.is_integer())
        raise Misconfigured(
            f"dataset.task: {table.place(row, target)}: {cells[row]} is no class; "
            "use dataset.task=regression"
        )
    if len(order) > max(MOST_CLASSES, len(cells) // 2):
        raise BadData(
            f"{table.path}: column '{target}' has {len(order)} different values in "
            f"{len(cells)} rows, too many to be classes"
        )
    number_of = {name: at for at, name in enumerate(order)}
    return torch.tensor([number_of[name] for name in names]), tuple(order)


def _taken(target: str, classes: int) -> str:
    return (
        f"'{target}' has {classes} different whole numbers, taken for classes; "
        "dataset.task=regression predicts the number"
    )
