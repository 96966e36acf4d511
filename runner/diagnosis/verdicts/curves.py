"""Verdicts on how training went: the shape of the curves, as the lectures draw them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from runner.diagnosis.verdicts.configuration import has_tiny_batches
from runner.diagnosis.verdicts.initialization import flat_tails
from runner.diagnosis.verdicts.kind import Evidence, Kind, Verdict, median
from runner.diagnosis.verdicts.remedy import (
    capacity,
    higher_rate,
    passing,
    slower,
    units,
)

Look = Mapping[str, Any]
SLOWER = "a tenth of the learning rate; preprocessing=standardize where inputs are large"
POINTS, THIRDS = 6, 9  # of a curve, before its shape means something; before its thirds do
ARRIVED = 0.1  # of a constant answer's loss: a run that leaves no more is not too slow
LEARNT = 0.8  # of the same: a run that arrives may have jumped
MOVES, STILL, GENTLE = 1e-3, 1e-2, 2e-2  # of the weights in a step
UNEVEN = 0.01  # of the layer that changes most: a layer that hardly learns
EXCESS = 0.05  # of the first loss
GROWN = 0.25  # units that died, or saturated, in training
MATTERS = 0.02  # of the same: where less is left, there are units enough

DIVERGED = Kind(
    "diverged", "fault", "losses that are nan or infinite", 0, "S3, S4: diagnosis of the rate",
    SLOWER,
)  # fmt: skip
TOO_HIGH = Kind(
    "learning rate too high", "fault", "highest training loss over the first", 2.0,
    "S3, S4: very high learning rate, above the initial loss", SLOWER,
)  # fmt: skip
TOO_LOW = Kind(
    "learning rate too low", "fault", "share of a constant answer's loss that was taken away",
    0.15, "S3, S4: less than 15 % in 12 epochs", "a rate whose steps change weights by 3 %",
    below=True,
)  # fmt: skip
STALLED = Kind(
    "stalled", "fault",
    "share of a constant answer's loss that was taken away, though weights change", 0.15,
    "S3, S4: less than 15 % in 12 epochs",
    "a rectifier where only the last layers learn; a tenth of a large rate; optimizer=adam",
    below=True,
)  # fmt: skip
LOW = Kind(
    "learning rate low", "warning", "fall in a late third of the run, of a constant answer's loss",
    0.05, "S3, S4: low learning rate, still sloping; the number is measured",
    "a rate whose steps change weights by 3 %, at least three times as high",
)  # fmt: skip
LARGE_STEPS = Kind(
    "updates too large", "warning",
    "change of the middle layer's weights in a step, of their size, at the worst look", 0.5,
    "theory: two such steps replace the weights; sound runs stay below 0.13 (measured)", SLOWER,
)  # fmt: skip
LOST_STEPS = Kind(
    "updates too small", "warning", "largest change of a layer's weights in a step looked at", 1e-6,
    "theory: float32 rounds at 6e-8 of a weight", "a rate whose steps change weights by 3 %",
    below=True,
)  # fmt: skip
DIED = Kind(
    "dead units", "warning", "share of a hidden layer's rectified units off on every row", 0.9,
    "S1: dying ReLU; Adam at 0.1 kills 0.9 of a layer", SLOWER,
)  # fmt: skip
SATURATED = Kind(
    "saturated in training", "warning", "mean share of a layer's activations in both flat tails",
    0.5, "S0, S1: 25 to 85 % at std 0.05 to 1", SLOWER,
)  # fmt: skip
OVERFITTING = Kind(
    "overfitting", "warning", "last validation loss over the best", 1.4,
    "S2; study overfitting-and-early-stopping", "stopping=early; else dropout=inverted",
)  # fmt: skip
UNDERFITTING = Kind(
    "underfitting", "warning", "errors, or variance, left of what a constant answer leaves", 0.5,
    "S2, S4: capacity; a half is our choice",
    "what holds the network back removed: penalty, dropout, linear form, few units",
)  # fmt: skip
KINDS = (DIVERGED, TOO_HIGH, TOO_LOW, STALLED, LOW, LARGE_STEPS, LOST_STEPS, DIED, SATURATED,
         OVERFITTING, UNDERFITTING)  # fmt: skip


def diverged(evidence: Evidence) -> Iterator[Verdict]:
    """The loss became nan or infinite (S3, S4: very high learning rate)."""
    if evidence.status.get("state") == "diverged":
        yield DIVERGED.verdict(1, "the loss became nan or infinite", slower(evidence))


def learning_rate(evidence: Evidence) -> Iterator[Verdict]:
    """Tell the shapes apart: above its beginning, hardly moving, still sloping (S3, S4)."""
    points, left = _train(evidence), evidence.left
    if evidence.status.get("state") != "finished" or len(points) < POINTS or left is None:
        return
    start, fallen, span = evidence.start or 0.0, 1 - left, evidence.to_learn or 1.0
    largest = max(_updates(evidence), default=0.0)
    calm = largest < GENTLE and _generalizes(evidence) and not _is_cut_short(evidence)
    calm = calm and len(points) >= THIRDS and not has_tiny_batches(evidence)
    if (highest := max(points)) > TOO_HIGH.threshold * start and fallen < LEARNT:
        yield TOO_HIGH.verdict(
            highest / start,
            f"the training loss rose to {highest:.3g} from the {start:.3g} it began with",
            slower(evidence),
        )
    elif fallen < TOO_LOW.threshold and largest < STILL:
        yield TOO_LOW.verdict(
            fallen,
            f"training took away {max(fallen, 0):.0%} of what a constant answer loses, and the "
            "weights hardly change",
            higher_rate(evidence, largest, 10),
        )
    elif fallen < STALLED.threshold and not capacity(evidence):
        yield STALLED.verdict(
            fallen,
            f"training took away {max(fallen, 0):.0%} of what a constant answer loses, though the "
            "weights change",
            _going_on(evidence, largest),
        )
    elif (slope := _late(points) / span) > LOW.threshold and left > ARRIVED and calm:
        yield LOW.verdict(
            slope,
            f"the training loss still fell by {slope:.0%} of what a constant answer loses in a "
            "late third of the run: it had not arrived",
            higher_rate(evidence, largest, 3),
        )


def updates(evidence: Evidence) -> Iterator[Verdict]:
    """A step changes weights by far too much, or by next to nothing."""
    ratios = _updates(evidence)
    if len(ratios) < POINTS:
        return
    middle, largest = max(map(median, _by_look(evidence))), max(ratios)
    if middle > LARGE_STEPS.threshold and evidence.chosen("regularizer") == "none":
        yield LARGE_STEPS.verdict(
            middle, f"a step changes the weights by {middle:.0%} of their size", slower(evidence)
        )
    elif 0 < largest < LOST_STEPS.threshold:
        yield LOST_STEPS.verdict(
            largest,
            f"no step changes a layer's weights by more than {largest:.1e} of their size: most of "
            "it is lost in rounding",
            higher_rate(evidence, largest, 10),
        )


def died(evidence: Evidence) -> Iterator[Verdict]:
    """Rectified units have been switched off for good while training (S1, S3)."""
    known = evidence.facts.get("layers", {}).values()
    if any(each.get("rectifies") for each in known):
        share, grown = _grown(evidence, lambda look: evidence.hidden(look, "dead"))
        if share > DIED.threshold and grown > GROWN and _unlearnt(evidence):
            yield DIED.verdict(
                share,
                f"{share:.0%} of the units of a hidden layer are off on every row; "
                f"{grown:.0%} died in training",
                slower(evidence),
            )


def saturated(evidence: Evidence) -> Iterator[Verdict]:
    """Squashing units have been driven into their flat tails while training (S0, S1)."""
    share, grown = _grown(evidence, lambda look: flat_tails(evidence, look))
    if share > SATURATED.threshold and grown > GROWN and _unlearnt(evidence):
        yield SATURATED.verdict(
            share,
            f"{share:.0%} of the activations of a hidden layer lie in the flat tails; "
            f"{grown:.0%} came there in training",
            slower(evidence),
        )


def _grown(evidence: Evidence, shares: Callable[[Look], list[float]]) -> tuple[float, float]:
    """Return the largest share of a layer at the last look, and the largest rise since the first.

    Nothing where there are no two looks at the same layers.
    """
    before, after = (shares(evidence.probes[at]) for at in (0, -1)) if evidence.probes else ([], [])
    if not before or len(before) != len(after):
        return 0.0, 0.0
    return max(after), max(b - a for a, b in zip(before, after, strict=True))


def overfitting(evidence: Evidence) -> Iterator[Verdict]:
    """The validation loss has left its best far behind while the training loss fell (S2, S4)."""
    valid, train = [v for _, v in evidence.curve("valid/loss")], _train(evidence)
    if len(valid) < POINTS or len(train) < 2 or not evidence.ended:
        return
    lowest, last = min(valid), median(valid[-3:])
    at, best = valid.index(lowest), max(lowest, 1e-12)
    start = evidence.start or last
    far = last - best > EXCESS * start and last > OVERFITTING.threshold * best
    if far and at < len(valid) - 3 and train[-1] < train[0]:
        yield OVERFITTING.verdict(
            last / best,
            f"the validation loss is {last / best:.1f} times its best, of "
            f"{len(valid) - 1 - at} evaluations ago, while the training loss went on falling",
            "stopping=early" if evidence.chosen("stopping") == "none" else _restraint(evidence),
        )


def underfitting(evidence: Evidence) -> Iterator[Verdict]:
    """The curve has arrived, and most is left to learn, on new rows as well (S2, S4)."""
    points, left, wrong = _train(evidence), evidence.left, _wrong(evidence)
    if evidence.status.get("state") != "finished" or len(points) < THIRDS or left is None:
        return
    fallen, override = 1 - left, capacity(evidence)
    span = evidence.to_learn or 1.0
    arrived = _late(points) / span < LOW.threshold and max(_updates(evidence), default=0) > MOVES
    if not arrived or wrong is None or (fallen < STALLED.threshold and not override):
        return
    if wrong > UNDERFITTING.threshold and max(points) < TOO_HIGH.threshold * points[0]:
        yield UNDERFITTING.verdict(
            wrong,
            f"the training loss falls no more, and {wrong:.0%} of what a constant answer gets "
            "wrong is still wrong",
            override or units(evidence),
        )


def _train(evidence: Evidence) -> list[float]:
    return [value for _, value in evidence.curve("train/loss")]


def _wrong(evidence: Evidence) -> float | None:
    """Return the errors (or variance) left, of those of a constant answer; the best split's."""
    largest = evidence.facts.get("data", {}).get("largest_class")
    shares = []
    for split in ("train", "valid"):
        if largest is not None and largest < 1 and (found := evidence.curve(f"{split}/accuracy")):
            shares.append((1 - median([each for _, each in found[-3:]])) / (1 - largest))
        elif found := evidence.curve(f"{split}/r2"):
            shares.append(1 - median([each for _, each in found[-3:]]))
    return min(shares, default=None)


def _late(points: list[float]) -> float:
    """Return by how much a curve falls in its second or its last third, whichever is more."""
    first, second = (median(points[at * (len(points) - 1) // 3 :][:3]) for at in (1, 2))
    return max(first - second, second - median(points[-3:]))


def _unlearnt(evidence: Evidence) -> bool:
    """Tell whether there is something left to learn."""
    left = evidence.left
    return left is None or left > MATTERS


def _generalizes(evidence: Evidence) -> bool:
    """Tell whether the validation loss, if there is one, was falling by as much."""
    valid = [value for _, value in evidence.curve("valid/loss")]
    return len(valid) < THIRDS or _late(valid) > LOW.threshold * (evidence.to_learn or 1.0)


def _is_cut_short(evidence: Evidence) -> bool:
    """Tell whether something else than the budget ended the run."""
    budget = evidence.facts.get("steps")
    return budget is not None and evidence.rows[-1].get("step", budget) < budget


def _updates(evidence: Evidence) -> list[float]:
    """Return by what share of its size a step changed the weights of a layer, each time."""
    return [each for look in _by_look(evidence) for each in look]


def _by_look(evidence: Evidence) -> list[list[float]]:
    """Return the same, look by look."""
    looks = [
        [
            numbers["update"]
            for numbers in probe["layers"].values()
            if numbers.get("update") is not None and math.isfinite(numbers["update"])
        ]
        for probe in evidence.probes
    ]
    return [look for look in looks if look]


def _going_on(evidence: Evidence, largest: float) -> str:
    """Return what gets a run on whose weights move in vain."""
    if evidence.chosen("optimizer").startswith("rprop"):  # it takes no minibatches (C25)
        return "optimizer=adam"
    first = min(next(iter(_by_look(evidence)), [largest]))
    if first < UNEVEN * largest and (override := passing(evidence)):
        return override
    if largest > GENTLE or evidence.chosen("optimizer") == "adam":
        return slower(evidence)
    return "optimizer=adam"


def _restraint(evidence: Evidence) -> str:
    """Return what keeps a network from learning rows by heart, beside stopping early."""
    return "dropout=inverted" if evidence.chosen("dropout") == "none" else ""


RULES = (diverged, learning_rate, updates, died, saturated, overfitting, underfitting)
