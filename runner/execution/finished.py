"""A run read back from its directory: the best weights, ready to use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from runner.assemble.facts import facts
from runner.assemble.fold import folded
from runner.assemble.run import Run, assemble
from runner.assemble.settings import Settings
from runner.components.dataset.data import SPLITS, Data
from runner.components.probes import Probes
from runner.execution.kept import packed_of
from runner.execution.probing import look
from runner.foundation.files import read_json, read_yaml
from runner.recording import directory

ROWS = 128  # that a run is looked at with which had no probes


@dataclass
class Finished:
    """What `runner.load` gives.

    model    the best weights (the last ones where there was no validation split), in
             evaluation mode
    data     the data set with its splits, in its own units; `preprocess` gives what the model
             takes
    config   the recorded configuration, as plain values
    metrics  the rows of metrics.jsonl
    summary  summary.json
    """

    model: nn.Module
    data: Data
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    summary: dict[str, Any]
    run: Run
    step: int
    which: str

    def preprocess(self, x: Any) -> Any:
        """Turn raw samples into what the model was trained on."""
        parameter = next(self.model.parameters())
        return self.run.prepared.fitted.inputs.apply(x.to(parameter))

    def predict(self, split: str) -> Tensor:
        """Return the model's outputs for the raw rows of a split: logits, or targets as given."""
        rows = self.data.x[self.data.splits[split]]
        with torch.no_grad():
            outputs = self.run.forward()(self.preprocess(rows))
        return outputs if self.data.task == "classification" else self._invert(outputs)

    def _invert(self, outputs: Tensor) -> Tensor:
        return self.run.prepared.fitted.targets.invert(outputs)

    def folded(self) -> nn.Module:
        """Return the model for inference, each batch norm merged into its neighbouring layer."""
        return folded(self.model)

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Return loss and metrics of every split that is not empty."""
        return {name: self.run.evaluate(name) for name in SPLITS if len(self.data.splits[name])}


def afterwards(
    settings: Settings, folder: Path, warn: Callable[[str], None]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the facts of a run, and looks at it untrained and as its last checkpoint has it."""
    run, probes = assemble(settings), Probes("light", rows=ROWS)
    state = run.state()
    known, first = facts(run), look(run, run.model, 0, probes)[0]
    state.unpack(packed_of(folder, state, warn))
    return known, [first, look(run, run.model, state.step, probes)[0]]


def finished(settings: Settings, folder: Path, warn: Callable[[str], None]) -> Finished:
    """Assemble a recorded run and load its best weights from the newest usable checkpoint."""
    run = assemble(settings)
    state = run.state()
    state.unpack(packed_of(folder, state, warn))
    which, step = ("best", state.best.step) if state.best.weights else ("last", state.step)
    state.restore_best()
    run.settle()
    return Finished(
        model=run.model.eval(),
        data=run.data,
        config=read_yaml(folder / directory.CONFIG),
        metrics=list(directory.read_rows(folder / directory.METRICS)),
        summary=read_json(folder / directory.SUMMARY),
        run=run,
        step=step,
        which=which,
    )
