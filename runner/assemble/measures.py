"""What is measured of a model's outputs: every chosen metric, in the data's own units."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from runner.assemble.settings import Settings
from runner.components.dataset.data import Data
from runner.components.metrics import Metric
from runner.components.output import Output
from runner.components.preprocessing import Fitted
from runner.config import build
from runner.foundation.errors import Misconfigured
from runner.training.evaluation import Metrics


def measures(
    settings: Settings, data: Data, output: Output, fitted: Fitted
) -> tuple[Metrics, frozenset[str]]:
    """Return the chosen metrics as one, and the names of those that are better when higher."""
    chosen: dict[str, Metric] = {
        key: build(node, data.task, data.outputs) for key, node in settings.metrics.items()
    }
    judged = judging(data, output, fitted)

    def totals(outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        scores, truth = judged(outputs, targets)
        return {
            f"{key}/{name}": total
            for key, metric in chosen.items()
            for name, total in metric.totals(scores, truth).items()
        }

    def read(totals: dict[str, Tensor]) -> dict[str, Tensor]:
        results: dict[str, Tensor] = {}
        for key, metric in chosen.items():
            own = {name.removeprefix(f"{key}/"): total for name, total in totals.items()
                   if name.startswith(f"{key}/")}  # fmt: skip
            measured = metric.read(own)
            if twice := set(measured) & set(results):
                raise Misconfigured(f"metrics.{key}: '{min(twice)}' is measured already")
            results |= measured
        return results

    higher = frozenset(name for metric in chosen.values() for name in metric.higher_is_better)
    return Metrics(totals, read), higher


def judging(
    data: Data, output: Output, fitted: Fitted
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return `judged(outputs, targets)`: logits and classes, or numbers in the data's own units."""

    def judged(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if data.task == "regression":
            return fitted.targets.invert(outputs), fitted.targets.invert(targets)
        logits = output.logits(outputs)
        one = (logits.shape[1], data.outputs) == (1, 2)  # log odds of the second class
        return torch.cat([torch.zeros_like(logits), logits], 1) if one else logits, targets

    return judged


def blending(data: Data, output: Output) -> Callable[[Tensor, Tensor], Tensor]:
    """Return `blend(outputs, weights)`: what several models or masks say together.

    Outputs (K, B, C) and weights (K,) give (B, C): weighted means of numbers for a regression and
    for outputs that are probabilities, logits of the mean probabilities for classes.
    """

    def mean(outputs: Tensor, weights: Tensor) -> Tensor:
        return torch.einsum("kbc,k->bc", outputs, weights.to(outputs.dtype))

    def of_logits(outputs: Tensor, weights: Tensor) -> Tensor:
        one = (outputs.shape[2], data.outputs) == (1, 2)
        shares = outputs.sigmoid() if one else outputs.softmax(2)
        shares = mean(shares, weights).clamp(min=torch.finfo(outputs.dtype).tiny)
        return torch.logit(shares, eps=torch.finfo(outputs.dtype).eps) if one else shares.log()

    classes = data.task == "classification"
    return of_logits if classes and output.gives == "scores" else mean
