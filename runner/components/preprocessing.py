"""Preprocessing, fitted on the training rows alone.

A factory takes the training inputs x (N, ...) and, for regression, the training targets y (N, C)
(None for classes), and gives `Fitted(inputs, targets)`, each an `(apply, invert)` pair. With
`targets`, regression targets are standardized whatever is done to the inputs, and metrics are
given in the data's own units. Images and signals (N, channels, ...) have channels, tables (N, D)
have none.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Annotated, Literal, NamedTuple

import torch
from torch import Tensor

from runner.foundation.ranges import Count, Finite, NonNegative, Range

Per = Literal["auto", "feature", "channel"]
Share = Annotated[float, Range(0, 1, low_open=True)]
ROWS = 4096  # of a block: statistics in double precision need no double copy of the data


class Transform(NamedTuple):
    """A map and its inverse, each for any number of rows."""

    apply: Callable[[Tensor], Tensor]
    invert: Callable[[Tensor], Tensor]


class Fitted(NamedTuple):
    """What a preprocessing learned from the training rows."""

    inputs: Transform
    targets: Transform
    warnings: tuple[str, ...] = ()


def _identity(x: Tensor) -> Tensor:
    return x


IDENTITY = Transform(_identity, _identity)


def none(x: Tensor, y: Tensor | None) -> Fitted:
    """Leave inputs and targets in the data's own units."""
    return Fitted(IDENTITY, IDENTITY)


def center(x: Tensor, y: Tensor | None, *, per: Per, targets: bool) -> Fitted:
    """Give zero mean: x - mu.

    `per: feature` takes the mean over the rows, for images the mean image (AlexNet); `channel`
    over rows and positions, one number a channel (VGGNet); `auto` takes channels where there are
    any.
    """
    mean = _mean(x, _reduced(x, per)).to(x.dtype)
    return Fitted(Transform(lambda x: x - mean, lambda x: x + mean), _targets(y, targets))


def standardize(x: Tensor, y: Tensor | None, *, per: Per, targets: bool) -> Fitted:
    """Give zero mean and unit standard deviation: (x - mu) / sigma, sigma with ddof 0.

    `per: feature` takes statistics over the rows; `channel` over rows and positions, for
    (N, channels, H, W) and (N, channels, L); `auto` takes channels where there are any, as the
    border pixels of images hardly vary. A column that does not vary is only centred.
    """
    inputs, constant = _standardization(x, _reduced(x, per))
    warnings = (f"{constant} of the inputs do not vary; they are centred, not scaled",)
    return Fitted(inputs, _targets(y, targets), warnings if constant else ())


def min_max(
    x: Tensor, y: Tensor | None, *, per: Per, low: Finite, high: Finite, targets: bool
) -> Fitted:
    """Map the training rows' least value to `low` and their greatest to `high`, linearly.

    Statistics are taken `per` feature or channel, as by `standardize`. Other rows may lie beyond.
    A column that does not vary becomes `low`.
    """
    if low >= high:
        raise ValueError(f"low < high is needed, got low={low:g} and high={high:g}")
    over = _reduced(x, per)
    least, greatest = x.amin(over, keepdim=True), x.amax(over, keepdim=True)
    factor = (high - low) / torch.where(greatest > least, greatest - least, 1)
    inputs = Transform(lambda x: low + (x - least) * factor, lambda z: (z - low) / factor + least)
    constant = int((greatest == least).sum())
    warnings = (f"{constant} of the inputs do not vary; they become {low:g}",)
    return Fitted(inputs, _targets(y, targets), warnings if constant else ())


def pca(
    x: Tensor,
    y: Tensor | None,
    *,
    components: Count | None,
    variance: Share | None,
    targets: bool,
) -> Fitted:
    """Rotate to the principal axes: (x - mu) V, of falling variance and uncorrelated.

    Images become flat rows (N, D). `components` keeps so many axes, `variance` as many as hold
    that share of the variance, neither keeps all D; to invert then gives the projection.
    """
    axes = _axes(x)
    count = _kept(axes.deviations, components, variance)
    rotation = _linear(x, axes.mean, axes.vectors[:, :count], axes.vectors[:, :count].T)
    return Fitted(rotation, _targets(y, targets))


def pca_whiten(
    x: Tensor,
    y: Tensor | None,
    *,
    scale: Literal["unit_variance", "literal"],
    eps: NonNegative,
    components: Count | None,
    variance: Share | None,
    targets: bool,
) -> Fitted:
    """Rotate to the principal axes and give each unit variance: (x - mu) V / (sigma + eps).

    With the singular value decomposition x - mu = U S V^T, sigma = S / sqrt(N): the variance is
    that with ddof 0. `scale: literal` divides by S + eps instead, which gives the columns of
    U with variance 1 / N, for which usual learning rates are too small. An axis along which
    nothing varies is not scaled. `components` and `variance` keep the first axes, as in `pca`.
    """
    axes = _axes(x)
    sigma = axes.deviations * (len(x) ** 0.5 if scale == "literal" else 1)
    divisor = torch.where(axes.varies, sigma + eps, 1)
    count = _kept(axes.deviations, components, variance)
    vectors, divisor = axes.vectors[:, :count], divisor[:count]
    whitening = _linear(x, axes.mean, vectors / divisor, (vectors * divisor).T)
    return Fitted(whitening, _targets(y, targets), _still(axes.varies[:count]))


def zca(x: Tensor, y: Tensor | None, *, eps: NonNegative, targets: bool) -> Fitted:
    """Whiten and rotate back: (x - mu) V (sigma + eps)^-1 V^T, images stay images.

    Of all whitenings it changes the rows least (Bell and Sejnowski 1997). An axis along which
    nothing varies is not scaled. A larger `eps`, in the data's own units, amplifies less of
    what hardly varies.
    """
    axes = _axes(x)
    divisor = torch.where(axes.varies, axes.deviations + eps, 1)
    forth = (axes.vectors / divisor) @ axes.vectors.T
    back = (axes.vectors * divisor) @ axes.vectors.T
    whitening = _linear(x, axes.mean, forth, back)
    shape = x.shape[1:]
    inputs = Transform(lambda x: whitening.apply(x).reshape(len(x), *shape), whitening.invert)
    return Fitted(inputs, _targets(y, targets), _still(axes.varies))


def _reduced(x: Tensor, per: Per) -> tuple[int, ...]:
    """Return the axes that statistics are taken over."""
    channels = x.dim() >= 3
    if per == "channel" and not channels:
        raise ValueError(f"per=channel needs images or signals, got rows of {(*x.shape[1:],)}")
    return (0, *range(2, x.dim())) if channels and per != "feature" else (0,)


def _targets(y: Tensor | None, wanted: bool) -> Transform:
    return IDENTITY if y is None or not wanted else _standardization(y, (0,))[0]


def _standardization(x: Tensor, over: tuple[int, ...]) -> tuple[Transform, int]:
    """Return the transform and the number of columns whose standard deviation is 0."""
    mean = _mean(x, over)
    std = _mean(x, over, mean).sqrt()
    constant = std <= 1e-12 * mean.abs()  # rounding leaves a speck where values are all alike
    scale = torch.where(constant, 1.0, std).to(x.dtype)
    mean = mean.to(x.dtype)
    transform = Transform(lambda x: (x - mean).div_(scale), lambda x: x * scale + mean)
    return transform, int(constant.sum())


def _mean(x: Tensor, over: tuple[int, ...], around: Tensor | None = None) -> Tensor:
    """Return the mean in double precision, or that of the squared distances from `around`."""
    sums = [
        (block if around is None else (block - around).square_()).sum(
            over, keepdim=True, dtype=torch.float64
        )
        for block in x.split(ROWS)
    ]
    return torch.stack(sums).sum(0) / prod(x.shape[axis] for axis in over)


class _Axes(NamedTuple):
    """Principal axes in double precision, of falling variance."""

    mean: Tensor  # (D,)
    vectors: Tensor  # (D, D), an axis a column
    deviations: Tensor  # (D,), standard deviations with ddof 0
    varies: Tensor  # (D,), whether there is more variance than rounding makes


def _axes(x: Tensor) -> _Axes:
    """Find the eigenvectors of the covariance (D, D), summed up over blocks of rows.

    The largest entry of each vector is made positive, as the sign is anyone's choice.
    """
    rows = x.flatten(1)
    mean = torch.stack([block.double().sum(0) for block in rows.split(ROWS)]).sum(0) / len(rows)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=x.device)
    for block in rows.split(ROWS):
        centred = block.double() - mean
        covariance += centred.T @ centred / len(rows)
    variances, vectors = torch.linalg.eigh(covariance)
    variances, vectors = variances.flip(0).clamp(min=0), vectors.flip(1)
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    size = (covariance.diagonal() + mean.square()).max().sqrt()
    digits = max(torch.finfo(x.dtype).eps, 1e-12)  # of the data, and of a sum over the rows
    rounding = torch.maximum(
        len(mean) * torch.finfo(torch.float64).eps * variances[0], (digits * size).square()
    )
    return _Axes(mean, vectors * largest.sign(), variances.sqrt(), variances > rounding)


def _kept(deviations: Tensor, components: int | None, variance: float | None) -> int:
    """Return how many axes to keep."""
    if components is not None and variance is not None:
        raise ValueError("components or variance says how many axes to keep; set one to null")
    if components is not None and components > len(deviations):
        raise ValueError(f"components={components} of {len(deviations)} inputs cannot be kept")
    if variance is None:
        return components or len(deviations)
    shares = deviations.square().cumsum(0)
    return min(int((shares < variance * shares[-1]).sum()) + 1, len(deviations))


def _linear(x: Tensor, mean: Tensor, forth: Tensor, back: Tensor) -> Transform:
    """Return (x - mean) forth on flat rows, and z back + mean in the shape of x."""
    mean, forth, back = (each.to(x.dtype) for each in (mean, forth, back))
    shape = x.shape[1:]
    return Transform(
        lambda x: (x.flatten(1) - mean) @ forth,
        lambda z: (z.flatten(1) @ back + mean).reshape(len(z), *shape),
    )


def _still(varies: Tensor) -> tuple[str, ...]:
    """Warn of the axes along which nothing varies."""
    still = int((~varies).sum())
    warning = f"along {still} of {len(varies)} axes the inputs do not vary; they are not scaled"
    return (warning,) if still else ()
