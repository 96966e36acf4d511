"""From a data set to tensors a model can be fed with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from runner.assemble.settings import Settings
from runner.components.augmentation.kind import Augmentation
from runner.components.dataset.data import SPLITS, Data
from runner.components.preprocessing import Fitted
from runner.config import build
from runner.foundation import rng
from runner.training.feed import Augment, Batch

Rows = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Prepared:
    """Splits on the device, and what a training batch still needs.

    splits    name -> (x, y), preprocessed, as evaluation sees them
    raw_train the training rows to draw batches from
    augment   what to do to a raw training batch, or None
    fitted    the preprocessing, for metrics in the data's own units
    """

    splits: dict[str, Rows]
    raw_train: Rows
    augment: Augment | None
    fitted: Fitted


def prepare(data: Data, settings: Settings, device: torch.device, dtype: torch.dtype) -> Prepared:
    """Move the splits to the device and preprocess them by what the training rows say.

    Augmentation works on raw samples, so with it the training rows are preprocessed batch by
    batch, behind it; without it everything is preprocessed once.
    """
    numbers = data.task == "regression"
    targets = dtype if numbers else data.y.dtype
    raw = {
        name: (data.x.index_select(0, rows).to(device, dtype), data.y[rows].to(device, targets))
        for name, rows in data.splits.items()
    }
    x, y = raw["train"]
    fitted = build(settings.preprocessing, x, y if numbers else None)
    splits = {
        name: (fitted.inputs.apply(x), fitted.targets.apply(y) if len(y) else y)
        for name, (x, y) in raw.items()
    }
    assert set(splits) == set(SPLITS)
    augment = augmenting(settings, fitted, data.outputs)
    return Prepared(
        splits, (x, splits["train"][1]) if augment else splits["train"], augment, fitted
    )


def checksum(settings: Settings) -> str:
    """Read a run's data, and return its hash."""
    data: Data = build(settings.dataset)
    return data.checksum()


def augmenting(settings: Settings, fitted: Fitted, classes: int) -> Augment | None:
    """Return the augmentations in their order; those that mix see classes as one-hot rows."""
    seed = settings.seed
    augmentations: list[Augmentation] = [build(node) for node in settings.augmentation.values()]
    if not augmentations:
        return None

    def augment(step: int, x: Tensor, y: Tensor) -> Batch:
        generator = rng.generator(seed, "augmentation", step, x.device)
        for augmentation in augmentations:
            if augmentation.mixes and not y.is_floating_point():
                y = F.one_hot(y, classes).to(x.dtype)
            x, y = augmentation.apply(x, y, augmentation.draw(len(x), generator))
        return fitted.inputs.apply(x), y

    return augment
