"""Metrics: what a model is judged by, on the device, never differentiated.

A factory takes the data's task and its number of classes or columns, and gives
`Metric(totals, read, higher_is_better)`. `totals` sums over the rows of a batch, so that the
totals of several batches add up; `read` makes results of them. Numbers are logged; whatever is
larger stands in the summary.

Scores s (N, C) are logits for classes, targets y (N,) classes or rows of shares (N, C), whose
largest counts; for a regression both are numbers (N, C) in the data's own units.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from runner.foundation.ranges import Count

Task = Literal["classification", "regression"]
Totals = dict[str, Tensor]
ALIKE = 1e-13  # a spread below this share of the sum of squares is rounding


class Metric(NamedTuple):
    """A metric, or some that are measured together.

    totals            (scores, targets) -> sums that add up over batches
    read              totals -> results by name
    higher_is_better  the names of those that grow as the model gets better
    """

    totals: Callable[[Tensor, Tensor], Totals]
    read: Callable[[Totals], dict[str, Tensor]]
    higher_is_better: frozenset[str] = frozenset()


def standard(task: Task, outputs: int) -> Metric:
    """Measure what the task is usually judged by.

    Classes: the share of right answers, `accuracy`. Regression: root-mean-square error `rmse`,
    mean absolute error `mae`, and `r2` = 1 - SSE / SST, summed over columns (nan where the
    targets do not vary).
    """
    if task == "classification":
        return _share("accuracy", _right, higher_is_better=True)
    return Metric(_errors, _regression, frozenset({"r2"}))


def error(task: Task, outputs: int) -> Metric:
    """Measure the zero-one error: the share of wrong answers, 1 - accuracy."""
    _needs_classes("error", task)
    return _share("error", lambda scores, y: ~_right(scores, y), higher_is_better=False)


def top_k(task: Task, outputs: int, *, k: Count) -> Metric:
    """Measure `top{k}`: in what share of rows the right class has one of the k largest scores."""
    _needs_classes("top_k", task)
    if k > outputs:
        raise ValueError(f"k={k} of {outputs} classes; use metrics.top_k.k <= {outputs}")

    def among(scores: Tensor, y: Tensor) -> Tensor:
        return (scores.topk(k, 1).indices == y[:, None]).any(1)

    return _share(f"top{k}", among, higher_is_better=True)


def calibration(task: Task, outputs: int, *, bins: Count) -> Metric:
    """Measure `calibration_error`: how far confidence is from the share of right answers.

    Confidence is the largest of softmax(s). In `bins` equal intervals of it the two are compared:
    sum over bins of (rows / N) |accuracy - mean confidence| (Guo et al. 2017).
    """
    _needs_classes("calibration", task)

    def totals(scores: Tensor, targets: Tensor) -> Totals:
        confidence = scores.double().softmax(1).amax(1)
        inner = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=scores.device)[1:-1]
        chosen = torch.bucketize(confidence, inner)[:, None]  # bin i is (i, i + 1] / bins
        member = (chosen == torch.arange(bins, device=scores.device)).double()  # (N, bins)
        lacking = _right(scores, _classes(targets)).double() - confidence
        return {"rows": member.sum(), "lacking": lacking @ member}

    def read(totals: Totals) -> dict[str, Tensor]:
        return {"calibration_error": totals["lacking"].abs().sum() / totals["rows"]}

    return Metric(totals, read)


def confusion(task: Task, outputs: int) -> Metric:
    """Count the matrix `confusion` (C, C): rows are the true classes, columns the answers."""
    _needs_classes("confusion", task)

    def totals(scores: Tensor, targets: Tensor) -> Totals:
        cells = _classes(targets) * outputs + scores.argmax(1)
        empty = torch.zeros(outputs**2, dtype=torch.int64, device=cells.device)
        return {"cells": empty.index_add(0, cells, torch.ones_like(cells))}

    def read(totals: Totals) -> dict[str, Tensor]:
        return {"confusion": totals["cells"].unflatten(-1, (outputs, outputs))}

    return Metric(totals, read)


def _share(name: str, hit: Callable[[Tensor, Tensor], Tensor], *, higher_is_better: bool) -> Metric:
    """Measure the share of rows for which `hit(scores, classes)` holds."""

    def totals(scores: Tensor, targets: Tensor) -> Totals:
        hits = hit(scores, _classes(targets))
        return {"hits": hits.sum(), "rows": hits.new_full((), len(hits), dtype=torch.int64)}

    def read(totals: Totals) -> dict[str, Tensor]:
        return {name: totals["hits"].double() / totals["rows"]}

    return Metric(totals, read, frozenset({name} if higher_is_better else ()))


def _needs_classes(name: str, task: Task) -> None:
    if task != "classification":
        raise ValueError(f"'{name}' is for classes, the data has numbers; use metrics=standard")


def _classes(targets: Tensor) -> Tensor:
    return targets.argmax(1) if targets.is_floating_point() else targets


def _right(scores: Tensor, y: Tensor) -> Tensor:
    return scores.max(1).indices == y  # the same as argmax, in half the time


def _errors(outputs: Tensor, targets: Tensor) -> Totals:
    """Sum what rmse, mae and r2 need, in float64."""
    y = targets.double()
    residual = outputs.double() - y
    return {
        "rows": residual.new_full((), len(residual)),
        "absolute": residual.abs().sum(0),
        "squared": residual.square().sum(0),
        "sum": y.sum(0),
        "sum of squares": y.square().sum(0),
    }


def _regression(totals: Totals) -> dict[str, Tensor]:
    """Read rmse, mae and r2; all sums but that of the rows are (C,)."""
    rows, squares, squared = totals["rows"], totals["sum of squares"], totals["squared"]
    spread = squares - totals["sum"].square() / rows
    spread = torch.where(spread > ALIKE * squares, spread, 0).sum()
    return {
        "rmse": (squared.mean() / rows).sqrt(),
        "mae": totals["absolute"].mean() / rows,
        "r2": torch.where(spread > 0, 1 - squared.sum() / spread, torch.nan),
    }
