"""Normalizations: `(layer) -> module` to stand behind that layer.

Each is a function of the layer, so that all share one signature and read the number of features
(a linear layer) or channels (a convolution) themselves.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runner.foundation.ranges import KeepProbability, Positive


def none(layer: nn.Module) -> nn.Module:
    """Leave the layer's output as it is."""
    return nn.Identity()


def batch(layer: nn.Module, *, momentum: KeepProbability, eps: Positive) -> nn.Module:
    """Standardize each feature over the batch: gamma (z - mu_B) / sqrt(var_B + eps) + beta.

    Ioffe and Szegedy 2015. A convolution's statistics run over the batch and the image. At test
    the running averages stand in, updated as new = (1 - momentum) old + momentum batch, with the
    unbiased variance.
    """
    return BatchNorm(_width(layer), momentum, eps)


def layer(layer: nn.Module, *, eps: Positive) -> nn.Module:
    """Standardize each sample over its features, or over its channels and image (Ba et al. 2016).

    Scale and shift are learned for each feature or channel.
    """
    width = _width(layer)
    return nn.LayerNorm(width, eps) if isinstance(layer, nn.Linear) else nn.GroupNorm(1, width, eps)


class BatchNorm(nn.Module):
    """Batch normalization of (B, D) or (B, D, ...) that also serves stacked models.

    The running statistics are updated in place in training. Under `torch.func.vmap` the caller
    passes copies of the buffers and takes them back; there is no counter of batches, the one
    part of torch's module that cannot be stacked.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, momentum: float, eps: float):
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (B, D, ...) by the batch in training, by running statistics otherwise."""
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(
            x, mean, var, self.weight, self.bias, self.training, self.momentum, self.eps
        )

    def extra_repr(self) -> str:
        """Return the settings for `print(model)`."""
        return f"{self.weight.numel()}, momentum={self.momentum}, eps={self.eps}"


def _width(layer: nn.Module) -> int:
    width = getattr(layer, "out_features", None) or getattr(layer, "out_channels", None)
    if not isinstance(width, int):
        raise ValueError(f"cannot normalize behind a {type(layer).__name__} layer")
    return width
