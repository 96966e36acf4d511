"""The data module: digits, divided at random."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningDataModule
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split

Loader = DataLoader[tuple[Tensor, ...]]


class Digits(LightningDataModule):
    """Handwritten digits of 8 x 8 as standardized columns."""

    def __init__(
        self, batch_size: int, valid: int, test: int, num_workers: int, pin_memory: bool
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.train_rows: Dataset[Any] | None = None
        self.valid_rows: Dataset[Any] | None = None
        self.test_rows: Dataset[Any] | None = None

    def setup(self, stage: str | None = None) -> None:
        """Read and divide the rows, once."""
        if self.train_rows is not None:
            return
        digits = load_digits()
        x, y = torch.tensor(digits.data, dtype=torch.float32), torch.tensor(digits.target)
        deviation = x.std(0, correction=0)
        x = (x - x.mean(0)) / torch.where(deviation > 0, deviation, 1)
        sizes = [len(y) - self.hparams.valid - self.hparams.test,
                 self.hparams.valid, self.hparams.test]  # fmt: skip
        self.train_rows, self.valid_rows, self.test_rows = random_split(
            TensorDataset(x, y), sizes, generator=torch.Generator().manual_seed(42)
        )

    def train_dataloader(self) -> Loader:
        return self._loader(self.train_rows, shuffle=True, drop_last=True)

    def val_dataloader(self) -> Loader:
        return self._loader(self.valid_rows)

    def test_dataloader(self) -> Loader:
        return self._loader(self.test_rows)

    def _loader(self, rows: Any, **options: bool) -> Loader:
        given = self.hparams
        return DataLoader(rows, given.batch_size, num_workers=given.num_workers,
                          pin_memory=given.pin_memory, **options)  # fmt: skip
