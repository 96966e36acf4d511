"""Verdicts on the data as the network gets it."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnosis.verdicts.kind import Evidence, Verdict

SPREAD = 100.0  # of the columns' standard deviations, largest against smallest
OFFSET = 5.0  # of a column's mean, in its standard deviations
DEPENDENT = 500.0
SHARE = 0.9  # of the commonest class
IMBALANCE = 10.0
LEAK = 0.01


def unscaled(evidence: Evidence) -> Iterator[Verdict]:
    """Columns of very different scales, or far from zero (S0, S3, S4)."""
    data = evidence.facts.get("data", {})
    spread, offset = data.get("scale_spread"), data.get("offset")
    if spread is not None and spread > SPREAD:
        yield Verdict(
            "unscaled inputs", "warning",
            f"the input with the largest scale varies {spread:.3g} times as much as the one with "
            "the smallest",
            spread, SPREAD, "S3: weather; S4: scaling, first idea", "preprocessing=standardize",
        )  # fmt: skip
    elif offset is not None and offset > OFFSET:
        yield Verdict(
            "inputs off centre", "warning",
            f"the inputs' mean is {offset:.3g} of their standard deviations away from zero",
            offset, OFFSET, "S0: before and after normalization", "preprocessing=standardize",
        )  # fmt: skip


def dependent(evidence: Evidence) -> Iterator[Verdict]:
    """Columns that follow each other make the loss a narrow valley (S4)."""
    data = evidence.facts.get("data", {})
    condition = data.get("condition")
    if condition is not None and data.get("flat") and condition > DEPENDENT:
        yield Verdict(
            "dependent inputs", "note",
            f"columns follow each other: the condition number of their covariance is "
            f"{condition:.3g}, and plain gradient descent needs about as many steps",
            condition, DEPENDENT, "S4: scaling, second idea", "preprocessing=pca_whiten",
        )  # fmt: skip


def labels(evidence: Evidence) -> Iterator[Verdict]:
    """Nearly constant labels, or classes of very different sizes."""
    data = evidence.facts.get("data", {})
    share, ratio = data.get("largest_class"), data.get("class_ratio")
    if share is not None and share >= SHARE:
        yield Verdict(
            "nearly constant labels", "warning",
            f"{share:.0%} of the training rows are of one class: who always says so is as right",
            share, SHARE, "chance level", "loss=focal" if evidence.facts.get("focal") else "",
        )  # fmt: skip
    elif ratio is not None and ratio > IMBALANCE:
        yield Verdict(
            "class imbalance", "warning",
            f"the commonest class has {ratio:.3g} times as many rows as the rarest",
            ratio, IMBALANCE, "share of a class in a batch below one in ten of another's", "",
        )  # fmt: skip


def leakage(evidence: Evidence) -> Iterator[Verdict]:
    """Rows of the training split stand in another split too."""
    for split, share in (evidence.facts.get("data", {}).get("leaks") or {}).items():
        if share > LEAK:
            yield Verdict(
                "leakage", "warning",
                f"{share:.0%} of the {split} rows stand in the training split too: its numbers "
                "are too good",
                share, LEAK, "splits are disjoint (S2)", "",
            )  # fmt: skip


def sorted_rows(evidence: Evidence) -> Iterator[Verdict]:
    """Batches of a single class, as in sorted data (S2, S4)."""
    data = evidence.facts.get("data", {})
    pure, largest = data.get("batch_purity"), data.get("largest_class")
    if pure is not None and largest is not None and pure > SHARE and largest < SHARE - 0.2:
        yield Verdict(
            "sorted data", "warning",
            f"the commonest class of a batch has {pure:.0%} of its rows, of all rows {largest:.0%}",
            pure, SHARE, "S4: shuffle; S2: minibatches", "sampler=minibatch",
        )  # fmt: skip


RULES = (unscaled, dependent, labels, leakage, sorted_rows)
