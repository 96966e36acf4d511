"""Facts of a run that verdicts need and no curve shows: of its data, and of its layers."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from runner.assemble.budget import batch_size
from runner.assemble.run import Run
from runner.diagnosis.curvature import conditioning
from runner.diagnosis.layers import Layer, layers, tails
from runner.foundation import rng
from runner.foundation.durations import ENDLESS
from runner.training.evaluation import predict

ROWS, NUMBERS = 5000, 2**22  # of the training data that are looked at, at most
COLUMNS = 512  # of which dependence is looked for
BATCHES = 8


def facts(run: Run) -> dict[str, Any]:
    """Return what `runner.diagnosis.verdicts.Evidence` has as facts.

    floor: no loss of ours is ever below 0; of a user's own nothing is known.
    chance: the loss of a network that answers 0 to everything.
    """
    own = hasattr(run.settings.loss.factory, "traits")
    norms = [type(each).__name__ for each in run.model.modules() if "Norm" in type(each).__name__]
    return {
        "task": run.data.task,
        "outputs": run.data.outputs,
        "batch": batch_size(run.sampler),
        "steps": run.clock.total if run.clock.total < ENDLESS else None,
        "norms": len(norms),
        "batch_norms": sum("Batch" in name for name in norms),
        "floor": 0.0 if own else None,
        "chance": _chance(run) if own else None,
        "layers": {each.name: _layer(each) for each in layers(run.model)},
        "data": _data(run),
    }


def _chance(run: Run) -> float:
    """Return the loss of one answer for all: equal scores, or the mean of the targets."""
    x, y = (part[:ROWS] for part in run.prepared.splits["train"])
    given = predict(run.model, [(x[:1], y[:1])], run.loss)[0].outputs
    answers = given.new_zeros(len(y), *given.shape[1:])
    if run.data.task == "regression":
        answers = answers + y.mean(0)
    return float(run.loss(answers, y).mean())


def _layer(each: Layer) -> dict[str, Any]:
    known: dict[str, Any] = {"units": len(each.weight)}
    if each.activation is not None:
        found = tails(each.activation)
        known |= {"activation": type(each.activation).__name__, "squashes": found.squashes,
                  "rectifies": found.rectifies}  # fmt: skip
    return known


def _data(run: Run) -> dict[str, Any]:
    """Look at the rows as the network gets them, those of training: 5000 at most, taken evenly.

    magnitude    root mean square of the inputs
    offset       largest distance of a column's mean from 0, in its standard deviations
    scale_spread largest of the columns' standard deviations against the smallest
    condition    number of the columns' covariance
    """
    x = run.prepared.splits["train"][0]
    count = min(ROWS, len(x), max(2, NUMBERS // x[0].numel()))
    x = x[torch.arange(count, device=x.device) * len(x) // count]
    columns = x.flatten(1).double()
    variance, mean = torch.var_mean(columns, 0, correction=0)
    spread, rms = variance.sqrt(), (variance + mean.square()).mean().sqrt()
    varying = spread > 1e-6 * spread.max().clamp(min=1e-30)
    found: dict[str, Any] = {
        "rows": len(run.data.splits["train"]),
        "columns": x.dim() == 2,
        "magnitude": float(rms),
        "offset": float(
            mean.mean().abs() / (rms.square() - mean.mean().square()).clamp(min=1e-30).sqrt()
        ),
        "leaks": _leaks(run),
    }
    if x.dim() == 2 and varying.any():
        kept = spread[varying]
        found["scale_spread"] = float(kept.max() / kept.min())
        found["offset"] = float((mean.abs()[varying] / kept).max())
        if len(kept) <= COLUMNS:
            found["condition"] = conditioning(columns[:, varying]).get("input_condition")
    if run.data.task == "classification":
        counts = run.data.y[run.data.splits["train"]].bincount(minlength=run.data.outputs)
        present = counts[counts > 0]
        found["largest_class"] = float(counts.max() / counts.sum())
        found["class_ratio"] = float(present.max() / present.min())
        found["batch_purity"] = _purity(run)
    return found


def _purity(run: Run) -> float:
    """Return the mean share of the commonest class in the first batches of training."""
    y = run.data.y[run.data.splits["train"]]
    blocks = run.sampler.rows(0, partial(rng.generator, run.settings.seed))[:BATCHES]
    shares = [float(y[rows.cpu()].bincount().max() / len(rows)) for rows in blocks]
    return math.fsum(shares) / len(shares)


def _leaks(run: Run) -> dict[str, float]:
    """Return the share of rows of the other splits that stand in the training split too."""
    hashes = _hashes(run.data.x)
    splits = run.data.splits
    return {
        name: float(torch.isin(hashes[rows], hashes[splits["train"]]).double().mean())
        for name, rows in splits.items()
        if name != "train" and len(rows)
    }


def _hashes(x: Tensor) -> Tensor:
    """Return a number for each row (N,): rows of the same bytes have the same."""
    rows = x.detach().cpu().flatten(1).contiguous().view(torch.uint8)
    padded = torch.nn.functional.pad(rows, (0, -rows.shape[1] % 8)) if rows.shape[1] % 8 else rows
    words = padded.view(torch.int64)  # (N, D)
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(1, 2**62, (words.shape[1],), generator=generator)
    return words @ (2 * factors + 1)  # modulo 2^64
