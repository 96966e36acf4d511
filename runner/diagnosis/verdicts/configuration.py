"""Verdicts on settings that work against each other."""

from __future__ import annotations

from collections.abc import Iterator

from runner.diagnosis.verdicts.kind import Evidence, Verdict

TINY = 8  # rows
ASLEEP, IDLE = 0.01, 0.3  # of the largest learning rate; of the steps
WITH_SOFTMAX = ("cross_entropy", "label_smoothing", "focal")


def double_softmax(evidence: Evidence) -> Iterator[Verdict]:
    """A softmax in front of a loss that has one (S4; curriculum C35)."""
    settings = evidence.settings
    if settings.get("output") == "softmax" and settings.get("loss") in WITH_SOFTMAX:
        yield Verdict(
            "softmax twice", "fault",
            f"output=softmax in front of loss={settings['loss']}, which has a softmax itself",
            2, 1, "C35: accuracy 0.77 -> 0.47", "output=identity",
        )  # fmt: skip


def tiny_batches(evidence: Evidence) -> Iterator[Verdict]:
    """Batch statistics of a few rows (S1, S4)."""
    size, count = evidence.facts.get("batch"), evidence.facts.get("batch_norms", 0)
    if count and size is not None and size < TINY:
        yield Verdict(
            "batch norm with tiny batches", "warning",
            f"batch normalization goes by {size} rows at a time: its statistics are noise",
            size, TINY, "S1, S4: batch statistics; Wu and He 2018", "normalization=group",
        )  # fmt: skip


def decayed_norms(evidence: Evidence) -> Iterator[Verdict]:
    """Weight decay on the scales and shifts of normalizations (curriculum C15)."""
    if not evidence.facts.get("norms"):
        return
    for key, value in evidence.settings.items():
        if key.startswith("regularizer.") and key.endswith(".over") and value == "all":
            yield Verdict(
                "weight decay on norms", "note",
                f"{key}=all pulls the scales of normalizations to 0 as well",
                1, 0, "C15: weights only", f"{key}=weights",
            )  # fmt: skip


def early_end(evidence: Evidence) -> Iterator[Verdict]:
    """The schedule has the learning rate near zero long before training ends (S4)."""
    rates = [value for _, value in evidence.curve("lr")]
    if not evidence.ended or len(rates) < 10 or max(rates) <= 0:
        return
    idle = sum(rate < ASLEEP * max(rates) for rate in rates) / len(rates)
    if idle > IDLE:
        yield Verdict(
            "schedule ends too early", "warning",
            f"in {idle:.0%} of the training the learning rate is below 1 % of its largest",
            idle, IDLE, "S4: too fast a decay stops before it arrives", "schedule=cosine",
        )  # fmt: skip


def statistics(evidence: Evidence) -> Iterator[Verdict]:
    """Running statistics that are not those of the data: evaluation sees another network."""
    if not evidence.ended or not evidence.probes or not evidence.facts.get("batch_norms"):
        return
    network = evidence.probes[-1]["network"]
    own, running = network.get("loss"), network.get("loss_in_evaluation")
    start = evidence.first["network"].get("loss")
    if own is None or running is None or not start:
        return
    if running > 2 * own and running - own > 0.25 * start:
        yield Verdict(
            "running statistics off", "warning",
            f"on the same rows the loss is {running:.3g} with running statistics and {own:.3g} "
            "with the batch's",
            running / own, 2, "S0, S4: batch norm at test", "normalization=batch_population",
        )  # fmt: skip


RULES = (double_softmax, tiny_batches, decayed_norms, early_end, statistics)
