"""Look into a run while it trains: before the first step, now and then, and at the end.

What is looked at is a copy, on rows that are always the same, so that the run's numbers are the
same with and without. Verdicts are given on what is seen: at once where the untrained network is at
fault, all of them at the end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from runner.assemble.facts import facts
from runner.assemble.run import Run
from runner.components.probes import Probes
from runner.diagnosis import curvature
from runner.diagnosis.layers import layers
from runner.diagnosis.probe import Probe, probe, trial
from runner.diagnosis.verdicts import configuration
from runner.diagnosis.verdicts.kind import Verdict
from runner.foundation.errors import Interrupted, Unwritable
from runner.foundation.files import read_json, write_json
from runner.recording import directory
from runner.recording.recorder import Recorder
from runner.reports import diagnosis
from runner.training.evaluation import predict
from runner.training.loop import Hook, Row
from runner.training.state import State

SAID = {each.name for each in configuration.KINDS}  # before the run, where it is that bad
AGAIN = 16  # rows that are evaluated twice, for noise
HISTOGRAM = 10_000  # numbers of a tensor, taken evenly


class Probing:
    """Looks into the model of a run, each a row for the recorder."""

    def __init__(self, run: Run, recorder: Recorder):
        self.run, self.recorder, self.probes = run, recorder, run.probes
        self.looks = self.probes.level != "none" and (recorder.swept is None or self.probes.jobs)
        self._before: dict[str, Tensor] = {}
        self._told: set[str] = set()

    def begin(self, model: nn.Module, step: int) -> None:
        """Look at the untrained network; note the facts where they are not known.

        A fault is warned of at once.
        """
        if not self.looks:
            return
        with self._forgiving():
            known = self.recorder.folder / directory.DIAGNOSIS
            if not self.recorder.resumed or not read_json(known):
                write_json(known, {"facts": facts(self.run)})
        if not self.recorder.resumed:
            self._look(model, step)
        self._note(model, step + 1)

    def hooks(self) -> list[Hook]:
        """Return what looks after the steps of a run alone."""

        def look(state: State, row: Row) -> None:
            if state.ended or self.wants(state.step):
                self.recorder.stopwatch.rest()
                self.after(state.model, state.step, state.ended)

        return [Hook(1, look)] if self.looks else []

    def wants(self, step: int) -> bool:
        """Tell whether there is something to look at or to note after a step."""
        return self.looks and (self._due(step) or self._due(step + 1))

    def after(self, model: nn.Module, step: int, last: bool) -> None:
        """Look after a step that is due or the last, and note the weights before one that is."""
        if self.looks and (last or self._due(step)):
            self._look(model, step)
        self._note(model, step + 1)

    def _due(self, step: int) -> bool:
        clock = self.run.clock
        return step == clock.total or self.probes.due(step, clock.steps_per_epoch)

    def _note(self, model: nn.Module, coming: int) -> None:
        """Keep the weights that a step changes if that is looked at."""
        if self.looks and self._due(coming):
            self._before = {each.name: each.weight.detach().clone() for each in layers(model)}

    def _look(self, model: nn.Module, step: int) -> None:
        """Probe a model as it is after a step and record what is found; judge how it begins."""
        with self._forgiving():
            row, found = look(self.run, model, step, self.probes)
            for each in layers(model):
                if each.name in self._before and each.name in found.layers:
                    old = self._before[each.name]
                    change = (each.weight.detach() - old).norm() / old.norm().clamp(min=1e-30)
                    row["layers"][each.name]["update"] = float(change)
            full = self.probes.level == "full"
            self.recorder.probed(row, _distributions(model, found) if full else {})
        self._before = {}
        if step in (0, self.run.clock.steps_per_epoch):
            self._warn()

    def _warn(self) -> None:
        """Say what is known to be a fault already."""
        terminal = self.recorder.terminal
        for verdict in diagnosed(self.recorder.folder, terminal.warn):
            if verdict.severity == "fault" and verdict.name not in self._told | SAID:
                self._told.add(verdict.name)
                terminal.warn(diagnosis.line(verdict))

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Let a run that cannot be looked at go on, without further looks."""
        try:
            yield
        except (Interrupted, Unwritable) as error:
            if isinstance(error, Interrupted):
                raise
            self.recorder.terminal.warn(str(error))
        except Exception as error:  # a model of the user's own, no memory for a copy of it
            self.looks = False
            self.recorder.terminal.warn(f"the network is looked at no more: {error!r}")


def diagnosed(folder: Path, warn: Callable[[str], None], state: str | None = None) -> list[Verdict]:
    """Judge a run that was looked at; whatever goes wrong with that costs the verdicts alone.

    A disk that is full while the run goes on may have room at its end.
    """
    try:
        return diagnosis.judged(folder, state)
    except Unwritable as error:
        if state is not None:
            warn(str(error))
    except Exception as error:
        warn(f"{folder}: no diagnosis: {error!r}")
    return []


def look(run: Run, model: nn.Module, step: int, probes: Probes) -> tuple[dict[str, Any], Probe]:
    """Return what a run's model is like after a step, as a row of probes.jsonl, and the rest.

    loss_in_evaluation   the loss of the same rows, as at test
    noise_in_evaluation  between two evaluations of a row, in variances of the outputs: should be 0
    """
    x, y = run.prepared.splits["train"]
    count = min(probes.rows, len(x))
    chosen = torch.arange(count, device=x.device) * len(x) // count
    x, y = x[chosen], y[chosen]
    found = probe(model, run.loss, x, y)
    few = (x[:AGAIN], y[:AGAIN])
    whole, once, again = predict(model, [(x, y), few, few], run.loss)
    outputs = once.outputs.double()
    apart = (again.outputs - outputs).square().mean() / outputs.var().clamp(min=1e-12)
    network = {**found.network, "loss_in_evaluation": float(whole.loss),
               "noise_in_evaluation": float(apart)}  # fmt: skip
    if probes.level == "full":
        copied = trial(model)
        network |= curvature.curvature(copied, run.loss, x, y)
        network |= curvature.gradient_noise(copied, run.loss, x, y)
        network |= curvature.jacobian(copied, x)
    epoch = step / run.clock.steps_per_epoch
    return {"step": step, "epoch": epoch, "layers": found.layers, "network": network}, found


def _distributions(model: nn.Module, found: Probe) -> dict[str, Tensor]:
    """Return activations, gradients and weights of each layer for histograms."""
    weights = {each.name: each.weight for each in layers(model)}
    drawn = {}
    for name, (_, a, gradient) in found.seen.items():
        drawn[f"activations/{name}"] = a
        drawn[f"weights/{name}"] = weights[name]
        if gradient is not None:
            drawn[f"gradients/{name}"] = gradient * len(a)
    return {tag: _sample(each) for tag, each in drawn.items()}


def _sample(tensor: Tensor) -> Tensor:
    flat = tensor.detach().flatten()
    return flat[:: max(1, len(flat) // HISTOGRAM)].float().cpu()
