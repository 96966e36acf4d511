"""From settings to a `Run`: everything a training loop needs, decided and checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from runner.assemble import rules
from runner.assemble.budget import batch_size, budget
from runner.assemble.data import Prepared, prepare
from runner.assemble.dry import dry_step
from runner.assemble.machine import Decided, machine
from runner.assemble.masks import averaged_over_masks
from runner.assemble.measures import blending, measures
from runner.assemble.model import construct, fill, place
from runner.assemble.settings import Settings
from runner.components import stopping
from runner.components.averaging import Averaging
from runner.components.dataset.data import Data
from runner.components.normalization.batchwise import populating, populations
from runner.components.optimizer.kind import Optimizer
from runner.components.optimizer.torch_adapter import by_torch
from runner.components.output import Output
from runner.components.probes import Probes
from runner.components.regularizer import Regularizer
from runner.components.sampler import Sampler, single
from runner.components.schedule import Schedule
from runner.components.stopping import Stopping
from runner.config import Node, build, maker
from runner.foundation import memory, rng
from runner.foundation.durations import Clock
from runner.foundation.errors import Misconfigured, did_you_mean, naming, shown
from runner.training import evaluation, feed, step
from runner.training.evaluation import Metrics, evaluating
from runner.training.state import Outcome, State
from runner.training.step import Clip, Loss, Penalty

TRIAL_ROWS = 256  # training rows for initializers that go by the data


class Begun(NamedTuple):
    """What trains: the state, the step that changes it, and how that is run, in a word."""

    state: State
    step: step.Step
    way: str


@dataclass
class Run:
    """A run, assembled and tried, before its directory is made.

    `decided` holds what `auto` became, with the reason; `goal` is the metric that best weights
    and stopping go by, and `sign` turns it so that lower is better.
    """

    settings: Settings
    data: Data
    prepared: Prepared
    sampler: Sampler
    model: nn.Module
    loss: Loss
    metrics: Metrics
    blend: Callable[[Tensor, Tensor], Tensor]
    regularizers: Sequence[Regularizer]
    clips: Sequence[Clip]
    optimizer: Optimizer
    averaging: Averaging
    schedule: Schedule
    stopping: Stopping
    probes: Probes
    clock: Clock
    goal: str
    sign: float
    decided: Decided
    warnings: list[str]
    begun: Begun | None = None  # by `runner.assemble.speed`

    @property
    def autocast(self) -> bool:
        """Tell whether the forward pass runs in bfloat16."""
        return self.settings.precision == "bfloat16"

    @property
    def device(self) -> torch.device:
        """Return where the model is."""
        return next(self.model.parameters()).device

    @property
    def penalties(self) -> list[Penalty]:
        """Return what is added to the loss."""
        return [each.penalty for each in self.regularizers if each.penalty]

    def parameters(self) -> int:
        """Count the model's parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def state(self) -> State:
        """Return the state before the first step."""
        with naming("optimizer"):
            slots = self.optimizer.init(list(self.model.parameters()))
        state = State(self.model, slots, self.schedule.init(), self.stopping.init())
        state.averages = self.averaging.init([t.detach() for t in state.averaged_tensors()])
        state.skips = state.skips.to(self.device)
        return state

    def minimized(self, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Return the training objective of a batch, differentiable."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.autocast):
            call = partial(torch.func.functional_call, model)
            parameters = dict(model.named_parameters())
            return step.objective(call, parameters, x, y, self.loss, self.penalties)[0]

    def stepping(
        self, state: State, ready: step.Ready | None = None, whole: bool = False
    ) -> step.Step:
        """Return the training step of this run; `ready` may make it faster."""
        return step.prepare(state, self.rules(whole), ready)

    def rules(self, whole: bool = False) -> step.Rules:
        """Return what the training step obeys."""
        return step.Rules(
            loss=self.loss,
            penalties=self.penalties,
            decays=[each.decay for each in self.regularizers if each.decay],
            projections=[each.project for each in self.regularizers if each.project],
            clips=self.clips,
            optimizer=self.optimizer,
            averaging=self.averaging,
            population=self.prepared.splits["train"][0],
            seed=self.settings.seed,
            autocast=self.autocast,
            accumulate=self.settings.trainer.accumulate,
            skips=self.settings.trainer.skips,
            whole=whole,
        )

    def batches(self) -> Callable[[int], feed.Batch]:
        """Return `batch(step)`, the training batch of a step."""
        stream = partial(rng.generator, self.settings.seed)
        return feed.batches(*self.prepared.raw_train, *self.sampler, stream, self.prepared.augment)

    def evaluate(self, split: str) -> dict[str, float]:
        """Return mean loss and metrics of a whole split, in the data's own units."""
        return self.measure(split)[0]

    def measure(self, split: str) -> tuple[dict[str, float], dict[str, Any]]:
        """Return the same, and what is no single number, such as a confusion matrix."""
        return evaluation.measure(self.outcomes(split), self.metrics)

    def outcomes(self, split: str) -> list[Outcome]:
        """Return loss, outputs and targets of a whole split, in blocks."""
        size = self.settings.trainer.evaluation_batch_size
        return self.predict(feed.in_order(*self.prepared.splits[split], size))

    def collect(self) -> None:
        """Show the whole training set to layers that normalize by it."""
        step.collecting(self.model, self.prepared.splits["train"][0])()

    def settle(self) -> None:
        """Take batch statistics anew where the finished weights are to be tested with such.

        One pass over the training rows, unaugmented, in batches of the size of training.
        """
        self.collect()
        x, _ = self.prepared.splits["train"]
        norms = populations(self.model, every=self.averaging.statistics_anew)
        if not norms:
            return
        blocks = x.split(batch_size(self.sampler))
        casting = torch.autocast(x.device.type, torch.bfloat16, enabled=self.autocast)
        with evaluating(self.model), casting, populating(norms):
            for block in blocks:
                if len(block) == len(blocks[0]):
                    self.model(block)

    def predict(self, batches: Sequence[feed.Batch]) -> list[Outcome]:
        """Return loss, outputs and targets of each batch, as the model predicts at test."""
        return evaluation.predict(self.model, batches, self.loss, self.autocast, self.forward())

    def forward(self) -> Callable[[Tensor], Tensor]:
        """Return what predicts at test: the model, or an average over its dropout masks."""
        return averaged_over_masks(self.model, self.settings.seed, self.blend)


def assemble(settings: Settings) -> Run:
    """Read the data, build every part, and try one step on two real samples."""
    threads, device, decided = machine(settings)
    torch.set_num_threads(threads)
    memory.keep_freed()
    dtype = torch.float64 if settings.precision == "float64" else torch.float32
    data: Data = build(settings.dataset)
    output: Output = build(settings.output)
    optimizer = optimizer_of(settings.optimizer)
    rules.refuse(settings, data, output, optimizer)
    clock, sampler = budget(settings, data)
    prepared = prepare(data, settings, device, dtype)
    inputs, columns = prepared.splits["train"][0].shape[1:], columns_of(settings, data)
    model, units = construct(settings, inputs, columns, output.make())
    place(model, settings, device, dtype)
    regularizers = [build(node) for node in settings.regularizer.values()]
    metrics, higher = measures(settings, data, output, prepared.fitted)
    run = Run(
        settings=settings,
        data=data,
        prepared=prepared,
        sampler=sampler,
        model=model.train(),
        loss=maker(settings.loss),
        metrics=metrics,
        blend=blending(data, output),
        regularizers=regularizers,
        clips=[maker(node) for node in settings.clipping.values()],
        optimizer=optimizer,
        averaging=build(settings.averaging, clock=clock),
        schedule=build(settings.schedule, clock.total, clock=clock),
        stopping=build(settings.stopping),
        probes=build(settings.probes, clock=clock),
        clock=clock,
        goal="",
        sign=1.0,
        decided=decided,
        warnings=[*data.warnings, *prepared.fitted.warnings],
    )
    rules.refuse_with(model, settings, regularizers)
    run.warnings += rules.odd(settings, output, optimizer, model, sampler.steps == 1)
    run.warnings += rules.idle(settings, units)
    return tried(run, higher)


def tried(run: Run, higher: frozenset[str]) -> Run:
    """Try a step, initialize, and find the goal; `higher` are metrics that are better when so."""
    _try(run)
    initialized(run)
    state = run.state()  # what an optimizer cannot start with is said before a directory is made
    with naming("schedule"):
        for number in (0, 1, run.clock.total - 1):
            run.schedule.at(number, state.schedule)
    run.goal, run.sign = _goal(run, higher)
    return run


def optimizer_of(node: Node) -> Optimizer:
    """Build the update rule; a class of torch.optim gets the parameters later."""
    if not inspect.isclass(node.factory):
        made: Optimizer = build(node)
        return made
    with naming("optimizer"):
        return by_torch(maker(node), node.arguments)


def columns_of(settings: Settings, data: Data) -> int:
    """Return how many outputs the model has: one for each class unless the loss wants fewer."""
    if data.task == "regression":
        return data.outputs
    with naming("loss"):
        return rules.traits_of(settings).columns(data.outputs)


def initialized(run: Run) -> None:
    """Fill the weights, in the mode of evaluation: without dropout's noise."""
    x, y = (part[:TRIAL_ROWS] for part in run.prepared.splits["train"])
    with evaluating(run.model, gradients=True):
        fill(run.settings, run.model, x, y, run.minimized)


def _try(run: Run) -> None:
    """Take a dry step on as many samples as the smallest part of a batch has, two at most."""
    stream = partial(rng.generator, run.settings.seed)
    smallest = min(len(rows) for rows in run.sampler.rows(0, stream))
    x, y = (rows[: min(2, smallest)] for rows in run.prepared.raw_train)
    if run.prepared.augment is not None:
        with naming("augmentation"):
            x, y = run.prepared.augment(0, x, y)
    parts = run.settings.trainer.accumulate
    x, y = (rows[: max(smallest // parts, 1)] for rows in (x, y))
    try:
        dry_step(run.model, x, y, run.minimized)
    except Misconfigured as error:
        if len(x) > 1:
            raise
        dry_step(run.model, torch.cat([x, x]), torch.cat([y, y]), run.minimized)
        which = "batch" if parts == 1 else f"of {parts} parts of a batch"
        larger = f"trainer.batch_size >= {2 * parts}, trainer.drop_last=true"
        larger = "sampler=minibatch" if run.settings.sampler.factory is single else larger
        remedy = f"{larger} or normalization=layer"
        raise Misconfigured(f"{error}; the smallest {which} has 1 sample, use {remedy}") from error


def _goal(run: Run, higher: frozenset[str]) -> tuple[str, float]:
    """Return the metric to go by, and the sign that makes lower better."""
    split = "valid" if len(run.data.splits["valid"]) else "train"
    goal = run.settings.objective
    early = run.settings.stopping.factory is stopping.early
    if split == "train" and early and goal == "auto":
        raise Misconfigured("stopping: needs validation rows to go by; set dataset.valid > 0")
    x, y = (part[:2] for part in run.prepared.splits[split])
    outcomes = run.predict([(x, y)])
    measured = evaluation.measure(outcomes, run.metrics)[0]
    names = [f"{each}/{name}" for each in dict.fromkeys([split, "train"]) for name in measured]
    if goal == "auto":
        usual = f"{split}/{'accuracy' if run.data.task == 'classification' else 'loss'}"
        goal = usual if usual in names else f"{split}/loss"
    if goal not in names:
        available = f" (measured are {', '.join(names)})"
        hint = did_you_mean(goal, names)
        raise Misconfigured(f"objective: no metric {shown(goal)}{hint}{available}")
    if not run.settings.hooks:  # what those log is known when they run
        _refuse_unlogged(run, [*names, "lr", "gradient/norm"])
    rules.refuse_backwards(run.settings, run.schedule.watches, names, higher)
    run.warnings += rules.backwards(run.settings, run.stopping.watches, names, higher)
    return goal, -1.0 if goal.partition("/")[2] in higher else 1.0


def _refuse_unlogged(run: Run, logged: list[str]) -> None:
    """Raise `Misconfigured` if the schedule or the stopping rule watches what nobody logs."""
    watched = {"schedule": run.schedule.watches, "stopping": run.stopping.watches}
    for group, metric in watched.items():
        if metric not in (None, "objective", *logged):
            hint = f"{did_you_mean(str(metric), logged)} (logged are {', '.join(logged)})"
            raise Misconfigured(f"{group}.metric: {shown(metric)} is not logged{hint}")
