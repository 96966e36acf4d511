"""Initializers: a factory gives `Initializer(fill, bias, adjust, starts)`."""

from runner.components.initializer.kind import Initializer as Initializer
from runner.components.initializer.kind import Trial as Trial
