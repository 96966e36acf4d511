"""Activations: a factory gives one module, so that learned parameters are never shared.

Numbers may be tensors with one entry per lane; torch's own kernels, which are several times
faster, take plain numbers only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from runner.foundation.ranges import Count, Finite, Positive


def identity() -> nn.Module:
    """Change nothing: z; layers without activation collapse into one linear map."""
    return nn.Identity()


def sign() -> nn.Module:
    """Give -1, 0 or 1; the slope is 0, so that no gradient passes."""
    return Sign()


def sigmoid() -> nn.Module:
    """Squash to (0, 1): 1 / (1 + e^-z)."""
    return nn.Sigmoid()


def tanh() -> nn.Module:
    """Squash to (-1, 1): tanh z."""
    return nn.Tanh()


def softsign() -> nn.Module:
    """Squash to (-1, 1), with slow tails: z / (1 + |z|)."""
    return nn.Softsign()


def relu() -> nn.Module:
    """Rectify: max(0, z)."""
    return nn.ReLU()


def leaky_relu(*, slope: Finite) -> nn.Module:
    """Rectify but let a little through: max(slope z, z) for a slope below 1."""
    return LeakyReLU(slope)


def prelu(*, start: Finite) -> nn.Module:
    """Rectify with a learned slope below 0, one for the layer, from `start` (He et al. 2015)."""
    return nn.PReLU(init=start)


def elu(*, alpha: Positive) -> nn.Module:
    """Rectify smoothly towards -alpha: z above 0, alpha (e^z - 1) below (Clevert et al. 2016)."""
    return ELU(alpha)


def selu() -> nn.Module:
    """Scale an elu so that mean 0 and variance 1 stay (Klambauer et al. 2017)."""
    return nn.SELU()


def gelu() -> nn.Module:
    """Weigh z by the Gaussian distribution function: z Phi(z) (Hendrycks and Gimpel 2016)."""
    return nn.GELU()


def silu() -> nn.Module:
    """Weigh z by its sigmoid: z / (1 + e^-z), also known as swish (Elfwing et al. 2018)."""
    return nn.SiLU()


def softplus() -> nn.Module:
    """Rectify without a corner: log(1 + e^z)."""
    return nn.Softplus()


def maxout(*, pieces: Count) -> nn.Module:
    """Take the largest of `pieces` linear maps: max_k (w_k x + b_k) (Goodfellow et al. 2013).

    The layer before it is made that many times wider.
    """
    return Maxout(pieces)


class Sign(nn.Module):
    """Map numbers to -1, 0 or 1."""

    def forward(self, z: Tensor) -> Tensor:
        """Return the signs."""
        return z.sign()


class LeakyReLU(nn.LeakyReLU):
    """torch's, with a slope that may be a tensor."""

    def forward(self, z: Tensor) -> Tensor:
        """Return z above 0 and slope z below."""
        if isinstance(self.negative_slope, Tensor):
            return torch.where(z > 0, z, self.negative_slope * z)
        return super().forward(z)


class ELU(nn.ELU):
    """torch's, with an alpha that may be a tensor."""

    def forward(self, z: Tensor) -> Tensor:
        """Return z above 0 and alpha (e^z - 1) below."""
        if isinstance(self.alpha, Tensor):
            return torch.where(z > 0, z, self.alpha * nn.functional.elu(z))
        return super().forward(z)


class Maxout(nn.Module):
    """Map (B, h * pieces, ...) to (B, h, ...), the largest of each `pieces` neighbours."""

    def __init__(self, pieces: int):
        super().__init__()
        self.pieces = pieces

    def forward(self, z: Tensor) -> Tensor:
        """Return the largest pieces."""
        return z.unflatten(1, (-1, self.pieces)).amax(2)

    def extra_repr(self) -> str:
        """Return the settings for `print(model)`."""
        return f"pieces={self.pieces}"
