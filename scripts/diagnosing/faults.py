"""Faults to plant: for each verdict, on at least two data sets.

Words are those of a command. `{folder}` is where `diagnosing.material` has put tables and a module.
"""

from __future__ import annotations

from typing import NamedTuple

ACCURACY, LOSS = "valid/accuracy", "valid/loss"
FIT = "train/loss"  # for what concerns the fit alone
LAST = "last valid/loss"  # at the end of training; the best weights are another matter
GONE = ""  # no number gets better: the verdict is to be gone


class Fault(NamedTuple):
    """A fault: the verdict that must be given, and what must get better by its remedy.

    sound  of a network that the lectures break: the words of the healthy one, whose test accuracy
           the remedy must nearly reach
    """

    verdict: str
    words: str
    better: str = ACCURACY
    sound: str = ""


def deep(layers: int, width: int = 100) -> str:
    """Return the words of a deep network."""
    return f"architecture.hidden=[{','.join([str(width)] * layers)}]"


def table(name: str, task: str = "classification") -> str:
    """Return the words of a table that was made for this."""
    words = f"dataset=csv dataset.path={{folder}}/{name}.csv dataset.target=y preprocessing=none"
    return f"{words} dataset.task={task}" + (" loss=mse" if task == "regression" else "")


TANH, SIGMOID = "activation=tanh initializer=xavier_fan_in", "activation=sigmoid"
WINE, CANCER = "dataset=wine", "dataset=breast_cancer"
DIABETES = "dataset=diabetes loss=mse"
SIGNALS = "dataset=mnist1d dataset.valid=0.2 dataset.subset=1000"
DROPS = "--trust always_dropping --config-dir {folder}/conf architecture=always_dropping"

INITIALIZATION = [
    Fault("symmetric weights", "initializer=zeros", ACCURACY, "initializer=kaiming_normal"),
    Fault("symmetric weights", f"{WINE} initializer=constant"),
    Fault("shrinking activations", f"{deep(10)} activation=tanh initializer=normal_small", ACCURACY,
          f"{deep(10)} {TANH}"),
    Fault("shrinking activations", f"{deep(20)} initializer=xavier_fan_in optimizer.lr=0.01 "
          "trainer.epochs=10", ACCURACY,
          f"{deep(20)} initializer=kaiming_normal optimizer.lr=0.01"),
    Fault("shrinking activations", f"{SIGNALS} {deep(8)} initializer=normal_small"),
    Fault("exploding activations", f"{deep(6)} initializer=normal_big"),
    Fault("exploding activations", f"{WINE} {deep(6, 64)} initializer.gain=3"),
    Fault("saturated at the start", f"{deep(10)} activation=tanh initializer=normal_big", ACCURACY,
          f"{deep(10)} {TANH}"),
    Fault("saturated at the start", f"{WINE} {TANH} preprocessing=none"),
    Fault("dead units at the start", "initializer.bias=-10"),
    Fault("dead units at the start", f"{WINE} initializer.bias=-5"),
    Fault("vanishing gradients", f"{deep(8)} {SIGMOID} initializer=xavier_fan_in", ACCURACY,
          f"{deep(8)} initializer=kaiming_normal"),
    Fault("vanishing gradients", f"{WINE} {deep(8, 64)} {SIGMOID} initializer=xavier_fan_in"),
    Fault("exploding gradients", f"{deep(10)} activation=tanh initializer=normal_big"),
    Fault("exploding gradients", f"{SIGNALS} {deep(6)} initializer=normal_big"),
]  # fmt: skip
CURVES = [
    Fault("diverged", f"{WINE} optimizer.lr=3"),
    Fault("diverged", "dataset=moons optimizer.lr=1"),
    Fault("learning rate too high", "optimizer.lr=1", ACCURACY, "optimizer.lr=0.1"),
    Fault("learning rate too high", f"{DIABETES} optimizer=adam optimizer.lr=0.5", LOSS),
    Fault("learning rate too low", "optimizer.lr=0.00003", ACCURACY, "optimizer.lr=0.03"),
    Fault("learning rate too low", f"{WINE} optimizer.lr=0.0001"),
    Fault("learning rate too low", f"{CANCER} optimizer=sgd optimizer.lr=0.00005"),
    Fault("learning rate low", "optimizer.lr=0.001", ACCURACY, "optimizer.lr=0.01"),
    Fault("learning rate low", f"{WINE} optimizer.lr=0.001"),
    Fault("learning rate low", "dataset=spirals optimizer=adam optimizer.lr=0.0003", LOSS),
    Fault("stalled", f"{deep(4)} {SIGMOID} initializer=xavier_fan_in"),
    Fault("stalled", f"{SIGNALS} {deep(4)} {SIGMOID} initializer=xavier_fan_in"),
    Fault("updates too large", f"{WINE} optimizer=adam optimizer.lr=0.3", FIT),
    Fault("updates too large", f"{CANCER} optimizer=adam optimizer.lr=0.15 sampler=full_batch",
          FIT),
    Fault("updates too small", "optimizer.lr=1e-8"),
    Fault("updates too small", "dataset=moons optimizer=adam optimizer.lr=1e-8"),
    Fault("dead units", "optimizer=adam optimizer.lr=0.1"),
    Fault("dead units", f"{SIGNALS} optimizer=adam optimizer.lr=0.05", LOSS),
    Fault("saturated in training", f"{TANH} optimizer=adam optimizer.lr=0.1", LOSS),
    Fault("saturated in training", f"{SIGNALS} {TANH} optimizer=adam optimizer.lr=0.1"),
    Fault("overfitting", f"{WINE} dataset.subset=40 dataset.label_noise=0.3 optimizer=adam "
          "optimizer.lr=0.01 trainer.epochs=100 trainer.batch_size=20", LAST),
    Fault("overfitting", f"{DIABETES} trainer.epochs=200 optimizer=adam optimizer.lr=0.01", LAST),
    Fault("underfitting", "dataset=spirals architecture=linear"),
    Fault("underfitting", "dataset=spirals architecture.hidden=[2] optimizer=adam "
          "optimizer.lr=0.03"),
    Fault("underfitting", "regularizer=l2 regularizer.l2.strength=0.3"),
    Fault("underfitting", "dropout=inverted dropout.keep=0.05"),
]  # fmt: skip
DATA = [
    Fault("unscaled inputs", f"{WINE} preprocessing=none", ACCURACY, WINE),
    Fault("unscaled inputs", f"{CANCER} preprocessing=none"),
    Fault("large inputs", table("large"), ACCURACY),
    Fault("large inputs", table("large_numbers", "regression"), LOSS),
    Fault("small inputs", table("small")),
    Fault("small inputs", table("small_numbers", "regression"), LOSS),
    Fault("inputs off centre", table("shifted")),
    Fault("inputs off centre", "dataset=weather loss=mse preprocessing=none", LOSS),
    Fault("dependent inputs", f"{table('dependent')} architecture=linear optimizer=sgd", FIT),
    Fault("dependent inputs",
          f"{table('dependent_numbers', 'regression')} architecture=linear optimizer=sgd", FIT),
    Fault("nearly constant labels", f"{CANCER} dataset.balance=30"),
    Fault("nearly constant labels", table("constant"), GONE),
    Fault("class imbalance", "dataset.balance=50"),
    Fault("class imbalance", "dataset=mnist1d dataset.valid=0.2 dataset.balance=20", GONE),
    Fault("leakage", table("leaking"), GONE),
    Fault("leakage", table("leaking_numbers", "regression"), GONE),
    Fault("sorted data", "sampler=sorted_by_class"),
    Fault("sorted data", f"{SIGNALS} sampler=sorted_by_class normalization=batch"),
]  # fmt: skip
CONFIGURATION = [
    Fault("softmax twice", "output=softmax optimizer.lr=0.01", ACCURACY, "optimizer.lr=0.01"),
    Fault("softmax twice", f"{SIGNALS} output=softmax"),
    Fault("batch norm with tiny batches", "normalization=batch trainer.batch_size=2 "
          "trainer.epochs=4"),
    Fault("batch norm with tiny batches", f"{SIGNALS} normalization=batch trainer.batch_size=2 "
          "trainer.epochs=3"),
    Fault("weight decay on norms", "normalization=batch regularizer=l2 regularizer.l2.over=all",
          GONE),
    Fault("weight decay on norms", f"{WINE} normalization=layer optimizer=adamw "
          "optimizer.decay_on=all", GONE),
    Fault("schedule ends too early", "schedule=exponential schedule.rate=0.1"),
    Fault("schedule ends too early", f"{WINE} schedule=staircase schedule.every=1epochs"),
    Fault("running statistics off", "normalization=batch normalization.momentum=0.001"),
    Fault("running statistics off", f"{SIGNALS} normalization=batch normalization.momentum=0.001"),
    Fault("noise at test", DROPS, GONE),
    Fault("noise at test", f"{WINE} {DROPS}", GONE),
]  # fmt: skip
FAULTS = [*INITIALIZATION, *CURVES, *DATA, *CONFIGURATION]

# Pairs of configurations: nothing but the seeds tells the first pairs apart; the last one differs.
ALIKE = [("architecture.hidden=[128,128]", "architecture.hidden=[128,127]"),
         (f"{WINE} architecture.hidden=[64]", f"{WINE} architecture.hidden=[63]")]  # fmt: skip
APART = [("optimizer.lr=0.03", "optimizer.lr=0.0003")]
