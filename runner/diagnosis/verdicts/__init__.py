"""Verdicts: what is wrong with a run, with the number, its threshold and what to type instead.

A rule is a function of the evidence that yields verdicts; it needs files alone, not torch.
"""

from __future__ import annotations

from runner.diagnosis.verdicts import configuration, curves, data, initialization, sweep
from runner.diagnosis.verdicts.kind import SEVERITIES, Evidence, Verdict

KINDS = (*initialization.KINDS, *curves.KINDS, *data.KINDS, *configuration.KINDS, *sweep.KINDS)

# What follows from another fault is no verdict of its own: the cause, and what it silences.
OF_STEPS = (curves.DIED, curves.SATURATED, curves.OVERFITTING, curves.UNDERFITTING)
OF_RATE = (curves.LARGE_STEPS, curves.LOST_STEPS, *OF_STEPS)
CONSEQUENCES = {
    curves.DIVERGED: OF_RATE,
    curves.TOO_HIGH: OF_RATE,
    curves.LARGE_STEPS: OF_STEPS,
    curves.UNDERFITTING: (curves.OVERFITTING,),
    configuration.STATISTICS: (curves.OVERFITTING,),
}


def judge(evidence: Evidence) -> list[Verdict]:
    """Return every verdict on a run, the gravest first.

    Of a network that cannot train as it starts, the curves are not judged; what follows from
    another fault is left out.
    """
    start = [verdict for rule in initialization.RULES for verdict in rule(evidence)]
    judged = [] if any(each.severity == "fault" for each in start) else list(curves.RULES)
    rules = [*judged, *configuration.RULES, *data.RULES]
    found = [*start, *(verdict for rule in rules for verdict in rule(evidence))]
    names = {each.name for each in found}
    silent = {
        each.name
        for cause, others in CONSEQUENCES.items()
        if cause.name in names
        for each in others
    }
    found = [each for each in found if each.name not in silent]
    return sorted(found, key=lambda each: SEVERITIES.index(each.severity))
