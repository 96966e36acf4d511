"""Verdict on a sweep: whether its seeds let its configurations be told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from runner.diagnosis.verdicts.kind import Kind, Verdict

MOST = 10  # times as many seeds, at most

NOISE = Kind(
    "seed noise", "note",
    "difference of the two best configurations' means over the spread of their seeds", 1.0,
    "S1: a typical deep learner's day; study seed-spread", "more seeds", below=True,
)  # fmt: skip
KINDS = (NOISE,)


def noise(
    means: Sequence[float], deviations: Sequence[float], counts: Sequence[int], *, largest: bool
) -> Verdict | None:
    """Judge the means, standard deviations and numbers of seeds of a sweep's configurations.

    `largest`: the objective is to be large. None where the best two are further apart than their
    seeds, or where one of them has but one seed. As many seeds are offered as put the difference
    at twice its standard error.
    """
    seen = zip(means, deviations, counts, strict=True)
    ranked = sorted((each for each in seen if math.isfinite(each[0])), reverse=largest)[:2]
    if len(ranked) < 2 or min(count for _, _, count in ranked) < 2:
        return None
    (best, first, some), (other, second, more) = ranked
    apart, spread = abs(best - other), math.sqrt((first**2 + second**2) / 2)
    if apart >= NOISE.threshold * spread:
        return None
    seeds = max(some, more)
    needed = 8 * (spread / apart) ** 2 if apart else math.inf
    return NOISE.verdict(
        apart / spread,
        f"the two best configurations are {apart:.3g} apart, and seeds of one {spread:.3g}: which "
        "is better cannot be told",
        f"seeds={math.ceil(min(max(needed, 2 * seeds), MOST * seeds))}",
    )
