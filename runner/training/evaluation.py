"""Evaluation: metrics over whole splits, with dropout off and running statistics in use."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from runner.training.feed import Batch
from runner.training.lanes import across_lanes
from runner.training.state import Outcome
from runner.training.step import wide

Loss = Callable[[Tensor, Tensor], Tensor]
LARGE = 10**7  # numbers; outputs that are more are measured batch by batch


class Metrics(NamedTuple):
    """What is measured of outputs beside the loss.

    totals  (outputs, targets) -> sums that add up over batches
    read    totals -> results by name: numbers are logged, anything larger is for the summary
    """

    totals: Callable[[Tensor, Tensor], dict[str, Tensor]]
    read: Callable[[dict[str, Tensor]], dict[str, Tensor]]


@contextlib.contextmanager
def evaluating(model: nn.Module, gradients: bool = False) -> Iterator[None]:
    """Switch a model to evaluation and back; nobody else flips the switch.

    With `gradients` the caller may ask for derivatives inside.
    """
    training = model.training
    model.eval()
    try:
        with torch.inference_mode(not gradients):
            yield
    finally:
        model.train(training)


def predict(
    model: nn.Module,
    batches: Sequence[Batch],
    loss: Loss,
    autocast: bool = False,
    forward: Callable[[Tensor], Tensor] | None = None,
) -> list[Outcome]:
    """Return the mean loss, the outputs and the targets of each batch.

    `forward` predicts in the model's place, while the model is in the mode of evaluation.
    """
    forward = forward or model
    device = batches[0][0].device.type
    with evaluating(model), torch.autocast(device, torch.bfloat16, enabled=autocast):
        pairs = [(forward(x), y) for x, y in batches]
        return [Outcome(loss(wide(outputs), y).mean(), outputs, y) for outputs, y in pairs]


def measure(
    outcomes: Sequence[Outcome], metrics: Metrics
) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the mean loss of the samples with every metric that is a number, and the others.

    The one place that reads results back to the host.
    """
    with torch.inference_mode():
        sizes = tuple(outcome.targets.shape[0] for outcome in outcomes)
        losses = torch.stack([outcome.loss for outcome in outcomes]).double()
        weights = _weights(sizes, losses.device)
        totals: dict[str, Tensor] = {}
        for outputs, targets in _alike(outcomes, sum(sizes)):
            for name, part in metrics.totals(outputs, targets).items():
                totals[name] = totals[name] + part if name in totals else part
        values = {"loss": losses @ weights / sum(sizes), **metrics.read(totals)}
        scalars = {name: value.double() for name, value in values.items() if not value.dim()}
        numbers = torch.stack(list(scalars.values())).tolist()
    larger = {name: value.tolist() for name, value in values.items() if name not in scalars}
    return dict(zip(scalars, numbers, strict=True)), larger


def measure_lanes(outcomes: Sequence[Outcome], metrics: Metrics) -> list[dict[str, float]]:
    """Return what `measure` says of each lane, of outcomes whose tensors have the lanes first.

    Loss (R,), outputs (R, B, C), targets (R, B). One transfer to the host for all lanes.
    """
    sizes = tuple(outcome.targets.shape[1] for outcome in outcomes)
    with torch.no_grad():
        losses = torch.stack([outcome.loss for outcome in outcomes], 1).double()  # (R, K)
        loss = losses @ _weights(sizes, losses.device) / sum(sizes)
        outputs = wide(torch.cat([outcome.outputs for outcome in outcomes], 1))
        targets = torch.cat([outcome.targets for outcome in outcomes], 1)
        values = {"loss": loss, **_each_lane(metrics, outputs, targets)}
        numbers = torch.stack([each.double() for each in values.values()], 1).tolist()
    return [dict(zip(values, lane, strict=True)) for lane in numbers]


def _each_lane(metrics: Metrics, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return each metric that is a number, (R,); one by one where it cannot be stacked."""

    def scalars(outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        values = metrics.read(metrics.totals(outputs, targets))
        return {name: value for name, value in values.items() if not value.dim()}

    try:
        return across_lanes(scalars)(outputs, targets)
    except RuntimeError:  # a kernel without a rule for stacking, or one that goes by values
        lanes = [scalars(*pair) for pair in zip(outputs, targets, strict=True)]
        return {name: torch.stack([lane[name] for lane in lanes]) for name in lanes[0]}


@functools.lru_cache
def _weights(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """Return how many rows each batch has, in double precision; windows are alike for long."""
    return torch.tensor(sizes, dtype=torch.float64, device=device)


def _alike(outcomes: Sequence[Outcome], rows: int) -> list[tuple[Tensor, Tensor]]:
    """Return outputs and targets, small batches put together: each call has a fixed cost."""
    if rows * outcomes[0].outputs[0].numel() > LARGE:
        return [(wide(outcome.outputs), outcome.targets) for outcome in outcomes]
    outputs, targets = (torch.cat([outcome[at] for outcome in outcomes]) for at in (1, 2))
    return [(wide(outputs), targets)]
