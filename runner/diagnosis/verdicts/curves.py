"""Verdicts on how training went: the shape of the curves, as the lectures draw them."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnosis.verdicts.kind import Evidence, Verdict, median

OF_RATE = ("not learning", "learning rate too low", "learning rate low")
POINTS = 6  # of a curve, before its shape means something
HARDLY = 0.15  # of the first loss
SLOPING = 0.03  # of the first loss, in a third of the run
JUMPED = 2.0  # times the first loss
LEARNT = 0.8  # of the first loss: a run that arrives may have jumped
MOVES, GENTLE = 1e-3, 2e-2  # of the weights in a step
OVERFIT = 1.4  # last validation loss against the best
EXCESS = 0.05  # of the first loss
TOO_LARGE = 0.3  # of the weights, in one step
LATE_DEAD = 0.5


def diverged(evidence: Evidence) -> Iterator[Verdict]:
    """The loss became nan or infinite (S3, S4: very high learning rate)."""
    if evidence.status.get("state") == "diverged":
        yield Verdict(
            "diverged", "fault",
            "the loss became nan or infinite", 1, 1, "S4: diagnosis of the learning rate",
            _rate(evidence, 0.1),
        )  # fmt: skip


def learning_rate(evidence: Evidence) -> Iterator[Verdict]:
    """Tell the shapes apart: above its beginning, hardly moving, still sloping (S3, S4)."""
    points, start = _train(evidence), evidence.first["network"].get("loss")
    if not evidence.ended or len(points) < POINTS or not start:
        return
    if evidence.status.get("state") == "diverged" or (floor := evidence.facts.get("floor")) is None:
        return
    end, span = median(points[-3:]), max(start - floor, 1e-12)
    fallen = (start - end) / span
    if (highest := max(points)) > JUMPED * start and fallen < LEARNT:
        yield Verdict(
            "learning rate too high", "fault",
            f"the training loss rose to {highest:.3g} from the {start:.3g} it began with, and ends "
            f"at {end:.3g}",
            highest / start, JUMPED, "S3, S4: very high learning rate", _rate(evidence, 0.1),
        )  # fmt: skip
    elif fallen < HARDLY:
        moves = median(_updates(evidence) or [0.0]) > MOVES
        yield Verdict(
            "not learning" if moves else "learning rate too low", "fault",
            f"training took away {max(fallen, 0):.0%} of the loss, "
            f"{'though the weights change' if moves else 'and the weights hardly change'}",
            fallen, HARDLY, "S3, S4: less than 15 % in 12 epochs",
            "" if moves else _rate(evidence, 10),
        )  # fmt: skip
    elif (slope := _late(points) / span) > SLOPING and _gently(evidence) and _generalizes(evidence):
        yield Verdict(
            "learning rate low", "warning",
            f"the training loss still fell by {slope:.0%} of its beginning in a late third of "
            "the run: it had not arrived",
            slope, SLOPING, "S3, S4: low learning rate", _rate(evidence, 3),
        )  # fmt: skip


def updates(evidence: Evidence) -> Iterator[Verdict]:
    """A step changes weights by far too much, or by next to nothing."""
    ratios = _updates(evidence)
    if len(ratios) < POINTS:
        return
    middle = median(ratios)
    if middle > TOO_LARGE:
        yield Verdict(
            "updates too large", "fault",
            f"a step changes the weights by {middle:.0%} of their size",
            middle, TOO_LARGE, "measured: sound runs stay below 10 %", _rate(evidence, 0.1),
        )  # fmt: skip


def died(evidence: Evidence) -> Iterator[Verdict]:
    """Rectified units have been switched off for good while training (S1, S3)."""
    if len(evidence.probes) < 2:
        return
    before, after = (evidence.hidden(evidence.probes[at], "dead") for at in (0, -1))
    rectifying = any(each.get("rectifies") for each in evidence.facts.get("layers", {}).values())
    if not rectifying or not before or len(before) != len(after):
        return
    grown = max(b - a for a, b in zip(before, after, strict=True))
    if max(after) > LATE_DEAD and grown > LATE_DEAD / 2:
        yield Verdict(
            "dead units", "warning",
            f"{max(after):.0%} of the units of a hidden layer are off on every row; "
            f"{grown:.0%} died in training",
            max(after), LATE_DEAD, "S1, S3: dying ReLU", _rate(evidence, 0.3),
        )  # fmt: skip


def overfitting(evidence: Evidence) -> Iterator[Verdict]:
    """The validation loss has left its best far behind while the training loss fell (S2, S4)."""
    valid, train = [v for _, v in evidence.curve("valid/loss")], _train(evidence)
    if len(valid) < POINTS or len(train) < 2 or not evidence.ended:
        return
    best, last = min(valid), median(valid[-3:])
    at = valid.index(best)
    start = evidence.first["network"].get("loss") or last
    if (
        last - best > EXCESS * start
        and last / best > OVERFIT
        and at < len(valid) - 3
        and train[-1] < train[0]
    ):
        yield Verdict(
            "overfitting", "warning",
            f"the validation loss is {last / best:.1f} times its best, of "
            f"{len(valid) - 1 - at} evaluations ago, while the training loss went on falling",
            last / best, OVERFIT, "S2: overfitting; study overfitting-and-early-stopping",
            "stopping=early" if evidence.settings.get("stopping") == "none" else "dropout=inverted",
        )  # fmt: skip


def _train(evidence: Evidence) -> list[float]:
    return [value for _, value in evidence.curve("train/loss")]


def _late(points: list[float]) -> float:
    """Return by how much a curve falls in its second or its last third, whichever is more."""
    first, second = (median(points[at * (len(points) - 1) // 3 :][:3]) for at in (1, 2))
    return max(first - second, second - median(points[-3:]))


def _gently(evidence: Evidence) -> bool:
    """Tell whether no step that was looked at changed the weights by much."""
    return max(_updates(evidence), default=0.0) < GENTLE


def _generalizes(evidence: Evidence) -> bool:
    """Tell whether the validation loss, if there is one, was falling too."""
    valid = [value for _, value in evidence.curve("valid/loss")]
    return len(valid) < POINTS or _late(valid) > 0


def _updates(evidence: Evidence) -> list[float]:
    """Return by what share of its size a step changed the weights of a layer, each time."""
    return [
        numbers["update"]
        for probe in evidence.probes
        for numbers in probe["layers"].values()
        if numbers.get("update") is not None
    ]


def _rate(evidence: Evidence, factor: float) -> str:
    lr = evidence.settings.get("optimizer.lr")
    return f"optimizer.lr={lr * factor:.2g}" if isinstance(lr, int | float) else ""


RULES = (diverged, learning_rate, updates, died, overfitting)
