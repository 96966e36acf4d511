"""Where a step's time goes: the parts of our eager step, each with a stopwatch around it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch

from benchmarks.ours import LOGGED
from benchmarks.workloads import NEVER, Workload, settings
from runner.assemble.run import assemble
from runner.execution.hooks import advancing, measuring
from runner.foundation.durations import ENDLESS
from runner.recording.recorder import Stopwatch
from runner.training.loop import Hook, train

PARTS = ("data", "forward", "backward", "update", "logging", "other")


class Watch:
    """Seconds by part; what is timed does not nest."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def around(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the call, its time noted under a part."""

        def timed(*given: Any, **named: Any) -> Any:
            before = time.perf_counter()
            result = call(*given, **named)
            self.seconds[part] += time.perf_counter() - before
            return result

        return timed


def profile(workload: Workload, threads: int, steps: int) -> tuple[float, dict[str, float]]:
    """Return the seconds of a step, and the share of each part, for the eager step.

    Data is the picking and augmenting of a batch, forward the network and the loss, update the
    optimizer's, logging the hooks; other is what is left, the loop itself among it.
    """
    options = ("compile=false", f"threads={threads}", f"trainer.evaluate_every={NEVER}")
    run, watch = assemble(settings(workload, *options)), Watch()
    run.model.forward = watch.around("forward", run.model.forward)
    run.loss = watch.around("forward", run.loss)
    assert run.optimizer.in_place is not None
    update = watch.around("update", run.optimizer.in_place)
    run.optimizer = run.optimizer._replace(in_place=update)
    batch, backward = run.batches(), watch.around("backward", torch.autograd.grad)
    state = run.state()
    hooks = [
        Hook(every, watch.around("logging", call)) for every, call in measuring(run, Stopwatch())
    ]
    with (
        mock.patch.object(run, "batches", return_value=watch.around("data", batch)),
        mock.patch.object(torch.autograd, "grad", backward),
    ):
        advance = advancing(run, run.stepping(state))
        state.step = LOGGED - 2  # a few steps, one of them logged, to begin with
        train(state, advance, [*hooks, _end(LOGGED + 1)], ENDLESS)
        state.ended = False
        watch.seconds.clear()
        before = time.perf_counter()
        train(state, advance, [*hooks, _end(LOGGED + 1 + steps)], ENDLESS)
        total = time.perf_counter() - before
    shares = {part: watch.seconds[part] / total for part in PARTS[:-1]}
    return total / steps, {**shares, "other": 1 - sum(shares.values())}


def _end(step: int) -> Hook:
    """End training at a step without what is due after the last one."""
    return Hook(step, lambda state, row: True)
