"""Which choices do not go together: refused, or warned of, before anything is trained."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from runner.assemble.settings import Settings
from runner.components.dataset.data import Data
from runner.components.loss import Traits
from runner.components.optimizer.kind import Optimizer
from runner.components.output import Output
from runner.components.regularizer import Regularizer
from runner.foundation.errors import Misconfigured


def traits_of(settings: Settings) -> Traits:
    """Return what the loss says it suits; a loss of the user's own suits everything."""
    return getattr(settings.loss.factory, "traits", Traits())


def refuse(settings: Settings, data: Data, output: Output, optimizer: Optimizer) -> None:
    """Raise `Misconfigured` with every pair of choices that cannot work."""
    if problems := list(_impossible(settings, data, output, optimizer)):
        raise Misconfigured(problems)


def _impossible(
    settings: Settings, data: Data, output: Output, optimizer: Optimizer
) -> Iterator[str]:
    traits, loss = traits_of(settings), _name(settings.loss)
    if data.task not in traits.tasks:
        labels = data.task == "regression"
        wanted = "class labels" if labels else "numbers to predict"
        remedy = "for regression use loss=mse" if labels else "for classes use loss=cross_entropy"
        yield f"loss: loss '{loss}' needs {wanted}; {remedy}"
    one_hot = settings.loss.arguments.get("one_hot")
    if one_hot and data.task == "regression":
        yield "loss.one_hot: is for classes, the data has numbers; use loss.one_hot=false"
    if one_hot is False and data.task == "classification":
        yield (
            f"loss: loss '{loss}' needs float targets of shape (N, {data.outputs}), got class "
            "labels; use loss.one_hot=true or loss=cross_entropy"
        )
    if traits.wants == "probabilities" and output.gives != "probabilities":
        yield f"loss: '{loss}' needs probabilities, the model gives scores; use output=sigmoid"
    if data.task == "regression" and output.gives == "probabilities":
        yield (
            f"output: '{_name(settings.output)}' gives probabilities, which a regression has not; "
            "use output=identity"
        )
    if optimizer.needs == "objective":
        name = _name(settings.optimizer)
        if settings.clipping:
            yield f"clipping: optimizer '{name}' takes its own steps; use clipping=none"
        if settings.trainer.accumulate > 1:
            yield f"trainer.accumulate: optimizer '{name}' needs whole batches; use 1"
    own_state = optimizer.needs == "objective" or inspect.isclass(settings.optimizer.factory)
    if settings.trainer.skips and own_state:
        yield (
            f"trainer.on_nonfinite: optimizer '{_name(settings.optimizer)}' searches along a line "
            "or keeps a state of its own, so no step of it can be left out; use stop or rollback"
        )


def refuse_with(model: nn.Module, settings: Settings, regularizers: Sequence[Regularizer]) -> None:
    """Raise `Misconfigured` for a regularizer that this model would make meaningless."""
    directed = any(map(is_parametrized, model.modules()))
    named = zip(settings.regularizer, regularizers, strict=True)
    for name, regularizer in named:
        if directed and regularizer.of == "weights":
            raise Misconfigured(
                f"regularizer.{name}: with normalization=weight a weight is length times "
                "direction, and shrinking a direction changes nothing; use another normalization"
            )
        if _batch_statistics(model) and regularizer.of == "function":
            raise Misconfigured(
                f"regularizer.{name}: in batch norm samples see each other, so that one sample's "
                "derivative is not its own; use normalization=layer or group"
            )


def _batch_statistics(model: nn.Module) -> bool:
    return any(hasattr(module, "running_mean") for module in model.modules())


def odd(
    settings: Settings, output: Output, optimizer: Optimizer, model: nn.Module, whole: bool
) -> Iterator[str]:
    """Yield a warning for what runs but is hardly meant; `whole`: each step sees every row."""
    if traits_of(settings).wants == "scores" and output.gives == "probabilities":
        function = "softmax" if _name(settings.output) == "softmax" else "sigmoid"
        loss, last = _name(settings.loss), _name(settings.output)
        yield (
            f"double {function}: loss '{loss}' turns scores into probabilities, and output "
            f"'{last}' has done so already; use output=identity"
        )
    if optimizer.full_batch and not whole:
        name = _name(settings.optimizer)
        yield f"optimizer '{name}' is made for full batches; use sampler=full_batch"
    if _batch_statistics(model) and optimizer.needs == "objective":
        yield (
            f"optimizer '{_name(settings.optimizer)}' runs the model several times a step, and "
            "running averages of batch norm move each time; normalization.inference=population "
            "takes them anew"
        )
    if _batch_statistics(model) and settings.trainer.accumulate > 1:
        yield (
            "trainer.accumulate: batch statistics are taken of each part, so the gradient is not "
            "that of the whole batch; normalization=layer or group has no such trouble"
        )


def idle(settings: Settings, units: int) -> Iterator[str]:
    """Yield a warning for each chosen part of a unit where the architecture has no units."""
    parts = {"normalization": settings.normalization, "dropout": settings.dropout}
    for group, node in parts.items():
        if not units and _name(node) != "none":
            yield (
                f"{group} '{_name(node)}' stands behind hidden layers, and architecture "
                f"'{_name(settings.architecture)}' has none of the runner's: it does nothing"
            )


def refuse_backwards(
    settings: Settings, metric: str | None, measured: Sequence[str], higher: frozenset[str]
) -> None:
    """Raise `Misconfigured` if the schedule takes a metric's getting better for getting worse."""
    taken, better = settings.schedule.arguments.get("better"), _better(metric, higher)
    if metric in measured and taken not in (None, better):
        raise Misconfigured(
            f"schedule.better: '{metric}' is better when {better}; use schedule.better={better}"
        )


def backwards(
    settings: Settings, metric: str | None, measured: Sequence[str], higher: frozenset[str]
) -> Iterator[str]:
    """Yield a warning if the stopping rule ends a run whose metric is still bad."""
    taken, better = settings.stopping.arguments.get("direction"), _better(metric, higher)
    reached = "at_least" if better == "higher" else "at_most"
    if metric in measured and taken not in (None, reached):
        yield (
            f"stopping.direction: '{metric}' is better when {better}, and {taken} ends training "
            f"while it is bad; stopping.direction={reached} waits until it is good"
        )


def _better(metric: str | None, higher: frozenset[str]) -> str:
    return "higher" if str(metric).partition("/")[2] in higher else "lower"


def _name(node: Any) -> str:
    return str(node.factory.__name__)
