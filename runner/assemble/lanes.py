"""Which runs can be lanes of one program, and lanes assembled from their settings.

Runs that differ only in numbers of the update, of penalties, clipping, loss and dropout, in the
seed, and in what happens on the host between steps (initializer, schedule, stopping rule), share
their kernels. What changes a shape, the data or the graph starts a new group. A 0 switches its part
off, so it counts as structure: how a lane is computed never depends on the other lanes' numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from runner.assemble.data import augmenting
from runner.assemble.measures import measures
from runner.assemble.model import construct, place
from runner.assemble.run import Run, assemble, columns_of, optimizer_of, tried
from runner.assemble.settings import Settings
from runner.components import regularizer
from runner.components.dropout import Dropout
from runner.components.normalization import batchwise
from runner.config import Node, build, maker
from runner.foundation import rng
from runner.foundation.errors import Misconfigured, no_exit
from runner.training.feed import Batch
from runner.training.lanes import Lanes, Numbers, Step, prepare, stacked
from runner.training.noise import noise_of_lanes
from runner.training.step import Ready, Rules

ON_HOST = {"seed", "name", "initializer", "schedule", "stopping"}  # each lane has its own
NUMBERED = {"regularizer", "clipping", "loss", "dropout", "averaging"}  # whose floats are numbers


class Group(NamedTuple):
    """Runs that belong together: their places, and why each trains alone ("" as lanes)."""

    members: list[int]
    refusal: str


def groups(settings: Sequence[Settings]) -> list[Group]:
    """Return the groups of runs that can be lanes of one program, in the order they appear.

    A run whose own code fails is a group of its own: it says so when it trains.
    """
    found: dict[str, list[int]] = {}
    failed: dict[str, str] = {}
    for at, each in enumerate(settings):
        try:
            with no_exit():
                key = structure(each)
        except Misconfigured:
            raise
        except Exception as error:  # whatever that code says
            key = f"run {at}"
            failed[key] = f"its optimizer cannot be made: {type(error).__name__}: {error}"
        found.setdefault(key, []).append(at)
    return [Group(members, failed.get(key) or refusal(settings[members[0]]))
            for key, members in found.items()]  # fmt: skip


def refusal(settings: Settings) -> str:
    """Say why runs of such settings cannot be lanes, or nothing."""
    optimizer = optimizer_of(settings.optimizer)
    if optimizer.needs != "gradient" or inspect.isclass(settings.optimizer.factory):
        name = settings.optimizer.factory.__name__
        return f"optimizer {name} goes by values of one model or keeps a state of its own"
    if settings.hooks:
        return "hooks look at one model"
    if settings.normalization.factory is batchwise.full_data:
        return "normalization full_data runs the whole data set through one model"
    if settings.dropout.arguments.get("average", "none") != "none":
        return "dropout.average predicts by many masks of one model"
    if settings.trainer.accumulate > 1:
        return "trainer.accumulate spares memory, lanes spend it"
    if settings.trainer.minutes is not None:
        return "trainer.minutes ends each run by its own clock"
    if settings.trainer.on_nonfinite == "rollback":
        return "trainer.on_nonfinite=rollback takes each run back by itself"
    return ""


def numbers_of(settings: Settings) -> dict[str, float]:
    """Return the numbers in which lanes of a group may differ, by their keys.

    Those of the optimizer are called as its rule calls them: `optimizer.beta1`.
    """
    hyper = optimizer_of(settings.optimizer).hyper
    numbers = {f"optimizer.{name}": float(each) for name, each in hyper.items() if _counts(each)}
    for group in sorted(NUMBERED):
        choice = getattr(settings, group)
        for node in [choice] if isinstance(choice, Node) else choice.values():
            if _numbered(node):
                floats = {name: each for name, each in node.arguments.items() if _counts(each)}
                numbers |= {f"{node.key}.{name}": each for name, each in floats.items()}
    return {**numbers, "optimizer.lr": float(hyper["lr"])}


def _counts(value: Any) -> bool:
    return isinstance(value, float) and value != 0


def _numbered(node: Node) -> bool:
    """Tell whether a node's floats are numbers of a lane: not where it keeps noise in an object."""
    return node.factory is not regularizer.jacobian


def structure(settings: Settings) -> str:
    """Return what runs must share to be lanes of one program, as a text."""
    own = optimizer_of(settings.optimizer)
    marks = {name: _counts(each) or name == "lr" for name, each in own.hyper.items()}
    optimizer = _marked(settings.optimizer, {*own.hyper, "betas"})
    rest = {
        field.name: _marked(getattr(settings, field.name), None)
        if field.name in NUMBERED
        else _plain(getattr(settings, field.name))
        for field in fields(settings)
        if field.name not in {*ON_HOST, "optimizer"}
    }
    return repr((optimizer, marks, rest))


def _marked(value: Any, names: set[str] | None) -> Any:
    """Return a choice with a mark for each number of these names, or for each of any name."""
    if isinstance(value, Mapping):
        return {key: _marked(each, names) for key, each in value.items()}

    def is_number(name: str, each: Any) -> bool:
        return _counts(each) and _numbered(value) if names is None else name in names

    return _called(value), {
        name: "a number" if is_number(name, each) else _plain(each)
        for name, each in value.arguments.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Node):
        return _called(value), _plain(value.arguments)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _called(node: Node) -> tuple[str, str]:
    return node.key, f"{node.factory.__module__}.{node.factory.__qualname__}"


@dataclass
class Together:
    """Runs assembled as lanes: they share data and code, each has settings and a model of its own.

    `first` lends what is shared; `runs` has one run for each lane. With `fixed` the number of
    lanes stays, since their kernels were written for it.
    """

    first: Run
    runs: list[Run]
    lanes: Lanes
    fixed: bool = False

    def step(self, ready: Ready | None = None, whole: bool = False) -> Step:
        """Return the training step of all lanes; `ready` may make it faster."""
        noisy = [*self.lanes.model.modules(), *self.first.penalties]
        seeds = [run.settings.seed for run in self.runs]
        draw = noise_of_lanes(noisy, seeds, self.first.device)
        return prepare(self.lanes, self.rules(whole), draw, ready)

    def rules(self, whole: bool = False) -> Callable[[Numbers], Rules]:
        """Return what gives the rules of a lane by its numbers."""
        first, settings = self.first, self.first.settings
        given = first.rules(whole)
        optimizer = given.optimizer._replace(in_place=None)
        nodes = list(settings.regularizer.values())
        masks = [part for part in self.lanes.model.modules() if isinstance(part, Dropout)]

        dtype = next(iter(self.lanes.weights.values())).dtype

        def rules_of(numbers: Numbers) -> Rules:
            # Stacked, what is clamped to a limit in float64 would go on in float64.
            limits = {name: each.to(dtype) for name, each in numbers.items()
                      if name.startswith(("clipping.", "loss."))}  # fmt: skip
            numbers = {**numbers, **limits}

            def filled(node: Node) -> Node:
                own = {name: numbers[f"{node.key}.{name}"] for name in node.arguments
                       if f"{node.key}.{name}" in numbers}  # fmt: skip
                return replace(node, arguments={**node.arguments, **own})

            regularizers = [
                build(filled(node)) if _numbered(node) else kept
                for node, kept in zip(nodes, first.regularizers, strict=True)
            ]
            hyper = {name: numbers.get(f"optimizer.{name}", each)
                     for name, each in optimizer.hyper.items()}  # fmt: skip
            keep = numbers.get("dropout.keep")
            return replace(
                given,
                loss=maker(filled(settings.loss)),
                penalties=[each.penalty for each in regularizers if each.penalty],
                decays=[each.decay for each in regularizers if each.decay],
                projections=[each.project for each in regularizers if each.project],
                clips=[maker(filled(node)) for node in settings.clipping.values()],
                optimizer=optimizer._replace(hyper=hyper),
                averaging=build(filled(settings.averaging), clock=first.clock),
                attributes=[(part, "keep", keep) for part in masks] if keep is not None else [],
            )

        return rules_of

    def batches(self) -> Callable[[int], Batch]:
        """Return `batch(step)`: x (R, B, ...) and y (R, B, ...), the rows in each lane's order."""
        if self.first.prepared.augment is None:
            return _rows(self.first, [run.settings.seed for run in self.runs])
        own = [run.batches() for run in self.runs]

        def batch(step: int) -> Batch:
            xs, ys = zip(*(each(step) for each in own), strict=True)
            return torch.stack(xs), torch.stack(ys)

        return batch


def together(settings: Sequence[Settings], fixed: int | None = None) -> Together:
    """Assemble runs of one group as lanes: two at least, or so many as are `fixed`.

    Places that are left over have twins of the first, whose company changes nothing.
    """
    first = assemble(settings[0])
    runs = [first, *(alike(first, each) for each in settings[1:])]
    runs += [first] * ((fixed or 2) - len(runs))
    numbers = [numbers_of(run.settings) for run in runs]
    return Together(first, runs, stacked([run.state() for run in runs], numbers), bool(fixed))


def alike(run: Run, settings: Settings) -> Run:
    """Return another run of the same group, with a model of its own, on the same data.

    What is the run's own is tried as that of a run alone: a wrong number raises the same.
    """
    inputs, output = run.prepared.splits["train"][0].shape[1:], build(settings.output)
    columns = columns_of(settings, run.data)
    model, _ = construct(settings, inputs, columns, output.make())
    dtype = next(run.model.parameters()).dtype
    place(model, settings, run.device, dtype)
    augment = augmenting(settings, run.prepared.fitted, run.data.outputs)
    other = replace(
        run,
        settings=settings,
        prepared=replace(run.prepared, augment=augment),
        model=model.train(),
        loss=maker(settings.loss),
        regularizers=[
            build(node) if _numbered(node) else kept
            for node, kept in zip(settings.regularizer.values(), run.regularizers, strict=True)
        ],
        clips=[maker(node) for node in settings.clipping.values()],
        optimizer=optimizer_of(settings.optimizer),
        averaging=build(settings.averaging, clock=run.clock),
        schedule=build(settings.schedule, run.clock.total, clock=run.clock),
        stopping=build(settings.stopping),
    )
    return tried(other, measures(settings, run.data, output, run.prepared.fitted)[1])


def _rows(run: Run, seeds: Sequence[int]) -> Callable[[int], Batch]:
    """Return batches by row numbers alone: one gather for all lanes."""
    x, y = run.prepared.raw_train
    streams = [partial(rng.generator, seed) for seed in seeds]
    current: tuple[int, list[Tensor]] = (-1, [])

    def batch(step: int) -> Batch:
        nonlocal current
        epoch, at = divmod(step, run.sampler.steps)
        if epoch != current[0]:
            orders = [run.sampler.rows(epoch, stream) for stream in streams]
            blocks = [torch.stack(lanes).to(x.device) for lanes in zip(*orders, strict=True)]
            current = epoch, blocks
        rows = current[1][at]  # (R, B)
        return (x.index_select(0, rows.flatten()).unflatten(0, rows.shape),
                y.index_select(0, rows.flatten()).unflatten(0, rows.shape))  # fmt: skip

    return batch
