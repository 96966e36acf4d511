"""Normalizations by statistics over samples: of a batch, decorrelated, or of all the data.

Under `torch.func.vmap` over models the caller passes copies of the buffers and takes them back;
there is no counter of batches, the one part of torch's module that cannot be stacked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as TorchBatchNorm

from runner.components.normalization.kind import in_rows, is_flat, normalization, width
from runner.foundation.ranges import Count, KeepProbability, Positive

Inference = Literal["running", "population"]


@normalization
def batch(
    layer: nn.Module,
    *,
    affine: bool,
    momentum: KeepProbability,
    eps: Positive,
    inference: Inference,
) -> nn.Module:
    """Standardize each feature over the batch: gamma (z - mu_B) / sqrt(var_B + eps) + beta.

    Ioffe and Szegedy 2015; without `affine` there are no gamma and beta. A convolution's
    statistics run over the batch and the image. At test the running averages stand in, updated as
    new = (1 - momentum) old + momentum batch, with the unbiased variance; with
    `inference=population` they are taken anew after training (`populating`).
    """
    return BatchNorm(layer, affine, momentum, eps, inference)


@normalization
def full_data(layer: nn.Module, *, affine: bool, eps: Positive) -> nn.Module:
    """Standardize each feature by its mean and variance over the whole training set.

    They are taken anew before every step, by the weights of the moment: as dear as it sounds.
    No gradient goes through them.
    """
    return FullDataNorm(layer, affine, eps)


@normalization
def batch_whitening(
    layer: nn.Module,
    *,
    affine: bool,
    momentum: KeepProbability,
    eps: Positive,
    iterations: Count,
) -> nn.Module:
    """Decorrelate the features of a batch: gamma (z - mu_B) (cov_B + eps I)^(-1/2) + beta.

    The root is the symmetric one (ZCA), found by `iterations` steps of Newton's method on the
    covariance over its trace, P <- (3 P - P^3 cov / tr cov) / 2 from P = I (Huang et al. 2019),
    in the coupled form that rounding does not blow up. Few steps leave directions of little
    variance small, which a batch smaller than the layer is wide needs. At test running averages
    of mean and root stand in.
    """
    return BatchWhitening(layer, affine, momentum, eps, iterations)


class _Scaled(nn.Module):
    """Normalize each feature of a layer's output, with learned scale and shift if `affine`."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, layer: nn.Module, affine: bool, eps: float):
        super().__init__()
        self.width, self.flat, self.eps = width(layer), is_flat(layer), eps
        self.weight = nn.Parameter(torch.ones(self.width)) if affine else None
        self.bias = nn.Parameter(torch.zeros(self.width)) if affine else None

    def extra_repr(self) -> str:
        """Return the settings for `print(model)`."""
        return f"{self.width}, affine={self.weight is not None}, eps={self.eps}"


class BatchNorm(_Scaled):
    """Batch normalization of (B, ..., D) or (B, D, ...).

    The running statistics are updated in place in training.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self, layer: nn.Module, affine: bool, momentum: float, eps: float, inference: Inference
    ):
        super().__init__(layer, affine, eps)
        self.momentum, self.inference = momentum, inference
        self.register_buffer("running_mean", torch.zeros(self.width))
        self.register_buffer("running_var", torch.ones(self.width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize by the batch in training, by running statistics otherwise."""
        rows, mean, var = in_rows(x, self.flat), self.running_mean, self.running_var
        normal = F.batch_norm(
            rows, mean, var, self.weight, self.bias, self.training, self.momentum, self.eps
        )
        return normal if rows is x else normal.reshape(x.shape)  # each view costs a gradient

    def extra_repr(self) -> str:
        """Return the settings for `print(model)`."""
        return f"{super().extra_repr()}, momentum={self.momentum}, inference={self.inference}"


class FullDataNorm(_Scaled):
    """Normalize by the statistics of the batch that came last while `collecting` was on."""

    mean: Tensor
    var: Tensor
    collecting = False

    def __init__(self, layer: nn.Module, affine: bool, eps: float):
        super().__init__(layer, affine, eps)
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("var", torch.ones(self.width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize by what is stored, in training and at test; while collecting, store first."""
        rows = in_rows(x, self.flat)
        if self.collecting:
            mean, var = _moments(rows.detach().to(self.mean), correction=0)
            self.mean.copy_(mean)
            self.var.copy_(var)
        return F.batch_norm(
            rows, self.mean, self.var, self.weight, self.bias, training=False, eps=self.eps
        ).reshape(x.shape)


class BatchWhitening(_Scaled):
    """Decorrelate features over the batch; running averages of mean and root serve at test."""

    running_mean: Tensor
    running_root: Tensor

    def __init__(
        self, layer: nn.Module, affine: bool, momentum: float, eps: float, iterations: int
    ):
        super().__init__(layer, affine, eps)
        self.momentum, self.iterations = momentum, iterations
        self.register_buffer("running_mean", torch.zeros(self.width))
        self.register_buffer("running_root", torch.eye(self.width))

    def forward(self, x: Tensor) -> Tensor:
        """Whiten by the batch in training, by running statistics otherwise."""
        last, mean, root = self.features_last(x), self.running_mean, self.running_root
        with torch.autocast(x.device.type, enabled=False):
            if self.training:
                mean, root = self.statistics(last)
                for running, now in ((self.running_mean, mean), (self.running_root, root)):
                    running.copy_(running + self.momentum * (now.detach() - running))
            white = (last - mean) @ root
            if self.weight is not None and self.bias is not None:
                white = white * self.weight + self.bias
        return (white if self.flat else white.movedim(-1, 1)).to(x.dtype)

    def features_last(self, x: Tensor) -> Tensor:
        """Return x as (B, ..., D), in the precision of the statistics."""
        return (x if self.flat else x.movedim(1, -1)).to(self.running_mean)

    def statistics(self, last: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean, and the inverse root of the covariance, by Newton's method."""
        rows = last.reshape(-1, self.width)
        if len(rows) < 2:
            raise ValueError("batch whitening needs two samples or more in training")
        mean = rows.mean(0)
        centered = rows - mean
        one = torch.eye(self.width, dtype=rows.dtype, device=rows.device)
        covariance = centered.T @ centered / len(rows) + self.eps * one
        trace = covariance.diagonal().sum()
        root, rest = one, covariance / trace  # rest goes to the other root, rest = root cov / tr
        for _ in range(self.iterations):
            factor = 1.5 * one - 0.5 * root @ rest
            root, rest = factor @ root, rest @ factor
        return mean, root / trace.sqrt()

    def extra_repr(self) -> str:
        """Return the settings for `print(model)`."""
        return f"{super().extra_repr()}, momentum={self.momentum}, iterations={self.iterations}"


Norm = BatchNorm | BatchWhitening | TorchBatchNorm  # with statistics of batches that serve at test


def populations(model: nn.Module, every: bool = False) -> list[Norm]:
    """Return the norms that want population statistics at test, or every one that could.

    Weights that were averaged have never met a batch: then every norm needs its statistics anew.
    """
    return [
        module
        for module in model.modules()
        if isinstance(module, Norm)
        and module.running_mean is not None
        and (every or getattr(module, "inference", "running") == "population")
    ]


@contextmanager
def populating(norms: Sequence[Norm]) -> Iterator[None]:
    """Take the statistics that serve at test anew, from the batches that are run inside.

    Run every training batch through the finished model, without gradient and with all other
    modules in evaluation. Inside, these norms go by each batch, as in training. At the end their
    running statistics are the mean of mu_B and m / (m - 1) times the mean of var_B, with m the
    numbers a feature has in a batch (Ioffe and Szegedy 2015, algorithm 2); for whitening, the
    means of mu_B and of the roots.
    """
    collected: list[list[dict[str, Tensor]]] = [[] for _ in norms]
    modes = [norm.training for norm in norms]
    try:
        with ExitStack() as hooks:
            for norm, batches in zip(norms, collected, strict=True):
                norm.train()
                hooks.callback(norm.register_forward_pre_hook(_noting(batches)).remove)
            yield
        for norm, batches in zip(norms, collected, strict=True):
            assert batches, "no batch was run"
            for name in batches[0]:
                mean = torch.stack([batch[name] for batch in batches]).mean(0)
                norm.get_buffer(name).copy_(mean)
    finally:
        for norm, mode in zip(norms, modes, strict=True):
            norm.train(mode)


def _noting(batches: list[dict[str, Tensor]]) -> Callable[[Any, tuple[Tensor, ...]], None]:
    def note(norm: Any, given: tuple[Tensor, ...]) -> None:
        batches.append(_statistics(norm, given[0].detach()))

    return note


def _statistics(norm: Norm, x: Tensor) -> dict[str, Tensor]:
    """Return what a batch says of each running statistic of the norm."""
    if isinstance(norm, BatchWhitening):
        mean, root = norm.statistics(norm.features_last(x))
        return {"running_mean": mean, "running_root": root}
    rows = in_rows(x, getattr(norm, "flat", False))
    mean, var = _moments(rows.to(norm.running_mean), correction=1)
    return {"running_mean": mean, "running_var": var}


def _moments(rows: Tensor, correction: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each feature of (B, D, ...)."""
    over = (0, *range(2, rows.dim()))
    var, mean = torch.var_mean(rows, over, correction=correction)
    return mean, var
