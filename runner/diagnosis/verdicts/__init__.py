"""Verdicts: what is wrong with a run, with the number, its threshold and what to type instead.

A rule is a function of the evidence that yields verdicts; it needs files alone, not torch.
"""

from __future__ import annotations

from runner.diagnosis.verdicts import configuration, curves, data, initialization
from runner.diagnosis.verdicts.kind import SEVERITIES, Evidence, Verdict


def judge(evidence: Evidence) -> list[Verdict]:
    """Return every verdict on a run, the gravest first.

    Of a network that cannot train as it starts, the learning rate is not judged.
    """
    start = [verdict for rule in initialization.RULES for verdict in rule(evidence)]
    rules = [*configuration.RULES, *data.RULES, *curves.RULES]
    others = [verdict for rule in rules for verdict in rule(evidence)]
    if any(each.severity == "fault" for each in start):
        others = [each for each in others if each.name not in curves.OF_RATE]
    return sorted([*start, *others], key=lambda each: SEVERITIES.index(each.severity))
