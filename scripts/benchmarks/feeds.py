"""Batches for the contenders by hand and in frameworks: ready-made, or as documentation has them.

`Ready` keeps the whole data set as normalized tensors and picks batches by index. `documented`
is a DataLoader over a data set that transforms one sample at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from benchmarks.workloads import PADDING, Rows, Workload, rows, statistics


class Ready:
    """Batches of a permutation of the rows, an epoch each time it is iterated."""

    def __init__(self, workload: Workload, given: Rows | None = None):
        given = given or rows(workload)
        mean, deviation = statistics(given.x)
        self.batch, self.y, self.augmented = workload.batch, given.y, workload.augmented
        padded = F.pad(given.x, [PADDING] * 4) if self.augmented else given.x
        self.x = padded.float().sub_(mean).div_(deviation)
        if self.augmented:  # (N, channels, 5, 5, H, W): every crop is a view
            height, width = workload.shape[1:]
            self.x = self.x.unfold(2, height, 1).unfold(3, width, 1)

    def __len__(self) -> int:
        return len(self.y) // self.batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.y))
        pick = self._cropped if self.augmented else self._picked
        for start in range(0, len(self) * self.batch, self.batch):
            numbers = order[start : start + self.batch]
            yield pick(numbers), self.y.index_select(0, numbers)

    def _picked(self, numbers: Tensor) -> Tensor:
        return self.x.index_select(0, numbers)

    def _cropped(self, numbers: Tensor) -> Tensor:
        """Return images with a crop and a mirror image drawn for each, (B, channels, H, W)."""
        top, left = torch.randint(2 * PADDING + 1, (2, len(numbers)))
        x = self.x[numbers, :, top, left]
        mirrored = torch.rand(len(numbers), 1, 1, 1) < 0.5
        return torch.where(mirrored, x.flip(-1), x)


class Pictures(Dataset[tuple[Any, int]]):
    """Images of bytes, each made a PIL image and transformed when it is asked for."""

    def __init__(self, given: Rows, transform: Callable[[Any], Any]):
        # as files are read: (N, H, W) of grey images, (N, H, W, 3) of colour ones
        self.images = given.x.permute(0, 2, 3, 1).squeeze(-1).contiguous()
        self.labels, self.transform = given.y, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        image = Image.fromarray(self.images[index].numpy())
        return self.transform(image), int(self.labels[index])


def samples(workload: Workload) -> Dataset[Any]:
    """Return the data set that documentation would have: transforms for images, else tensors."""
    given = rows(workload)
    mean, deviation = statistics(given.x)
    if len(workload.shape) == 1:
        return TensorDataset((given.x - mean) / deviation, given.y)
    return Pictures(given, _transform(workload, mean / 255, deviation / 255))


def documented(workload: Workload) -> DataLoader[Any]:
    """Return a shuffled DataLoader of full batches."""
    return DataLoader(samples(workload), workload.batch, shuffle=True, drop_last=True)


def feed(workload: Workload, fast: bool) -> Any:
    """Return an iterable of batches, one of the two."""
    return Ready(workload) if fast else documented(workload)


def _transform(workload: Workload, mean: Tensor, deviation: Tensor) -> Callable[[Any], Any]:
    from runner.foundation.vision import torchvision

    torchvision()
    from torchvision import transforms

    random = [
        transforms.RandomCrop(workload.shape[1:], PADDING),
        transforms.RandomHorizontalFlip(),
    ]
    return transforms.Compose(
        [
            *(random if workload.augmented else []),
            transforms.ToTensor(),
            transforms.Normalize(mean.flatten().tolist(), deviation.flatten().tolist()),
        ]
    )
