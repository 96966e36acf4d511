"""Verdict on a sweep: whether its seeds let its configurations be told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runner.diagnosis.verdicts.kind import Kind, Verdict

MOST = 10  # times as many seeds, at most

NOISE = Kind(
    "seed noise", "note",
    "difference of the two best configurations' means, in its standard errors", 2.0,
    "two standard errors; S1: a typical deep learner's day; study seed-spread", "more seeds",
    below=True,
)  # fmt: skip
KINDS = (NOISE,)


def error_of(deviations: Sequence[float], counts: Sequence[int]) -> float:
    """Return the standard error of a difference of means: sqrt(s1²/n1 + s2²/n2)."""
    return math.sqrt(sum(s**2 / n for s, n in zip(deviations, counts, strict=True)))


def noise(
    means: Sequence[float], deviations: Sequence[float], counts: Sequence[int], *, largest: bool
) -> Verdict | None:
    """Judge the means, standard deviations and numbers of seeds of a sweep's configurations.

    `largest`: the objective is to be large. None where the best two are further apart than twice
    the standard error of that, or where one of them has but one seed. As many seeds are offered as
    would tell them apart, were the difference real.
    """
    seen = zip(means, deviations, counts, strict=True)
    ranked = sorted((each for each in seen if math.isfinite(each[0])), reverse=largest)[:2]
    if len(ranked) < 2 or min(count for _, _, count in ranked) < 2:
        return None
    (best, other), spreads, seeds = zip(*ranked, strict=True)
    apart, error = abs(best - other), error_of(spreads, seeds)
    if not error or apart > NOISE.threshold * error:
        return None
    needed = max(seeds) * (NOISE.threshold * error / apart) ** 2 if apart else math.inf
    return NOISE.verdict(
        apart / error,
        f"the two best configurations are {apart:.3g} apart, with a standard error of {error:.3g}: "
        "which is better cannot be told",
        f"seeds={math.ceil(min(max(needed, 2 * max(seeds)), MOST * max(seeds)))}",
    )
