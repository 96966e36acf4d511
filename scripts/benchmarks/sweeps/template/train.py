"""The program: everything is made from the configuration, trained, tested.

python train.py -m model.optimizer.lr=0.1,0.01 seed=0,1 hydra.sweep.dir=DIR
"""

from __future__ import annotations

from typing import Any

import hydra

from runner.foundation.vision import torchvision

torchvision()  # torchmetrics imports that, and cannot where it is of another build than torch

import lightning  # noqa: E402
from omegaconf import DictConfig, OmegaConf  # noqa: E402


def made(group: DictConfig) -> list[Any]:
    """Return the objects of a group that may hold several."""
    return [hydra.utils.instantiate(each) for each in group.values()]


@hydra.main(version_base="1.3", config_path="configs", config_name="train.yaml")
def main(config: DictConfig) -> float:
    """Train and test; return the best accuracy in validation."""
    lightning.seed_everything(config.seed, workers=True)
    data = hydra.utils.instantiate(config.data)
    model = hydra.utils.instantiate(config.model)
    loggers, callbacks = made(config.logger), made(config.callbacks)
    trainer = hydra.utils.instantiate(config.trainer, callbacks=callbacks, logger=loggers)
    known = OmegaConf.to_container(config, resolve=True)
    total = sum(each.numel() for each in model.parameters())
    for logger in loggers:
        logger.log_hyperparams({"config": known, "parameters": total})
    if config.train:
        trainer.fit(model, datamodule=data, ckpt_path=config.ckpt_path)
    best = dict(trainer.callback_metrics)
    if config.test:
        path = trainer.checkpoint_callback.best_model_path
        # The checkpoint holds the makers of optimizer and schedule, which are no weights.
        trainer.test(model, datamodule=data, ckpt_path=path or None, weights_only=False)
    return float(best["val/acc_best"])


if __name__ == "__main__":
    main()
