"""Verdicts on the data as the network gets it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from runner.diagnosis.verdicts.kind import Evidence, Kind, Verdict

PLAIN = ("gd", "sgd", "momentum", "momentum_lecture", "nesterov")  # by the gradient alone
SLOW = 0.05  # of what there was to learn: a run that leaves less was not held up
FEW = 16  # rows of a batch, of which one class may well have nearly all

UNSCALED = Kind(
    "unscaled inputs", "warning", "standard deviation of the widest column over the narrowest",
    100.0, "S3: weather, 40 to 100 beside 0.3 to 0.6; S4: scaling, first idea",
    "preprocessing=standardize",
)  # fmt: skip
LARGE = Kind(
    "large inputs", "warning", "root mean square of the inputs", 10.0,
    "He et al. 2015: outputs begin as large as inputs, and a softmax of +-10 is saturated",
    "preprocessing=standardize",
)  # fmt: skip
SMALL = Kind(
    "small inputs", "warning", "root mean square of the inputs", 0.05,
    "theory: the first layer's gradient shrinks with it, to a twentieth here",
    "preprocessing=standardize", below=True,
)  # fmt: skip
OFFSET = Kind(
    "inputs off centre", "warning", "a column's mean, in its standard deviations", 5.0,
    "S0: before and after normalization; the number is our choice", "preprocessing=standardize",
)  # fmt: skip
DEPENDENT = Kind(
    "dependent inputs", "note", "condition number of the columns' covariance", 500.0,
    "S4: scaling, second idea: gradient descent needs as many steps; the number is our choice",
    "preprocessing=pca_whiten",
)  # fmt: skip
CONSTANT = Kind(
    "nearly constant labels", "warning", "share of the commonest class", 0.9, "chance level",
    "dataset.balance=null where it was set; else =1, if enough rows are left",
)  # fmt: skip
IMBALANCE = Kind(
    "class imbalance", "warning", "rows of the commonest class over the rarest one's", 10.0,
    "Cui et al. 2019: long-tailed sets begin at 10",
    "dataset.balance=null where it was set; else =1, if enough rows are left",
)  # fmt: skip
LEAKAGE = Kind(
    "leakage", "warning", "share of a split's rows that stand in the training split too", 0.01,
    "S2: disjoint splits", "",
)  # fmt: skip
SORTED = Kind(
    "sorted data", "warning", "mean share of a batch's commonest class", 0.75,
    "S4: shuffle; S2: minibatches; the number is our choice", "sampler=minibatch",
)  # fmt: skip
KINDS = (UNSCALED, LARGE, SMALL, OFFSET, DEPENDENT, CONSTANT, IMBALANCE, LEAKAGE, SORTED)


def unscaled(evidence: Evidence) -> Iterator[Verdict]:
    """Columns of very different scales, too large or small, or far from zero (S0, S3, S4)."""
    data, override = _data(evidence), "preprocessing=standardize"
    spread, size, offset = (data.get(key) for key in ("scale_spread", "magnitude", "offset"))
    if spread is not None and spread > UNSCALED.threshold:
        yield UNSCALED.verdict(
            spread,
            f"the input with the largest scale varies {spread:.3g} times as much as the one with "
            "the smallest",
            override,
        )
    elif offset is not None and offset > OFFSET.threshold:
        yield OFFSET.verdict(
            offset,
            f"the inputs' mean is {offset:.3g} of their standard deviations away from zero",
            override,
        )
    elif size is not None and size > LARGE.threshold:
        yield LARGE.verdict(size, f"the inputs' root mean square is {size:.3g}", override)
    elif size is not None and 0 < size < SMALL.threshold:
        yield SMALL.verdict(size, f"the inputs' root mean square is {size:.3g}", override)


def dependent(evidence: Evidence) -> Iterator[Verdict]:
    """Columns that follow each other make the loss a narrow valley (S4), where that is felt."""
    left = evidence.left or 0.0
    condition, plain = _data(evidence).get("condition"), evidence.chosen("optimizer") in PLAIN
    if condition is not None and condition > DEPENDENT.threshold and plain and left > SLOW:
        yield DEPENDENT.verdict(
            condition,
            f"columns follow each other: the condition number of their covariance is "
            f"{condition:.3g}, and plain gradient descent needs about as many steps",
            "preprocessing=pca_whiten",
        )


def labels(evidence: Evidence) -> Iterator[Verdict]:
    """Nearly constant labels, or classes of very different sizes."""
    share, ratio = (_data(evidence).get(key) for key in ("largest_class", "class_ratio"))
    if share is not None and share >= CONSTANT.threshold:
        yield CONSTANT.verdict(
            share,
            f"{share:.0%} of the training rows are of one class: who always says so is as right",
            _balanced(evidence),
        )
    elif ratio is not None and ratio > IMBALANCE.threshold:
        yield IMBALANCE.verdict(
            ratio,
            f"the commonest class has {ratio:.3g} times as many rows as the rarest",
            _balanced(evidence),
        )


def leakage(evidence: Evidence) -> Iterator[Verdict]:
    """Rows of the training split stand in another split too."""
    for split, share in (_data(evidence).get("leaks") or {}).items():
        if share is not None and share > LEAKAGE.threshold:
            yield LEAKAGE.verdict(
                share,
                f"{share:.0%} of the {split} rows stand in the training split too: its numbers "
                "are too good; remove rows that stand twice",
            )


def sorted_rows(evidence: Evidence) -> Iterator[Verdict]:
    """Batches of a single class, as in sorted data (S2, S4)."""
    purity, largest = (_data(evidence).get(key) for key in ("batch_purity", "largest_class"))
    if purity is None or largest is None or (evidence.facts.get("batch") or 0) < FEW:
        return
    if purity > SORTED.threshold > largest + 0.2:
        yield SORTED.verdict(
            purity,
            f"the commonest class of a batch has {purity:.0%} of its rows, of all rows "
            f"{largest:.0%}"
            + ("; batch normalization learns one class at a time"
               if evidence.facts.get("batch_norms") else ""),
            "sampler=minibatch",
        )  # fmt: skip


def _balanced(evidence: Evidence) -> str:
    """Return what makes classes alike, if that leaves rows for a batch."""
    data = _data(evidence)
    share, ratio = data.get("largest_class") or 0, data.get("class_ratio") or math.inf
    if "dataset.balance" in evidence.settings:
        return "dataset.balance=null"
    left = (data.get("rows") or 0) * share / ratio * (evidence.facts.get("outputs") or 0)
    return "dataset.balance=1" if left >= (evidence.facts.get("batch") or 1) else ""


def _data(evidence: Evidence) -> Mapping[str, Any]:
    found: Mapping[str, Any] = evidence.facts.get("data", {})
    return found


RULES = (unscaled, dependent, labels, leakage, sorted_rows)
