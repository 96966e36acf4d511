"""The runner's lanes as a contender: many models at once, without validation, metrics and files."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmarks.gate import Task
from benchmarks.ours import LONG, nothing
from benchmarks.workloads import NEVER, settings
from runner.assemble.lanes import together
from runner.foundation import remembered
from runner.training.ready import Compiled, Traced


def train(task: Task, lanes: str, compiling: str) -> None:
    """Train so many lanes, each with a seed of its own; one lane is a run as any other.

    `compiling` is `trace`, `true` or `false`, as the setting `compile`.
    """
    count = int(lanes)
    if count == 1:
        nothing(task, compiling)
    first = settings(
        task.workload, LONG, f"trainer.evaluate_every={NEVER}", f"threads={task.threads}"
    )
    several = [replace(first, seed=seed) for seed in range(count)]
    is_compiled = compiling == "true"
    stack = together(several, count if is_compiled else None)
    ready: Traced | None = None
    if compiling != "false":
        ready = Traced(stack.lanes)
    if is_compiled:
        ready = Compiled(stack.lanes, remembered.kernels())
    step, batch = stack.step(ready, whole=is_compiled), stack.batches()
    schedules = [(run.schedule, run.schedule.init()) for run in stack.runs]
    while True:
        task.gate()
        at = stack.lanes.step
        factors = [schedule.at(at, state) for schedule, state in schedules]
        step(*batch(at), torch.tensor(factors, dtype=torch.float64), False)
