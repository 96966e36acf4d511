"""Activations: a factory gives one module, so that learned parameters are never shared."""

from __future__ import annotations

from torch import nn

from runner.foundation.ranges import Finite


def relu() -> nn.Module:
    """Rectify: max(0, z)."""
    return nn.ReLU()


def tanh() -> nn.Module:
    """Squash to (-1, 1): tanh z."""
    return nn.Tanh()


def sigmoid() -> nn.Module:
    """Squash to (0, 1): 1 / (1 + e^-z)."""
    return nn.Sigmoid()


def leaky_relu(*, slope: Finite) -> nn.Module:
    """Rectify but let a little through: max(slope z, z) for a slope below 1."""
    return nn.LeakyReLU(slope)


def gelu() -> nn.Module:
    """Weigh z by the Gaussian distribution function: z Phi(z) (Hendrycks and Gimpel 2016)."""
    return nn.GELU()
