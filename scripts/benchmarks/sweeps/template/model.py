"""The Lightning module: a network with metrics of each phase, an optimizer and a schedule."""

from __future__ import annotations

from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import MaxMetric, MeanMetric
from torchmetrics.classification.accuracy import Accuracy

Batch = tuple[Tensor, Tensor]


class Classifier(LightningModule):
    """Train any network to tell classes apart."""

    def __init__(self, net: nn.Module, optimizer: Any, scheduler: Any, classes: int) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False, ignore=["net"])
        self.net, self.criterion = net, nn.CrossEntropyLoss()
        self.train_acc, self.val_acc, self.test_acc = (
            Accuracy(task="multiclass", num_classes=classes) for _ in range(3)
        )
        self.train_loss, self.val_loss, self.test_loss = (MeanMetric() for _ in range(3))
        self.val_acc_best = MaxMetric()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def on_train_start(self) -> None:
        """Forget what the check before training measured."""
        for metric in (self.val_loss, self.val_acc, self.val_acc_best):
            metric.reset()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        return self._step("train", batch, self.train_loss, self.train_acc)

    def validation_step(self, batch: Batch, index: int) -> None:
        self._step("val", batch, self.val_loss, self.val_acc)

    def on_validation_epoch_end(self) -> None:
        """Log the best accuracy so far, as a number: a metric object would be reset."""
        self.val_acc_best(self.val_acc.compute())
        self.log("val/acc_best", self.val_acc_best.compute(), sync_dist=True, prog_bar=True)

    def test_step(self, batch: Batch, index: int) -> None:
        self._step("test", batch, self.test_loss, self.test_acc)

    def _step(self, phase: str, batch: Batch, mean: MeanMetric, accuracy: Any) -> Tensor:
        x, y = batch
        logits = self(x)
        loss: Tensor = self.criterion(logits, y)
        mean(loss)
        accuracy(logits.argmax(1), y)
        for name, metric in (("loss", mean), ("acc", accuracy)):
            self.log(f"{phase}/{name}", metric, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer: torch.optim.Optimizer = self.hparams.optimizer(params=self.parameters())
        schedule = {"scheduler": self.hparams.scheduler(optimizer=optimizer),
                    "monitor": "val/loss", "interval": "epoch", "frequency": 1}  # fmt: skip
        return {"optimizer": optimizer, "lr_scheduler": schedule}
