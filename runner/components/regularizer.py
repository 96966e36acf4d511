"""Regularizers: a penalty added to the loss, a decay before each update, a projection after it.

A factory gives `Regularizer(penalty, decay, project, of)`. `apply(parameters, x)` runs
the model, for penalties on its derivatives; `parameters` maps names to tensors. Weights are the
tensors of two or more dimensions; `over: all` takes in biases and the scales of normalizations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor

from runner.foundation.ranges import AtLeastOne, Count, KeepProbability, NonNegative, Positive

Parameters = Mapping[str, Tensor]
Apply = Callable[[Parameters, Tensor], Tensor]
Over = Literal["weights", "all"]


class Regularizer(NamedTuple):
    """What keeps weights in check.

    penalty  (apply, parameters, x) -> scalar, added to the mean loss
    decay    (parameters, lr) -> the changed tensors by name, before each update, whose gradient
             is then already taken
    project  the same, after each update
    of       what is kept small: weights, or the function the model computes
    """

    penalty: Callable[[Apply, Parameters, Tensor], Tensor] | None = None
    decay: Callable[[Parameters, float], dict[str, Tensor]] | None = None
    project: Callable[[Parameters, float], dict[str, Tensor]] | None = None
    of: Literal["weights", "function"] = "weights"


def l2(*, strength: NonNegative, over: Over) -> Regularizer:
    """Penalize strength * sum w^2.

    The gradient is 2 strength w: torch's `weight_decay` is twice this strength.
    """
    return _penalty(strength, over, lambda w: w.square().sum())


def l1(*, strength: NonNegative, over: Over) -> Regularizer:
    """Penalize strength * sum |w|; its subgradient makes small weights, never exact zeros."""
    return _penalty(strength, over, lambda w: w.abs().sum())


def elastic(*, l1: NonNegative, l2: NonNegative, over: Over) -> Regularizer:
    """Penalize l1 * sum |w| + l2 * sum w^2 (Zou and Hastie 2005)."""
    return _penalty(1.0, over, lambda w: l1 * w.abs().sum() + l2 * w.square().sum())


def lp_norm(*, strength: NonNegative, p: AtLeastOne, over: Over) -> Regularizer:
    """Penalize strength * (sum |w|^p)^(1/p), the norm itself and not its power.

    For p = 2 the gradient is w / ||w||: a pull of constant strength, unlike weight decay's.
    """

    def penalty(apply: Apply, parameters: Parameters, x: Tensor) -> Tensor:
        flat = torch.cat([each.abs().flatten() for each in _chosen(parameters, over).values()])
        tiny = torch.finfo(flat.dtype).tiny
        largest = flat.detach().max().clamp(min=tiny)  # keeps high powers within range
        powers = (flat / largest).pow(p).sum().clamp(min=tiny)
        return strength * largest * powers.pow(1 / p)

    return Regularizer(penalty)


def orthonormal(*, strength: NonNegative) -> Regularizer:
    """Penalize strength * sum ||W W^T - I||_F^2, rows or columns, whichever are fewer.

    A convolution's weight counts as the matrix (Dout, Din * kernel).
    """

    def distance(weight: Tensor) -> Tensor:
        matrix = weight.flatten(1)
        matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        gram = matrix @ matrix.T
        return (gram - torch.eye(len(gram), dtype=gram.dtype, device=gram.device)).square().sum()

    return _penalty(strength, "weights", distance)


def jacobian(*, strength: NonNegative, projections: Count | Literal["exact"]) -> Regularizer:
    """Penalize strength * mean over samples of ||df/dx||_F^2.

    `exact` asks for one backward pass for each output; a number asks for as many random unit
    vectors v a sample and takes C E||v^T df/dx||^2, whose mean is the same (Hoffman et al. 2019).
    Samples must not see each other, as they do in batch norm.
    """
    return Regularizer(_Jacobian(strength, projections), of="function")


class _Jacobian:
    """The penalty, with fresh unit vectors for each training step.

    How many outputs there are is seen when the objective is first tried, before any training.
    """

    def __init__(self, strength: float, projections: int | str):
        self.strength, self.projections = strength, projections
        self.outputs = 1
        self.noise: Tensor | None = None  # (projections, B, C)

    def draw(self, count: int, generator: Generator) -> None:
        """Draw the directions for the next training step."""
        if isinstance(self.projections, int):
            shape = (self.projections, count, self.outputs)
            self.noise = torch.randn(shape, generator=generator, device=generator.device)

    def __call__(self, apply: Apply, parameters: Parameters, x: Tensor) -> Tensor:
        outputs, pull = torch.func.vjp(lambda given: apply(parameters, given), x)[:2]
        self.outputs = outputs.shape[1]
        squares = [pull(each)[0].square().sum() for each in self._directions(outputs)]
        return self.strength * torch.stack(squares).sum() / len(x)

    def _directions(self, outputs: Tensor) -> list[Tensor]:
        """Return the vectors (B, C) to pull back, scaled so that squares add up to the norm."""
        axes = torch.eye(self.outputs, dtype=outputs.dtype, device=outputs.device)
        noise = self.noise
        if not isinstance(self.projections, int) or noise is None:
            return [axis.expand_as(outputs) for axis in axes]
        noise = noise.to(outputs.dtype)
        unit = noise / noise.norm(dim=2, keepdim=True)
        return list(unit * (self.outputs / self.projections) ** 0.5)


def weight_decay(*, strength: NonNegative, over: Over) -> Regularizer:
    """Shrink weights before each update, w <- w - lr strength w, whatever the optimizer does then.

    Decoupled weight decay (Loshchilov and Hutter 2019): with Adam it is AdamW; for plain SGD it
    equals l2 with half the strength.
    """
    shrunk = _projection(over, lambda w, lr: w * (1 - lr * strength)).project
    return Regularizer(decay=shrunk)


def proximal_l1(*, strength: NonNegative, over: Over) -> Regularizer:
    """Move weights towards 0 by lr * strength after each update, and stop there: exact zeros.

    w <- sign(w) max(|w| - lr strength, 0), the proximal step of strength * sum |w|.
    """
    return _projection(over, lambda w, lr: w.sign() * (w.abs() - lr * strength).clamp(min=0))


def max_norm(*, limit: Positive) -> Regularizer:
    """Keep the weights that enter a unit within length `limit`: w_i <- w_i min(1, limit / ||w_i||).

    A constraint, kept by projection after each update (Srivastava et al. 2014).
    """

    def project(weight: Tensor, lr: float) -> Tensor:
        lengths = weight.flatten(1).norm(dim=1).clamp(min=torch.finfo(weight.dtype).tiny)
        scale = (limit / lengths).clamp(max=1.0)
        return weight * scale.reshape(-1, *[1] * (weight.dim() - 1))

    return _projection("weights", project)


def binary(*, pull: KeepProbability) -> Regularizer:
    """Pull weights towards +-s after each update, s the mean size of the tensor's weights.

    w <- (1 - pull) w + pull s sign(w). A pull of 1 projects onto binary weights at once, which
    freezes the signs for small learning rates; a smaller one lets weights cross zero first.
    """

    def project(weight: Tensor, lr: float) -> Tensor:
        return weight + pull * (weight.abs().mean() * weight.sign() - weight)

    return _projection("weights", project)


def _chosen(parameters: Parameters, over: Over) -> dict[str, Tensor]:
    return {name: each for name, each in parameters.items() if over == "all" or each.dim() >= 2}


def _penalty(strength: float, over: Over, size: Callable[[Tensor], Tensor]) -> Regularizer:
    """Sum the sizes of the chosen tensors."""

    def penalty(apply: Apply, parameters: Parameters, x: Tensor) -> Tensor:
        sizes = [size(each) for each in _chosen(parameters, over).values()]
        return strength * torch.stack(sizes).sum()

    return Regularizer(penalty)


def _projection(over: Over, project: Callable[[Tensor, float], Tensor]) -> Regularizer:
    """Project each of the chosen tensors by itself."""

    def projected(parameters: Parameters, lr: float) -> dict[str, Tensor]:
        return {name: project(each, lr) for name, each in _chosen(parameters, over).items()}

    return Regularizer(project=projected)
