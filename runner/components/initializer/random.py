"""Independent random weights: a distribution, and a spread read off the layer's fans.

`activation_gain` belongs to the activation that follows the layer, 1 / sqrt(E f(z)^2) with
z ~ N(0, 1), and is 1 where none follows; a number in place of `auto` overrides it.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import Literal

from torch import Generator, Tensor

from runner.components.initializer.kind import Initializer, initializer
from runner.components.initializer.layers import fans
from runner.foundation.ranges import Count, Finite, NonNegative, Positive

Gain = Positive | Literal["auto"]
Fan = Literal["in", "out"]


@initializer
def normal(
    weight: Tensor, activation_gain: float, generator: Generator, *, std: NonNegative
) -> None:
    """Draw from N(0, std^2)."""
    weight.normal_(0, std, generator=generator)


@initializer
def uniform(
    weight: Tensor, activation_gain: float, generator: Generator, *, bound: Positive
) -> None:
    """Draw from U(-bound, bound), whose variance is bound^2 / 3."""
    weight.uniform_(-bound, bound, generator=generator)


@initializer
def xavier_fan_in(weight: Tensor, activation_gain: float, generator: Generator) -> None:
    """Draw from N(0, 1 / fan_in): the "Xavier" of three of the lectures (LeCun et al. 1998)."""
    weight.normal_(0, sqrt(1 / fans(weight)[0]), generator=generator)


@initializer
def fan_out(weight: Tensor, activation_gain: float, generator: Generator) -> None:
    """Draw from N(0, 1 / fan_out), which keeps the gradient's variance: half of Glorot's case."""
    weight.normal_(0, sqrt(1 / fans(weight)[1]), generator=generator)


@initializer
def glorot_normal(weight: Tensor, activation_gain: float, generator: Generator) -> None:
    """Draw from N(0, 2 / (fan_in + fan_out)) (Glorot and Bengio 2010), torch's "xavier"."""
    weight.normal_(0, sqrt(2 / sum(fans(weight))), generator=generator)


@initializer
def glorot_uniform(weight: Tensor, activation_gain: float, generator: Generator) -> None:
    """Draw from U(+-sqrt(6 / (fan_in + fan_out))), of variance 2 / (fan_in + fan_out)."""
    _uniform(weight, 2 / sum(fans(weight)), generator)


@initializer
def kaiming_normal(
    weight: Tensor, activation_gain: float, generator: Generator, *, gain: Gain, fan: Fan
) -> None:
    """Draw from N(0, gain^2 / fan); the gain of ReLU is sqrt 2 (He et al. 2015, eq. 10 and 14)."""
    weight.normal_(0, sqrt(_kaiming(weight, activation_gain, gain, fan)), generator=generator)


@initializer
def kaiming_uniform(
    weight: Tensor, activation_gain: float, generator: Generator, *, gain: Gain, fan: Fan
) -> None:
    """Draw from U(+-gain sqrt(3 / fan)), of variance gain^2 / fan."""
    _uniform(weight, _kaiming(weight, activation_gain, gain, fan), generator)


@initializer
def defazio_bottou(
    weight: Tensor, activation_gain: float, generator: Generator, *, scale: Positive
) -> None:
    """Draw from N(0, scale / sqrt(fan_in fan_out)), the geometric mean of the fans.

    Scale 2 suits ReLU (Defazio and Bottou 2022).
    """
    fan_in, fan_out = fans(weight)
    weight.normal_(0, sqrt(scale / sqrt(fan_in * fan_out)), generator=generator)


@initializer
def random_walk(
    weight: Tensor, activation_gain: float, generator: Generator, *, gain: Gain
) -> None:
    """Draw from N(0, g^2 / n), n = fan_in, g = gain exp(1.2 / (max(n, 6) - 2.4)).

    Through layers of finite width the log of the gradient's length walks at random; the second
    factor, which goes to 1 as layers widen, takes away its drift. It was found for ReLU, gain
    sqrt 2 (Sussillo and Abbott 2014).
    """
    fan_in, _ = fans(weight)
    factor = _chosen(gain, activation_gain) * exp(1.2 / (max(fan_in, 6) - 2.4))
    weight.normal_(0, factor / sqrt(fan_in), generator=generator)


def torch_default() -> Initializer:
    """Draw weights and biases from U(+-1 / sqrt(fan_in)), as torch's layers do by themselves.

    The weights' variance, 1 / (3 fan_in), is a third of what keeps a signal's, and a sixth of
    what ReLU needs; here as a contrast.
    """

    def fill(weight: Tensor, activation_gain: float, generator: Generator) -> None:
        _uniform(weight, 1 / (3 * fans(weight)[0]), generator)

    def fill_bias(bias: Tensor, weight: Tensor, generator: Generator) -> None:
        _uniform(bias, 1 / (3 * fans(weight)[0]), generator)

    return Initializer(fill, fill_bias)


def multi_restart(*, starts: Count, gain: Gain, bias: Finite) -> Initializer:
    """Draw `starts` models as `kaiming_normal` does, and keep the one of the lowest objective.

    The objective is that of training, penalties included, on the first training rows.
    """
    return kaiming_normal(gain=gain, fan="in", bias=bias)._replace(starts=starts)


def _kaiming(weight: Tensor, activation_gain: float, gain: Gain, fan: Fan) -> float:
    """Return the variance gain^2 / fan."""
    return _chosen(gain, activation_gain) ** 2 / fans(weight)[fan == "out"]


def _chosen(gain: Gain, activation_gain: float) -> float:
    return activation_gain if gain == "auto" else gain


def _uniform(tensor: Tensor, variance: float, generator: Generator) -> None:
    """Draw from the uniform distribution around 0 of this variance."""
    bound = sqrt(3 * variance)
    tensor.uniform_(-bound, bound, generator=generator)
