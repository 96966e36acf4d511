"""The budget of a run: its length in steps, and the order of its rows."""

from __future__ import annotations

from functools import partial

from runner.assemble.settings import Settings
from runner.components.dataset.data import Data
from runner.components.sampler import Sampler
from runner.config import build
from runner.foundation import rng
from runner.foundation.durations import ENDLESS, Clock
from runner.foundation.errors import Misconfigured


def budget(settings: Settings, data: Data) -> tuple[Clock, Sampler]:
    """Resolve the budget to steps: given are steps, else samples, else epochs."""
    trainer = settings.trainer
    rows = data.y[data.splits["train"]]
    sampler: Sampler = build(settings.sampler, rows, trainer.batch_size, trainer.drop_last)
    lengths = [
        trainer.steps or ENDLESS,
        -(-trainer.samples // batch_size(sampler)) if trainer.samples else ENDLESS,
        trainer.epochs * sampler.steps if trainer.epochs else ENDLESS,
    ]
    if min(lengths) == ENDLESS and trainer.minutes is None:
        raise Misconfigured("trainer: one of epochs, steps, samples and minutes must be set")
    total = next((each for each in lengths if each != ENDLESS), ENDLESS)
    return Clock(sampler.steps, total), sampler


def batch_size(sampler: Sampler) -> int:
    """Return how many rows the first batch has, and every full one."""
    return len(sampler.rows(0, partial(rng.generator, 0))[0])
