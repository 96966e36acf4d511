"""Vision transformers: patches of an image as tokens that attend to each other."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from runner.components.architecture.convolutional import CONVOLUTIONS, maps
from runner.components.architecture.residual import Residual
from runner.components.architecture.unit import Unit, divisors, times
from runner.foundation.ranges import Count


def vit(
    inputs: Sequence[int],
    outputs: int,
    unit: Unit,
    *,
    patch: Count,
    width: Count,
    depth: Count,
    heads: Count,
    expansion: Count,
) -> nn.Module:
    """Return a small vision transformer, after Dosovitskiy et al. 2021.

    Each `patch` x `patch` piece becomes a token of `width` numbers, with a learned number added
    for its place. `depth` times: x + attention(norm(x)), then x + mlp(norm(x)), whose hidden
    layer is a unit of `expansion` * width. The mean over the tokens goes to a linear layer. The
    layer norms belong to the architecture; the run's normalization stands in the mlp's unit.
    `inputs` is (channels, H, W) or (channels, L), each side a multiple of the patch.
    """
    channels, size = maps(inputs, "vit")
    if any(side % patch for side in size):
        raise ValueError(
            f"a patch of {patch} does not divide the image of {times(size)}; "
            f"use architecture.patch={_either(divisors(*size))}"
        )
    if width % heads:
        raise ValueError(
            f"{heads} heads do not divide a width of {width}; "
            f"use architecture.heads={_either(divisors(width))}"
        )
    tokens = prod(side // patch for side in size)
    embedding = CONVOLUTIONS[len(size)](channels, width, patch, stride=patch)
    blocks = [block for _ in range(depth) for block in _blocks(width, heads, expansion, unit)]
    last = nn.Linear(width, outputs)
    return nn.Sequential(
        embedding, Tokens(tokens, width), *blocks, nn.LayerNorm(width), Mean(), last
    )


class Tokens(nn.Module):
    """Map the features of patches (B, D, ...) to tokens (B, T, D) that know their places."""

    def __init__(self, tokens: int, width: int):
        super().__init__()
        self.shape = tokens, width
        # Of one dimension: no weight of a layer, which regularizers and Muon act on.
        self.places = nn.Parameter(0.02 * torch.randn(tokens * width))

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens, row by row, with what is learned for their places."""
        return x.flatten(2).transpose(1, 2) + self.places.view(self.shape)


class Attention(nn.Module):
    """Mix tokens (B, T, D) with `heads` heads: softmax(Q K' / sqrt(D / heads)) V each."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.projected = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixed tokens (B, T, D)."""
        batch, tokens, width = x.shape
        parts = self.projected(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        # With batch and heads as one dimension torch takes plain products; its fused kernels
        # have no second derivative, and some no rule for stacked models.
        query, key, value = parts.flatten(1, 2).unbind()  # (B heads, T, D / heads)
        heads = scaled_dot_product_attention(query, key, value).view(batch, self.heads, tokens, -1)
        return self.mixed(heads.transpose(1, 2).reshape(batch, tokens, width))

    def extra_repr(self) -> str:
        """Return the settings for `print(model)`."""
        return f"heads={self.heads}"


class Perceptron(nn.Module):
    """Map each token of (B, T, D) by itself: a unit, then a linear layer.

    The unit's layer is a convolution with a kernel of 1, the same map on (B, D, T), so that what
    stands in a unit finds the features in the second dimension, as behind every other layer. A
    normalization there takes its statistics over features and tokens, as in an image.
    """

    def __init__(self, width: int, hidden: int, unit: Unit):
        super().__init__()
        self.hidden = unit(nn.Conv1d(width, hidden, 1))
        self.mixed = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mapped tokens (B, T, D)."""
        return self.mixed(self.hidden(x.transpose(1, 2)).transpose(1, 2))


class Mean(nn.Module):
    """Average tokens (B, T, D) to (B, D)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean."""
        return x.mean(1)


def _blocks(width: int, heads: int, expansion: int, unit: Unit) -> tuple[Residual, Residual]:
    """Return attention among tokens, and the mlp of each token."""
    attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads))
    mlp = nn.Sequential(nn.LayerNorm(width), Perceptron(width, expansion * width, unit))
    return Residual(attention, nn.Identity()), Residual(mlp, nn.Identity())


def _either(numbers: list[int]) -> str:
    """Return numbers as alternatives: 1, 2 or 4."""
    *most, last = map(str, numbers)
    return f"{', '.join(most)} or {last}" if most else last
