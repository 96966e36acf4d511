"""skorch: a classifier fitted as scikit-learn's are, with its default callbacks."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from skorch import NeuralNetClassifier
from torch.utils.data import DataLoader, Dataset, TensorDataset

from benchmarks.feeds import Ready, samples
from benchmarks.gate import Criterion, Task
from benchmarks.workloads import LEARNING_RATES


def train(task: Task, *, fast: bool) -> None:
    """Fit without end: arrays, or a data set of transformed images where it augments."""
    adam = task.workload.optimizer == "adam"
    options: dict[str, Any] = {"optimizer__fused": True} if fast else {}
    if not adam:
        options["optimizer__momentum"] = 0.9
    if fast:
        options["iterator_train"] = _ready(task)
    else:
        options |= {"iterator_train__shuffle": True, "iterator_train__drop_last": True}
    net = NeuralNetClassifier(
        task.workload.model(),
        criterion=partial(Criterion, task.gate),
        optimizer=torch.optim.Adam if adam else torch.optim.SGD,
        lr=LEARNING_RATES[task.workload.optimizer],
        batch_size=task.workload.batch,
        max_epochs=10**9,
        train_split=None,
        **options,
    )
    x, y = (_placeholder(task), None) if fast else _rows(task)
    net.fit(x, y)


def _rows(task: Task) -> tuple[Any, Any]:
    """Return X and y as `fit` is given them."""
    given = samples(task.workload)
    if task.workload.augmented:
        return given, None
    x, y = next(iter(DataLoader(given, task.workload.batch * 10**6)))
    return x.numpy(), y.numpy()


def _ready(task: Task) -> Any:
    """Return what skorch calls to iterate over batches, whatever it is given."""
    batches = Ready(task.workload)
    return lambda dataset, **options: batches


def _placeholder(task: Task) -> Dataset[Any]:
    """Return a data set for skorch to hold, of which no row is used."""
    return TensorDataset(torch.zeros(1, *task.workload.shape), torch.zeros(1, dtype=torch.long))
