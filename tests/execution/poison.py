"""Runs that meet nan or infinity at a step of the test's choice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from runner.assemble.run import Run, assemble
from runner.assemble.speed import begin
from runner.components.schedule import Schedule
from runner.execution import launch as launching

Change = Callable[[Run], None]
ROW = torch.tensor([3])
MARK = 9  # the last of ten classes


@contextlib.contextmanager
def changed(*changes: Change) -> Iterator[None]:
    """Let every run be changed between its assembly and the making of its step."""

    def settled(settings: Any, say: Any) -> Run:
        run = assemble(settings)
        for change in changes:
            change(run)
        begin(run, say)
        return run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launching, "settled", settled)
        yield


def batches(*steps: int) -> Change:
    """Let the batches of these steps, counted from 1, hold a nan."""

    def change(run: Run) -> None:
        original = run.batches

        def poisoned() -> Any:
            batch = original()

            def at(step: int) -> tuple[Tensor, Tensor]:
                x, y = batch(step)
                return (
                    (x, y)
                    if step + 1 not in steps
                    else (x.clone().index_fill_(0, ROW, torch.nan), y)
                )

            return at

        run.batches = poisoned

    return change


def factors(steps: Collection[int], factor: float) -> Change:
    """Let the learning rate of these steps be so many times what it is."""

    def change(run: Run) -> None:
        run.schedule = Schedule(lambda step, state: factor if step + 1 in steps else 1.0)

    return change


def losses(*steps: int, gradient: bool = False) -> Change:
    """Let the loss of one sample be infinite in these steps, or its gradient alone."""

    def change(run: Run) -> None:
        original, own = run.batches, run.loss

        def marked() -> Any:
            batch = original()

            def at(step: int) -> tuple[Tensor, Tensor]:
                x, y = batch(step)
                y = y.clamp(max=MARK - 1)
                return x, y if step + 1 not in steps else y.index_fill(0, ROW, MARK)

            return at

        def loss(outputs: Tensor, y: Tensor) -> Tensor:
            mark = y == MARK
            nothing = (outputs - outputs.detach()).sum(1)
            steep = torch.where(mark, nothing, torch.ones_like(nothing)).sqrt() - (~mark).float()
            infinite = torch.where(mark, torch.inf, torch.zeros_like(nothing))
            return own(outputs, y) + (steep if gradient else infinite)

        run.batches, run.loss = marked, loss

    return change
