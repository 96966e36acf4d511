"""Accelerate: a loop by hand whose model, optimizer and batches it prepared."""

from __future__ import annotations

from accelerate import Accelerator

from benchmarks.by_hand import optimizer_of
from benchmarks.feeds import feed
from benchmarks.gate import Criterion, Task


def train(task: Task, *, fast: bool) -> None:
    """Train without end; batches that are ready need no preparation."""
    accelerator = Accelerator(cpu=True)
    model = task.workload.model()
    optimizer = optimizer_of(task.workload, model.parameters(), fused=fast)
    batches, criterion = feed(task.workload, fast), Criterion(task.gate)
    model, optimizer = accelerator.prepare(model, optimizer)
    if not fast:
        batches = accelerator.prepare(batches)
    while True:
        for x, y in batches:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            accelerator.backward(loss)
            optimizer.step()
