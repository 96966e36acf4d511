"""Evaluation: metrics over whole splits, with dropout off and running statistics in use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from runner.training.feed import Batch
from runner.training.state import Outcome

Loss = Callable[[Tensor, Tensor], Tensor]
Metrics = Callable[[Tensor, Tensor], dict[str, Tensor]]


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
    model: nn.Module, batches: Sequence[Batch], loss: Loss, autocast: bool = False
) -> list[Outcome]:
    """Return the mean loss, the model's outputs and the targets of each batch."""
    device = batches[0][0].device.type
    with evaluating(model), torch.autocast(device, torch.bfloat16, enabled=autocast):
        pairs = [(model(x), y) for x, y in batches]
        return [Outcome(loss(outputs, y).mean(), outputs, y) for outputs, y in pairs]


def measure(outcomes: Sequence[Outcome], metrics: Metrics) -> dict[str, float]:
    """Return the mean loss of the samples and the metrics: the one place that reads them back."""
    with torch.inference_mode():
        outputs, targets = (torch.cat([outcome[at] for outcome in outcomes]) for at in (1, 2))
        outputs = outputs.float() if outputs.dtype is torch.bfloat16 else outputs
        losses = torch.stack([outcome.loss for outcome in outcomes]).double()
        weights = losses.new_tensor([len(outcome.targets) for outcome in outcomes])
        values = {"loss": losses @ weights / weights.sum(), **metrics(outputs, targets)}
        numbers = torch.stack([value.double() for value in values.values()]).tolist()
    return dict(zip(values, numbers, strict=True))
