"""Small data sets that scikit-learn ships: they need no network and no files of the user's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from runner.components.dataset.data import Data, split


@split
def digits() -> Data:
    """Load 1797 images of handwritten digits, 1 x 8 x 8, values 0 to 16, 10 classes."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.as_tensor(bunch.images, dtype=torch.float32)[:, None]
    return Data(
        images, torch.as_tensor(bunch.target), "classification", tuple(map(str, bunch.target_names))
    )


@split
def wine() -> Data:
    """Load 178 wines, 13 measurements on scales from 0.1 to 1000, 3 classes."""
    from sklearn.datasets import load_wine

    return _classes(load_wine())


@split
def breast_cancer() -> Data:
    """Load 569 tumours, 30 measurements with spreads from 0.003 to 570, 2 classes."""
    from sklearn.datasets import load_breast_cancer

    return _classes(load_breast_cancer())


@split
def diabetes() -> Data:
    """Load 442 patients, 10 features in raw units, disease progression (25 to 346) to predict."""
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes(scaled=False)
    target = torch.as_tensor(bunch.target, dtype=torch.float32)[:, None]
    x = torch.as_tensor(bunch.data, dtype=torch.float32)
    return Data(x, target, "regression", ("progression",))


def _classes(bunch: Any, images: Tensor | None = None) -> Data:
    x = torch.as_tensor(bunch.data, dtype=torch.float32) if images is None else images
    labels = tuple(map(str, bunch.target_names))
    return Data(x, torch.as_tensor(bunch.target), "classification", labels)
