"""Loops that a person writes in plain torch: the typical one, and the tuned one."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from benchmarks.feeds import feed
from benchmarks.gate import Task
from benchmarks.workloads import LEARNING_RATES, Workload


def train(task: Task, *, tuned: bool) -> None:
    """Train in plain torch.

    Tuned: the data set normalized once, batches by index, augmented as a whole, the fused
    optimizer. Typical: transforms of single samples, a DataLoader, the default optimizer.
    """
    batches, model = feed(task.workload, tuned), task.workload.model()
    optimizer = optimizer_of(task.workload, model.parameters(), fused=tuned)
    criterion = nn.CrossEntropyLoss()
    while True:
        for x, y in batches:
            task.gate()
            loss = criterion(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def optimizer_of(
    workload: Workload,
    parameters: Iterable[nn.Parameter],
    *,
    fused: bool,
    lr: float | None = None,
) -> torch.optim.Optimizer:
    """Return the workload's optimizer, as its documentation has it or with the fused kernels."""
    lr, kernels = lr or LEARNING_RATES[workload.optimizer], True if fused else None
    if workload.optimizer == "adam":
        return torch.optim.Adam(parameters, lr, fused=kernels)
    return torch.optim.SGD(parameters, lr, momentum=0.9, fused=kernels)
