"""From settings to a `Run`: everything a training loop needs, decided and checked."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from runner.assemble.data import Prepared, prepare
from runner.assemble.dry import dry_step
from runner.assemble.initialize import initialize
from runner.assemble.settings import Settings
from runner.assemble.unit import brick
from runner.components import stopping
from runner.components.dataset.data import Data
from runner.components.metrics import HIGHER_IS_BETTER
from runner.components.optimizer import Optimizer
from runner.components.schedule import Schedule
from runner.components.stopping import Stopping
from runner.config import build, maker
from runner.foundation import memory, rng
from runner.foundation.durations import ENDLESS, Clock
from runner.foundation.errors import Misconfigured, RunnerError, did_you_mean
from runner.training import evaluation, feed
from runner.training.evaluation import Metrics
from runner.training.state import State
from runner.training.step import Clip, Loss, Penalty, objective

Hyper = dict[str, Any]


@dataclass
class Run:
    """A run, assembled and tried, before its directory is made.

    `decided` holds what `auto` became, with the reason; `goal` is the metric that best weights
    and stopping go by, and `sign` turns it so that lower is better.
    """

    settings: Settings
    data: Data
    prepared: Prepared
    model: nn.Module
    loss: Loss
    metrics: Metrics
    penalties: Sequence[Penalty]
    clips: Sequence[Clip]
    optimizer: Optimizer
    schedule: Schedule
    stopping: Stopping
    clock: Clock
    goal: str
    sign: float
    decided: dict[str, tuple[Any, str]]
    warnings: list[str]

    @property
    def autocast(self) -> bool:
        """Tell whether the forward pass runs in bfloat16."""
        return self.settings.precision == "bfloat16"

    @property
    def device(self) -> torch.device:
        """Return where the model is."""
        return next(self.model.parameters()).device

    def parameters(self) -> int:
        """Count the model's parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def state(self) -> State:
        """Return the state before the first step."""
        slots = [self.optimizer.init(parameter.detach()) for parameter in self.model.parameters()]
        return State(self.model, slots, self.schedule.init(), self.stopping.init())

    def evaluate(self, split: str) -> dict[str, float]:
        """Return mean loss and metrics of a whole split, in the data's own units."""
        batches = feed.in_order(
            *self.prepared.splits[split], self.settings.trainer.evaluation_batch_size
        )
        outcomes = evaluation.predict(self.model, batches, self.loss, self.autocast)
        return evaluation.measure(outcomes, self.metrics)


def assemble(settings: Settings) -> Run:
    """Read the data, build every part, and try one step on two real samples."""
    threads, device, decided = _machine(settings)
    torch.set_num_threads(threads)
    memory.keep_freed()
    dtype = torch.float64 if settings.precision == "float64" else torch.float32
    data: Data = build(settings.dataset)
    clock = _clock(settings, len(data.splits["train"]))
    prepared = prepare(data, settings, device, dtype)
    model = _model(settings, data).to(device, dtype)
    invert = prepared.fitted.targets.invert
    standard = maker(settings.metrics)

    def metrics(outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        if targets.is_floating_point():
            return standard(invert(outputs), invert(targets))
        return standard(outputs, targets)

    run = Run(
        settings=settings,
        data=data,
        prepared=prepared,
        model=model.train(),
        loss=maker(settings.loss),
        metrics=metrics,
        penalties=[maker(node) for node in settings.regularizer.values()],
        clips=[maker(node) for node in settings.clipping.values()],
        optimizer=build(settings.optimizer),
        schedule=build(settings.schedule, clock.total, clock=clock),
        stopping=build(settings.stopping),
        clock=clock,
        goal="",
        sign=1.0,
        decided=decided,
        warnings=list(prepared.fitted.warnings),
    )
    _try(run)
    run.goal, run.sign = _goal(run)
    return run


def _machine(settings: Settings) -> tuple[int, torch.device, dict[str, tuple[Any, str]]]:
    """Decide threads and device, and say why."""
    decided: dict[str, tuple[Any, str]] = {}
    threads, device = settings.threads, settings.device
    if threads == "auto":
        threads = len(os.sched_getaffinity(0))
        decided["threads"] = threads, "one for each processor this process may use"
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        decided["device"] = device, f"torch {'sees a' if device == 'cuda' else 'sees no'} GPU"
    if device.startswith("cuda"):
        decided |= _reproducible_cuda()
        count, index = torch.cuda.device_count(), int(device.partition(":")[2] or 0)
        if index >= count:
            seen = f"{count} GPUs" if count else "no GPU"
            raise Misconfigured(f"device: '{device}' is not available (torch sees {seen}); use cpu")
    return int(threads), torch.device(device), decided


def _reproducible_cuda() -> dict[str, tuple[Any, str]]:
    """Choose the kernels that give the same bits twice, and float32 that is float32."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return {"deterministic": (True, "the same command gives the same numbers")}


def _clock(settings: Settings, rows: int) -> Clock:
    """Resolve the budget to steps, refusing batches that the rows cannot fill."""
    trainer = settings.trainer
    per_epoch = feed.steps_per_epoch(rows, trainer.batch_size, trainer.drop_last)
    if not per_epoch:
        raise Misconfigured(
            f"trainer.batch_size: {trainer.batch_size} is more than the {rows} training rows; "
            "use a smaller one or trainer.drop_last=false"
        )
    if trainer.steps is None and trainer.epochs is None and trainer.minutes is None:
        raise Misconfigured("trainer: one of epochs, steps and minutes must be set")
    by_epochs = trainer.epochs * per_epoch if trainer.epochs else ENDLESS
    return Clock(per_epoch, trainer.steps or by_epochs)


def _model(settings: Settings, data: Data) -> nn.Module:
    """Build and initialize the model on the CPU, leaving the global generator untouched."""
    parts = maker(settings.activation), maker(settings.normalization), maker(settings.dropout)
    with torch.random.fork_rng(devices=[]), _naming_what_cannot_be_made():
        torch.default_generator.manual_seed(rng.derive(settings.seed, "construction"))
        unit = brick(*parts)
        model: nn.Module = build(settings.architecture, data.inputs, data.outputs, unit)
    fill: Callable[..., None] = maker(settings.initializer)
    initialize(model, fill, rng.generator(settings.seed, "initialization"))
    return model


@contextlib.contextmanager
def _naming_what_cannot_be_made() -> Iterator[None]:
    try:
        yield
    except RunnerError:
        raise
    except (RuntimeError, ValueError) as error:
        raise Misconfigured(f"architecture: {str(error).splitlines()[0]}") from error


def _try(run: Run) -> None:
    """Take a dry step on as many samples as the smallest batch has, two at most."""
    trainer = run.settings.trainer
    rows = len(run.prepared.raw_train[0])
    last = 0 if trainer.drop_last else rows % trainer.batch_size
    count = min(2, last or trainer.batch_size)
    x, y = (part[:count] for part in run.prepared.raw_train)
    if run.prepared.augment is not None:
        try:
            x, y = run.prepared.augment(0, x, y)
        except ValueError as error:
            raise Misconfigured(f"augmentation: {error}") from error

    def minimized(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=run.autocast):
            call = partial(torch.func.functional_call, model)
            parameters = dict(model.named_parameters())
            return objective(call, parameters, x, y, run.loss, run.penalties)[0]

    try:
        dry_step(run.model, x, y, minimized)
    except Misconfigured as error:
        if count > 1:
            raise
        dry_step(run.model, torch.cat([x, x]), torch.cat([y, y]), minimized)
        remedy = "trainer.batch_size > 1, trainer.drop_last=true or normalization=layer"
        raise Misconfigured(f"{error}; the smallest batch has 1 sample, use {remedy}") from error


def _goal(run: Run) -> tuple[str, float]:
    """Return the metric to go by, and the sign that makes lower better."""
    split = "valid" if len(run.data.splits["valid"]) else "train"
    if split == "train" and run.settings.stopping.factory is not stopping.none:
        raise Misconfigured("stopping: needs validation rows to go by; set dataset.valid > 0")
    x, y = (part[:2] for part in run.prepared.splits[split])
    outcomes = evaluation.predict(run.model, [(x, y)], run.loss, run.autocast)
    names = [f"{split}/{name}" for name in evaluation.measure(outcomes, run.metrics)]
    goal = run.settings.objective
    if goal == "auto":
        goal = f"{split}/{'accuracy' if run.data.task == 'classification' else 'loss'}"
    if goal not in names:
        available = f" (measured are {', '.join(names)})"
        raise Misconfigured(f"objective: no metric '{goal}'{did_you_mean(goal, names)}{available}")
    return goal, -1.0 if goal.partition("/")[2] in HIGHER_IS_BETTER else 1.0
