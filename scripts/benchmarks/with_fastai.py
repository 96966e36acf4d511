"""fastai: a Learner over plain DataLoaders, with its own optimizers and default callbacks."""

from __future__ import annotations

from functools import partial

from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import SGD, Adam

from benchmarks.feeds import feed
from benchmarks.gate import Criterion, Task
from benchmarks.workloads import LEARNING_RATES


def train(task: Task, *, fast: bool) -> None:
    """Fit without end; there are no validation batches."""
    learner = Learner(
        DataLoaders(feed(task.workload, fast), []),
        task.workload.model(),
        loss_func=Criterion(task.gate),
        opt_func=Adam if task.workload.optimizer == "adam" else partial(SGD, mom=0.9),
    )
    learner.fit(10**9, LEARNING_RATES[task.workload.optimizer])
