"""Lightning: its Trainer by default, with logger, checkpoints and bar, or `barebones`."""

from __future__ import annotations

import lightning
import torch
from torch import Tensor

from benchmarks.by_hand import optimizer_of
from benchmarks.feeds import feed
from benchmarks.gate import Criterion, Task


def train(task: Task, *, fast: bool, barebones: bool = False) -> None:
    """Fit a LightningModule without end."""
    trainer = lightning.Trainer(max_epochs=-1, accelerator="cpu", barebones=barebones)
    trainer.fit(Network(task, fast), feed(task.workload, fast))


class Network(lightning.LightningModule):
    """The module as Lightning's documentation writes one."""

    def __init__(self, task: Task, fused: bool):
        super().__init__()
        self.workload, self.fused_kernels = task.workload, fused
        self.model, self.criterion = task.workload.model(), Criterion(task.gate)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        x, y = batch
        loss: Tensor = self.criterion(self.model(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return optimizer_of(self.workload, self.parameters(), fused=self.fused_kernels)
