"""Ignite: its supervised trainer, printing the loss every 100 steps."""

from __future__ import annotations

from ignite.engine import Engine, Events, create_supervised_trainer

from benchmarks.by_hand import optimizer_of
from benchmarks.feeds import feed
from benchmarks.gate import Criterion, Task


def train(task: Task, *, fast: bool) -> None:
    """Run an engine without end."""
    model = task.workload.model()
    optimizer = optimizer_of(task.workload, model.parameters(), fused=fast)
    trainer = create_supervised_trainer(model, optimizer, Criterion(task.gate))

    @trainer.on(Events.ITERATION_COMPLETED(every=50))
    def log(engine: Engine) -> None:
        print(f"epoch {engine.state.epoch}  step {engine.state.iteration}  {engine.state.output}")

    trainer.run(feed(task.workload, fast), max_epochs=10**9)
