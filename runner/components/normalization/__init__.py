"""Normalizations: a factory gives `Normalization(make, position, layers)`, made for a layer."""

from runner.components.normalization.kind import Normalization as Normalization
