"""The schema of a whole configuration: every top-level key, its type and its range.

Group nodes are checked by the signature of the factory they name; here stand only the keys that
belong to the run itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from runner.config import Node
from runner.foundation import secrets
from runner.foundation.durations import PeriodOrMinutesText, PeriodText
from runner.foundation.ranges import Count, Positive, Range, Seed


@dataclass(frozen=True)
class Pattern:
    """A text that matches a regular expression from end to end."""

    expression: str
    description: str

    def check(self, value: str) -> None:
        """Raise a ValueError that names the first character which does not fit."""
        if re.fullmatch(self.expression, value):
            if secrets.holds(value):
                raise ValueError("a name is no place for a secret")
            return
        fits = next((n for n in range(len(value), 0, -1) if re.fullmatch(
            self.expression, value[:n])), 0)  # fmt: skip
        where = f"character {fits + 1} ({value[fits]!r})" if fits < len(value) else "its end"
        raise ValueError(f"{where} does not fit")

    def __str__(self) -> str:
        return self.description


@dataclass(frozen=True)
class Folder:
    """The path of a folder that may be made."""

    def check(self, value: str) -> None:
        """Raise a ValueError for no path, and for one with characters that no name has."""
        if not value.strip():
            raise ValueError("for the working directory write .")
        odd = next((at for at, each in enumerate(value) if ord(each) < ord(" ")), None)
        if odd is not None:
            raise ValueError(f"character {odd + 1} ({value[odd]!r}) does not fit")
        try:
            Path(value).expanduser()
        except RuntimeError as error:
            raise ValueError("there is no such user") from error

    def __str__(self) -> str:
        return ": the path of a folder"


RunName = Annotated[
    str, Pattern(r"[A-Za-z0-9][A-Za-z0-9_.,=+-]{0,79}", "of up to 80 letters, digits and _.,=+-")
]
Device = Annotated[str, Pattern(r"auto|cpu|cuda(:\d+)?", ": auto, cpu, cuda or cuda:N")]


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """How long to train, in what batches, and how often to look."""

    epochs: Count | None
    steps: Count | None
    samples: Count | None
    minutes: Positive | None
    batch_size: Count
    accumulate: Count
    drop_last: bool
    evaluation_batch_size: Count
    log_every: PeriodText
    evaluate_every: PeriodText
    save_every: PeriodOrMinutesText | None
    on_nonfinite: Literal["stop", "skip_step", "rollback"]

    @property
    def skips(self) -> bool:
        """Tell whether steps that are not finite are left out."""
        return self.on_nonfinite == "skip_step"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A whole configuration."""

    name: RunName | None
    seed: Seed
    device: Device
    precision: Literal["float32", "float64", "bfloat16", "tf32"]
    threads: Annotated[int, Range(1, 1024)] | Literal["auto"]
    compile: bool | Literal["auto", "trace"]
    objective: str
    output_root: Annotated[str, Folder()]
    tensorboard: bool
    summary: bool
    trainer: Trainer
    dataset: Annotated[Node, "dataset"]
    sampler: Annotated[Node, "sampler"]
    preprocessing: Annotated[Node, "preprocessing"]
    augmentation: dict[str, Annotated[Node, "augmentation"]]
    architecture: Annotated[Node, "architecture"]
    activation: Annotated[Node, "activation"]
    output: Annotated[Node, "output"]
    normalization: Annotated[Node, "normalization"]
    dropout: Annotated[Node, "dropout"]
    initializer: Annotated[Node, "initializer"]
    loss: Annotated[Node, "loss"]
    metrics: dict[str, Annotated[Node, "metrics"]]
    regularizer: dict[str, Annotated[Node, "regularizer"]]
    optimizer: Annotated[Node, "optimizer"]
    clipping: dict[str, Annotated[Node, "clipping"]]
    schedule: Annotated[Node, "schedule"]
    averaging: Annotated[Node, "averaging"]
    stopping: Annotated[Node, "stopping"]
    probes: Annotated[Node, "probes"]
    hooks: dict[str, Annotated[Node, "hooks"]]
