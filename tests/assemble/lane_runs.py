"""Small runs for the tests of lanes: their settings, each trained alone, and side by side."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import yaml
from torch import Tensor

from runner.assemble.lanes import Together, together
from runner.assemble.run import assemble
from runner.assemble.settings import Settings
from runner.compose import compose
from runner.config import check
from runner.foundation import options
from runner.training.evaluation import evaluating
from runner.training.lanes import Lanes, predicted
from runner.training.ready import Traced

GROUPS = options.groups([options.own_folder()])
SMALL = ["device=cpu", "threads=1", "precision=float64", "tensorboard=false", "dataset=wine",
         "architecture.hidden=[8,6]", "trainer.batch_size=16"]  # fmt: skip
CNN = ["dataset=digits", "dataset.subset=120", "architecture=cnn", "architecture.channels=[4,3]"]

NEEDS = {  # what an option needs beside itself, or to matter in few steps
    ("normalization", "group"): ["normalization.groups=2"],
    ("normalization", "instance"): CNN,
    ("dropout", "spatial"): CNN,
    ("loss", "bce"): ["dataset=breast_cancer"],
    ("loss", "bce_probabilities"): ["dataset=breast_cancer", "output=sigmoid"],
    ("loss", "mse"): ["loss.one_hot=true"],
    ("loss", "l1"): ["loss.one_hot=true"],
    ("loss", "huber"): ["loss.one_hot=true", "loss.delta=0.3"],
    ("output", "sigmoid"): ["dataset=breast_cancer", "loss=bce_probabilities"],
    ("output", "sine"): ["dataset=breast_cancer", "loss=bce_probabilities", "optimizer.lr=0.001"],
    ("regularizer", "max_norm"): ["regularizer.max_norm.limit=0.5"],
    ("clipping", "norm"): ["clipping.norm.limit=0.05"],
    ("clipping", "value"): ["clipping.value.limit=0.001"],
    ("clipping", "adaptive"): ["clipping.adaptive.eps=0.5"],
    ("averaging", "swa"): ["averaging.start=1steps", "averaging.every=2steps"],
    ("optimizer", "rmsprop"): ["optimizer.momentum=0.5"],
    ("optimizer", "rprop"): ["optimizer.largest=0.02", "optimizer.smallest=0.008"],
    ("optimizer", "rprop_torch"): ["optimizer.largest=0.02", "optimizer.smallest=0.008"],
}


@functools.cache
def base() -> dict[str, Any]:
    config = dict(compose(SMALL).config)
    config.pop("sweep", None)
    return config


@functools.cache
def node(group: str, option: str) -> dict[str, Any]:
    return options.node(group, option)


def settings(*overrides: str) -> Settings:
    """Return the small run with these options and values, without composing it anew."""
    config = copy.deepcopy(base())
    for each in overrides:
        key, _, text = each.partition("=")
        *path, last = key.split(".")
        place = functools.reduce(lambda content, name: content[name], path, config)
        is_option = not path and last in GROUPS
        place[last] = copy.deepcopy(node(last, text)) if is_option else yaml.safe_load(text)
    return check(config, Settings)


def chosen(group: str, option: str) -> list[str]:
    """Return the overrides that choose an option, with what it needs."""
    return [f"{group}={option}", *NEEDS.get((group, option), [])]


class Trained(NamedTuple):
    """What training left: losses (steps,), and by name the weights, buffers and averages.

    `seen` are loss and outputs of the validation rows; side by side, all have the lanes first.
    """

    losses: Tensor
    state: dict[str, Tensor]
    norm: Tensor
    seen: tuple[Tensor, Tensor]

    def lane(self, at: int) -> Trained:
        state = {name: each[at] for name, each in self.state.items()}
        loss, outputs = self.seen
        return Trained(self.losses[at], state, self.norm[at], (loss[at], outputs[at]))


def alone(given: Settings, steps: int) -> Trained:
    """Train a run by the plain step of one model."""
    run = assemble(given)
    state = run.state()
    step, batch = run.stepping(state), run.batches()
    losses = []
    for at in range(steps):
        factor = run.schedule.at(at, state.schedule)
        losses.append(step(*batch(at), factor, at == steps - 1).loss)
    held = {name: each.clone() for name, each in run.model.state_dict().items()}
    held |= {f"average {at}": each for at, each in enumerate(state.averages.get("mean", []))}
    assert state.gradient_norm is not None
    with state.averaged():
        (outcome,) = run.predict([run.prepared.splits["valid"]])
    return Trained(torch.stack(losses), held, state.gradient_norm, outcome[:2])


class SideBySide:
    """Runs that train as lanes, for a while at a time."""

    def __init__(
        self, given: Sequence[Settings], traced: bool = False, stack: Together | None = None
    ):
        self.stack = stack or together(given)
        self.lanes: Lanes = self.stack.lanes
        self.traced = traced
        self.losses: list[Tensor] = []
        self.begin()

    def begin(self) -> None:
        """Make the step; anew after lanes went."""
        ready = Traced(self.lanes) if self.traced else None
        self.step, self.batch = self.stack.step(ready), self.stack.batches()
        self.ready = ready

    def train(self, steps: int) -> SideBySide:
        for _ in range(steps):
            at = self.lanes.step
            factors = [run.schedule.at(at, run.schedule.init()) for run in self.stack.runs]
            outcome = self.step(*self.batch(at), torch.tensor(factors, dtype=torch.float64), True)
            self.losses.append(outcome.loss)
        assert self.ready is None or not self.ready.refusal, self.ready.refusal
        return self

    def kept(self, places: list[int]) -> None:
        """Leave only these lanes."""
        self.lanes.kept(places)
        self.stack.runs = [self.stack.runs[at] for at in places]
        self.losses = [each[places] for each in self.losses]
        self.begin()

    def trained(self) -> Trained:
        lanes = self.lanes
        held = {**lanes.weights, **lanes.buffers}
        means = lanes.averages.get("mean", [])
        held |= {f"average {at}": each for at, each in enumerate(means)}
        with evaluating(lanes.model):
            rows = self.stack.first.prepared.splits["valid"]
            outcome = predicted(lanes, self.stack.rules(), *rows)
        assert lanes.gradient_norm is not None
        losses = torch.stack(self.losses, 1)
        return Trained(losses, held, lanes.gradient_norm, outcome[:2])


def assert_same(
    ours: Trained, theirs: Trained, rtol: float = 1e-6, skip: Callable[[str], bool] | None = None
) -> None:
    """Hold a lane to a solo run: losses, gradient, weights, statistics, averages, predictions."""
    close = functools.partial(torch.testing.assert_close, rtol=rtol, atol=1e-9)
    close(ours.losses, theirs.losses)
    if skip is None:
        close(ours.norm, theirs.norm)
        close(ours.seen, theirs.seen)
    assert ours.state.keys() == theirs.state.keys()
    for name, tensor in theirs.state.items():
        if skip is None or not skip(name):
            close(ours.state[name], tensor, msg=lambda text, name=name: f"{name}: {text}")
