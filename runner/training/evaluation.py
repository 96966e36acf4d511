"""Evaluation: metrics over whole splits, with dropout off and running statistics in use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from runner.training.feed import Batch
from runner.training.state import Outcome

Metrics = Callable[[Tensor, Tensor], dict[str, Tensor]]


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch a model to evaluation and back; nobody else flips the switch."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def predict(model: nn.Module, batches: Sequence[Batch], autocast: bool = False) -> Outcome:
    """Return the model's outputs for every row, with the targets."""
    device = batches[0][0].device.type
    with evaluating(model), torch.autocast(device, torch.bfloat16, enabled=autocast):
        outputs = torch.cat([model(x) for x, _ in batches])
    return Outcome(torch.tensor(0.0), outputs, torch.cat([y for _, y in batches]))


def measure(
    outputs: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor], metrics: Metrics
) -> dict[str, float]:
    """Return the mean loss and the metrics as numbers: the one place that reads them back."""
    with torch.inference_mode():
        outputs = outputs.float() if outputs.dtype is torch.bfloat16 else outputs
        values = {"loss": loss(outputs, targets).mean(), **metrics(outputs, targets)}
        numbers = torch.stack([value.double() for value in values.values()]).tolist()
    return dict(zip(values, numbers, strict=True))
