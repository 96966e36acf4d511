"""Optimizers: a factory gives `Optimizer`, an update rule with its numbers."""

from runner.components.optimizer.adaptive import adadelta, adagrad, rmsprop
from runner.components.optimizer.classical import gd, momentum, momentum_lecture, sgd
from runner.components.optimizer.line_search import backtracking
from runner.components.optimizer.moments import (
    adam,
    adam_lecture,
    adamax,
    adamw,
    nadam,
    radam,
)
from runner.components.optimizer.orthogonal import muon
from runner.components.optimizer.second_order import lbfgs, newton
from runner.components.optimizer.signs import lion, rprop, rprop_torch

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "adam_lecture",
    "adamax",
    "adamw",
    "backtracking",
    "gd",
    "lbfgs",
    "lion",
    "momentum",
    "momentum_lecture",
    "muon",
    "nadam",
    "newton",
    "radam",
    "rmsprop",
    "rprop",
    "rprop_torch",
    "sgd",
]
