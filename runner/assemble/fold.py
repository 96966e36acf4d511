"""Folding: batch norms merged into neighbouring layers, for a model that is only asked."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TypeGuard

from torch import Tensor, nn
from torch.nn.utils import parametrize

from runner.components.dropout import Dropout
from runner.components.normalization.batchwise import BatchNorm, FullDataNorm

Norm = BatchNorm | FullDataNorm
Neighbour = nn.Linear | nn.Conv1d | nn.Conv2d
Line = list[tuple[nn.Module, str]]  # modules that run one after the other: owner and name
Means = nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d
Largest = nn.MaxPool1d | nn.MaxPool2d


def folded(model: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose batch norms are part of neighbouring layers.

    At test a batch norm is s z + t for each feature, s = gamma / sqrt(var + eps) and
    t = beta - s mean. It goes into the layer before it, W' = diag(s) W and b' = s b + t, or, where
    it stands behind an activation, into the next one: W' = W diag(s) and b' = b + W t. Outputs
    stay equal but for rounding.

    A norm stays where it is if neither holds exactly: the next layer is a convolution that pads
    with zeros, which t would have to fill; a sum, the end of a branch or an unknown module comes
    first; the largest is taken of features with a negative s; the neighbour is weight normalized.
    """
    model = copy.deepcopy(model).eval()
    for line in _lines(model):
        for at, place in enumerate(line):
            norm = getattr(*place)
            if not isinstance(norm, Norm):
                continue
            scale, shift = _affine(norm)
            if (_into_last(line[:at], scale, shift)
                    or _into_next(norm, line[at + 1 :], scale, shift)):  # fmt: skip
                setattr(*place, nn.Identity().eval())
    return model


def _lines(model: nn.Module) -> Iterator[Line]:
    """Yield lines of modules, the longest first: sequences, with those inside them unrolled."""
    for module in model.modules():  # owners come before what they own
        if _is_sequence(module):
            yield list(_unrolled(module))


def _unrolled(sequence: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    for name, child in sequence.named_children():
        if _is_sequence(child):
            yield from _unrolled(child)
        else:
            yield sequence, name


def _is_sequence(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _affine(norm: Norm) -> tuple[Tensor, Tensor]:
    """Return scale and shift of each feature at test, in float64."""
    if isinstance(norm, BatchNorm):
        mean, var = norm.running_mean, norm.running_var
    else:
        mean, var = norm.mean, norm.var
    scale = (var.double() + norm.eps).rsqrt()
    if norm.weight is None or norm.bias is None:
        return scale, -scale * mean
    scale = scale * norm.weight.detach()
    return scale, norm.bias.detach() - scale * mean


def _into_last(before: Line, scale: Tensor, shift: Tensor) -> bool:
    """Merge into the layer right before; tell whether that was possible."""
    layer = getattr(*before[-1]) if before else None
    if not _is_plain(layer):
        return False
    rows = scale.reshape(-1, *[1] * (layer.weight.dim() - 1))
    bias = 0 if layer.bias is None else layer.bias
    _set(layer, rows * layer.weight, scale * bias + shift)
    return True


def _into_next(norm: Norm, after: Line, scale: Tensor, shift: Tensor) -> bool:
    """Merge into the next layer, if what stands between passes scale and shift on."""
    flattened = False
    for place in after:
        module = getattr(*place)
        if _is_plain(module):
            return _absorbed(module, norm, flattened, scale, shift)
        if not _passes(module, scale):
            return False
        flattened |= isinstance(module, nn.Flatten)
        if isinstance(module, Dropout) and not module.inverted:
            shift = shift * module.keep
    return False


def _passes(module: nn.Module, scale: Tensor) -> bool:
    """Tell whether at test f(s z + t) = s f(z) + t for each feature, or + keep t."""
    if isinstance(module, Dropout):
        return module.average == "none"
    if isinstance(module, nn.Flatten):
        return (module.start_dim, module.end_dim) == (1, -1)
    if isinstance(module, Largest):
        return bool((scale >= 0).all())
    return isinstance(module, nn.Identity | Means)


def _absorbed(layer: Neighbour, norm: Norm, flattened: bool, scale: Tensor, shift: Tensor) -> bool:
    """Let a layer do to its input what the norm did; tell whether it can."""
    if isinstance(layer, nn.Linear):
        apart = layer.in_features // norm.width  # numbers of one channel, side by side
        in_step = apart == 1 if norm.flat else flattened
        if apart * norm.width != layer.in_features or not in_step:
            return False
        columns = scale.repeat_interleave(apart), shift.repeat_interleave(apart)
    elif norm.flat or layer.groups > 1 or _pads_with_zeros(layer):
        return False
    else:
        columns = scale, shift
    shape = (1, -1, *[1] * (layer.weight.dim() - 2))
    scales, shifts = (each.reshape(shape) for each in columns)
    bias = 0 if layer.bias is None else layer.bias
    _set(layer, layer.weight * scales, bias + (layer.weight * shifts).flatten(1).sum(1))
    return True


def _pads_with_zeros(layer: nn.Conv1d | nn.Conv2d) -> bool:
    pads = layer.padding != "valid" and any(layer.padding)
    return layer.padding_mode == "zeros" and bool(pads)


def _is_plain(layer: nn.Module | None) -> TypeGuard[Neighbour]:
    return isinstance(layer, Neighbour) and not parametrize.is_parametrized(layer)


def _set(layer: Neighbour, weight: Tensor, bias: Tensor) -> None:
    dtype = layer.weight.dtype
    layer.weight = nn.Parameter(weight.detach().to(dtype))
    layer.bias = nn.Parameter(bias.detach().to(dtype))
