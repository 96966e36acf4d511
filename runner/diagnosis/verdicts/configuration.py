"""Verdicts on settings that work against each other."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnosis.verdicts.kind import Evidence, Kind, Verdict

ASLEEP = 0.005  # of the largest learning rate; a cut by 10, twice, is above
DONE = 0.1  # of a constant answer's loss: a rate may sleep when no more is left
GAP = 0.1  # of the first loss
WITH_SOFTMAX = ("cross_entropy", "kl", "wasserstein")
OF_BATCHES = ("batch",)  # normalizations with `inference` and `momentum`

SOFTMAX = Kind(
    "softmax twice", "fault", "softmaxes between the last layer and the loss", 1,
    "C35: accuracy 0.77 -> 0.47", "output=identity",
)  # fmt: skip
TINY = Kind(
    "batch norm with tiny batches", "warning", "rows in a batch", 8,
    "S0, S1, S4; Wu and He 2018: the error rises below", "normalization=layer", below=True,
)  # fmt: skip
DECAYED = Kind(
    "weight decay on norms", "note", "penalties that reach scales and shifts of normalizations", 0,
    "C15: weights only", "the penalty over weights",
)  # fmt: skip
EARLY = Kind(
    "schedule ends too early", "warning",
    "share of the run with a learning rate below 0.5 % of its largest, with loss left", 0.3,
    "S4: too fast a decay stops before it arrives; the number is our choice", "schedule=cosine",
)  # fmt: skip
STATISTICS = Kind(
    "running statistics off", "warning",
    "loss in evaluation mode over that in training mode, on the same rows", 2,
    "S0, S4: batch norm at test; the number is our choice",
    "normalization.momentum=0.1; else normalization=layer",
)  # fmt: skip
NOISE = Kind(
    "noise at test", "warning",
    "variance between two evaluations of the same rows, of the outputs' own", 1e-6,
    "S2, S3: dropout is off at test; rounding stays below 1e-12", "",
)  # fmt: skip
KINDS = (SOFTMAX, TINY, DECAYED, EARLY, STATISTICS, NOISE)


def double_softmax(evidence: Evidence) -> Iterator[Verdict]:
    """A softmax in front of a loss that has one (S4; curriculum C35)."""
    if evidence.chosen("output") == "softmax" and evidence.chosen("loss") in WITH_SOFTMAX:
        yield SOFTMAX.verdict(
            2,
            f"output=softmax in front of loss={evidence.chosen('loss')}, which has a softmax "
            "itself",
            "output=identity",
        )


def has_tiny_batches(evidence: Evidence) -> bool:
    """Tell whether batches are too small for batch normalization that goes by them."""
    size, count = evidence.facts.get("batch"), evidence.facts.get("batch_norms")
    return bool(count) and size is not None and size < TINY.threshold


def tiny_batches(evidence: Evidence) -> Iterator[Verdict]:
    """Batch statistics of a few rows (S1, S4)."""
    if has_tiny_batches(evidence):
        size = evidence.facts["batch"]
        yield TINY.verdict(
            size,
            f"batch normalization goes by {size} rows at a time: its statistics are noise",
            "normalization=layer" if evidence.chosen("normalization") in OF_BATCHES else "",
        )


def decayed_norms(evidence: Evidence) -> Iterator[Verdict]:
    """Weight decay on the scales and shifts of normalizations (curriculum C15)."""
    if not evidence.facts.get("norms"):
        return
    for key, value in evidence.settings.items():
        penalty = key.startswith("regularizer.") and key.endswith(".over")
        if value == "all" and (penalty or key == "optimizer.decay_on"):
            yield DECAYED.verdict(
                1,
                f"{key}=all pulls the scales of normalizations to 0 as well",
                f"{key}=weights",
            )


def early_end(evidence: Evidence) -> Iterator[Verdict]:
    """The schedule has the learning rate near zero long before training ends (S4)."""
    rates = [value for _, value in evidence.curve("lr")]
    left = evidence.left
    if not evidence.ended or len(rates) < 10 or max(rates) <= 0 or (left or 0) < DONE:
        return
    idle = sum(rate < ASLEEP * max(rates) for rate in rates) / len(rates)
    if idle > EARLY.threshold:
        yield EARLY.verdict(
            idle,
            f"in {idle:.0%} of the training the learning rate is below 0.5 % of its largest, with "
            f"{left:.0%} of the loss left",
            "schedule=cosine",
        )


def statistics(evidence: Evidence) -> Iterator[Verdict]:
    """Running statistics that are not those of the data: evaluation sees another network."""
    if not evidence.ended or not evidence.probes or not evidence.facts.get("batch_norms"):
        return
    network = evidence.probes[-1]["network"]
    own, running = network.get("loss"), network.get("loss_in_evaluation")
    start = evidence.first["network"].get("loss")
    if own is None or running is None or not start or evidence.probes[-1]["step"] == 0:
        return
    if running > STATISTICS.threshold * own and running - own > GAP * start:
        yield STATISTICS.verdict(
            running / max(own, 1e-12),
            f"on the same rows the loss is {running:.3g} with running statistics and {own:.3g} "
            "with the batch's",
            _settled(evidence),
        )


def noise(evidence: Evidence) -> Iterator[Verdict]:
    """Two evaluations of the same rows differ: something is drawn that should be off (S2, S3)."""
    if not evidence.probes or evidence.settings.get("dropout.average") not in (None, "none"):
        return
    share = evidence.probes[-1]["network"].get("noise_in_evaluation")
    if share is not None and share > NOISE.threshold:
        yield NOISE.verdict(
            share,
            f"two evaluations of the same rows differ, by {share:.1e} of the outputs' variance: "
            "the model draws where it should only predict, as dropout that is never switched off",
        )


def _settled(evidence: Evidence) -> str:
    """Return what gives a network in evaluation what it had in training."""
    if evidence.chosen("normalization") not in OF_BATCHES:
        return ""
    slow = evidence.settings.get("normalization.momentum", 0.1) < 0.1
    return "normalization.momentum=0.1" if slow else "normalization=layer"


RULES = (double_softmax, tiny_batches, decayed_norms, early_end, statistics, noise)
