"""Losses: `(outputs, targets) -> (B,)`, one number a sample; the training step takes the mean.

Letters: s outputs (B, C), C classes or columns; y class labels (B,), int64; p rows of targets
(B, C), floats: the numbers of a regression, or shares of classes where samples were mixed.
`@suits` says what a loss needs, so that assembly can refuse what does not fit before any data is
trained on. Numbers may be tensors with one entry per lane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from runner.foundation.ranges import Fraction, Positive, ProperFraction

Task = Literal["classification", "regression"]
Loss = Callable[..., Tensor]
Classes = Callable[[int], int]


def one_a_class(classes: int) -> int:
    """Return as many columns as there are classes."""
    return classes


class Traits(NamedTuple):
    """What a loss needs; `traits` is the attribute of a factory that holds them.

    tasks    the tasks it suits
    wants    what the model must give: "scores" where the loss itself turns them into
             probabilities, "probabilities" where it takes their logarithm; None: any numbers
    columns  (classes) -> how many outputs the model needs; a ValueError where none will do
    """

    tasks: tuple[Task, ...] = ("classification", "regression")
    wants: Literal["scores", "probabilities"] | None = None
    columns: Classes = one_a_class


def suits(
    *tasks: Task,
    wants: Literal["scores", "probabilities"] | None = None,
    columns: Classes = one_a_class,
) -> Callable[[Loss], Loss]:
    """Give a loss its traits."""

    def declare(loss: Loss) -> Loss:
        declared: Any = loss
        declared.traits = Traits(tasks, wants, columns)
        return loss

    return declare


def one_for_two(classes: int) -> int:
    """Return 1, the column of the second class; a ValueError for more or fewer than 2 classes."""
    if classes != 2:
        raise ValueError(
            f"binary cross-entropy needs exactly 2 classes, the data has {classes}; "
            "use loss=cross_entropy"
        )
    return 1


# ---- for classes ------------------------------------------------------------------------------


@suits("classification", wants="scores")
def cross_entropy(
    outputs: Tensor, targets: Tensor, *, eps: ProperFraction, alpha: Fraction | None
) -> Tensor:
    """Return -sum_j p_j log softmax(s)_j, which is -log softmax(s)_y for a label y.

    Label smoothing (Szegedy et al. 2016) moves p towards equal shares, in one of two words: `eps`
    is what each wrong class gets, so that the true one keeps 1 - (C - 1) eps; `alpha` is what all
    C classes share, as torch has it: alpha = C eps.
    """
    if alpha is not None and eps != 0:
        raise ValueError(
            f"loss 'cross_entropy': eps={eps:g} and alpha={alpha:g} both smooth the labels "
            "(alpha = classes * eps); use loss.eps=0 or loss.alpha=null"
        )
    if targets.is_floating_point():
        _like("cross_entropy", outputs, targets)
    shared = outputs.shape[1] * eps if alpha is None else alpha
    if isinstance(shared, Tensor):
        certain = F.cross_entropy(outputs, targets, reduction="none")
        even = outputs.logsumexp(1) - outputs.mean(1)  # the loss against equal shares
        return certain + shared * (even - certain)
    if shared > 1:
        raise ValueError(
            f"loss 'cross_entropy': eps={eps:g} leaves the true class less than each other of "
            f"{outputs.shape[1]}; use loss.eps <= {1 / outputs.shape[1]:g}, or loss.alpha={eps:g}"
        )
    return F.cross_entropy(outputs, targets, reduction="none", label_smoothing=shared)


@suits("classification", wants="scores")
def kl(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return KL(p || q) = sum_j p_j log(p_j / q_j), q = softmax(s), with 0 log 0 = 0.

    The mean over samples is what torch calls `batchmean`. For labels it is the cross-entropy.
    """
    p = _shares("kl", outputs, targets)
    return F.kl_div(F.log_softmax(outputs, 1), p, reduction="none").sum(1)


@suits("classification", wants="scores")
def wasserstein(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the integral of |F - G|, F and G the distribution functions of softmax(s) and p.

    The 1-Wasserstein distance of classes that lie in order, each 1 from the next: being wrong by
    two classes costs twice as much as by one.
    """
    p = _shares("wasserstein", outputs, targets)
    ahead = (F.softmax(outputs, 1) - p).cumsum(1)
    return ahead[:, :-1].abs().sum(1)  # both end at 1


@suits("classification")
def hinge(outputs: Tensor, targets: Tensor, *, margin: Positive) -> Tensor:
    """Return sum over j != y of max(0, s_j - s_y + margin), the multi-class support vector loss.

    Weston and Watkins 1999. torch's MultiMarginLoss is this divided by C.
    """
    true = _true_scores("hinge", outputs, targets)
    return (outputs - true + margin).clamp(min=0).sum(1) - margin  # what j = y has added


@suits("classification")
def perceptron(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return max_j s_j - s_y: nothing for a right answer.

    With sgd, a rate of 1 and one sample a step this is the perceptron rule: where the answer k is
    wrong, add x to the weights of y and take it from those of k.
    """
    true = _true_scores("perceptron", outputs, targets)
    answered = outputs.gather(1, outputs.argmax(1, keepdim=True))
    return (answered - true)[:, 0]


@suits("classification", wants="scores", columns=one_for_two)
def bce(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return -[y log p + (1 - y) log(1 - p)], p = 1 / (1 + e^-s), for one column s (B, 1).

    The negative log likelihood of logistic regression: log(1 + e^s) - y s.
    """
    truth = _second_class(outputs, targets)
    return F.binary_cross_entropy_with_logits(outputs[:, 0], truth, reduction="none")


@suits("classification", wants="probabilities", columns=one_for_two)
def bce_probabilities(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return -[y log p + (1 - y) log(1 - p)] of the probabilities p (B, 1) that the model gives.

    As torch has it: logarithms count -100 at least, and the slope stays that of the formula, so
    that a sample which is wrong for certain is still learned from.
    """
    truth = _second_class(outputs, targets)
    return F.binary_cross_entropy(outputs[:, 0], truth, reduction="none")


# ---- for numbers ------------------------------------------------------------------------------


@suits("classification", "regression")
def mse(outputs: Tensor, targets: Tensor, *, one_hot: bool) -> Tensor:
    """Return the mean over columns of (s - p)^2; with `one_hot`, p_j = 1 for j = y, else 0."""
    return (outputs - _numbers("mse", outputs, targets, one_hot)).square().mean(1)


@suits("classification", "regression")
def l1(outputs: Tensor, targets: Tensor, *, one_hot: bool) -> Tensor:
    """Return the mean over columns of |s - p|, which outliers move less; `one_hot` as in mse."""
    return (outputs - _numbers("l1", outputs, targets, one_hot)).abs().mean(1)


@suits("classification", "regression")
def huber(outputs: Tensor, targets: Tensor, *, delta: Positive, one_hot: bool) -> Tensor:
    """Return the mean over columns of h(s - p); `one_hot` as in mse.

    h(d) = d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2): the square near 0, the absolute
    value far out (Huber 1964).
    """
    size = (outputs - _numbers("huber", outputs, targets, one_hot)).abs()
    near = size.clamp(max=delta)
    return (near * (size - near / 2)).mean(1)


# ---- targets ----------------------------------------------------------------------------------


def _shares(name: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return rows (B, C) of shares that add up to 1."""
    if targets.is_floating_point():
        return _like(name, outputs, targets)
    return _one_hot(outputs, targets)


def _numbers(name: str, outputs: Tensor, targets: Tensor, one_hot: bool) -> Tensor:
    """Return rows (B, C) of numbers to come near to."""
    if targets.is_floating_point():
        return _like(name, outputs, targets)
    if not one_hot:
        raise ValueError(
            f"loss '{name}' needs float targets of shape (N, {outputs.shape[1]}), got class "
            "labels; use loss.one_hot=true or loss=cross_entropy"
        )
    return _one_hot(outputs, targets)


def _one_hot(outputs: Tensor, y: Tensor) -> Tensor:
    """Return 1 for the true class and 0 for the others; torch's own is not for stacked models."""
    return (y[:, None] == torch.arange(outputs.shape[1], device=y.device)).to(outputs.dtype)


def _like(name: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the targets; a ValueError unless they are shaped like the outputs."""
    if outputs.shape != targets.shape:
        raise ValueError(
            f"loss '{name}' needs targets of shape {(*outputs.shape,)}, got {(*targets.shape,)}"
        )
    return targets


def _true_scores(name: str, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return s_y as (B, 1)."""
    if targets.is_floating_point():
        raise ValueError(
            f"loss '{name}' needs class labels, got rows of numbers; where an augmentation mixes "
            "samples (mixup, cutmix) use loss=cross_entropy"
        )
    return outputs.gather(1, targets[:, None])


def _second_class(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the share (B,) of the second class."""
    return targets[:, 1] if targets.is_floating_point() else targets.to(outputs.dtype)
