"""Nothing behind the layer: no normalization, or one of the layer's own weights."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils import parametrize

from runner.components.normalization.kind import (
    Layers,
    Normalization,
    Position,
    normalization,
    width,
)


@normalization
def none(layer: nn.Module) -> nn.Module:
    """Leave the layer's output as it is."""
    return nn.Identity()


def weight(*, position: Position, layers: Layers) -> Normalization:
    """Write each row of the layer's weight as length times direction: w = g v / |v|.

    g and v are what is learned (Salimans and Kingma 2016); a row is what feeds one feature or
    channel. Values are not touched, so that a place after the activation has no meaning: a
    `ValueError`.
    """
    if position == "after":
        raise ValueError(
            "weight normalization acts on weights and stands nowhere; "
            "leave normalization.position=before"
        )

    def make(layer: nn.Module) -> nn.Module:
        width(layer)
        parametrize.register_parametrization(layer, "weight", Directed())
        return nn.Identity()

    return Normalization(make, position, layers)


class Directed(nn.Module):
    """The weight of lengths g (Dout) and directions v (Dout, Din, ...).

    As torch's `weight_norm` has it, whose kernel has no rule for stacked models.
    """

    def forward(self, g: Tensor, v: Tensor) -> Tensor:
        """Return g v / |v|, row by row."""
        return v * (g / v.flatten(1).norm(dim=1)).reshape(-1, *[1] * (v.dim() - 1))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return lengths and directions of a weight without rows of zeros."""
        return weight.flatten(1).norm(dim=1), weight
