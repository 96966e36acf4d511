"""The proof: planted faults are found, their remedies help, and sound runs are left alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import NamedTuple

from diagnosing.faults import ALIKE, APART, FAULTS, Fault
from diagnosing.running import Ended, Runs
from diagnosing.sound import SOUND
from runner.diagnosis.verdicts import KINDS
from runner.diagnosis.verdicts.kind import Verdict
from runner.diagnosis.verdicts.remedy import corrected
from runner.diagnosis.verdicts.sweep import NOISE, noise

SEEDS_OF_A_SWEEP = 3
NEAR = 0.05  # of accuracy, to that of the healthy network
Say = Callable[[str], None]


@dataclass
class Tally:
    """What came of the faults of one verdict: runs, and faults whose remedy was tried."""

    planted: int = 0
    found: int = 0
    alarms: int = 0
    pasted: int = 0
    helped: int = 0


class Lecture(NamedTuple):
    """A network that the lectures break, with test accuracies: broken, remedied, healthy."""

    verdict: str
    words: str
    override: str
    broken: float
    remedied: float
    healthy: float

    @property
    def trains(self) -> bool:
        """Tell whether the remedy has brought it near the healthy one."""
        return self.remedied > self.healthy - NEAR


@dataclass
class Proof:
    """Everything that was found; `complaints` are what the exit code goes by, beside recall."""

    tallies: dict[str, Tally]
    lectures: list[Lecture] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    sound: int = 0

    @property
    def planted(self) -> int:
        """Return how many faults were planted, a run each."""
        return sum(each.planted for each in self.tallies.values())

    @property
    def found(self) -> int:
        """Return how many of them were found."""
        return sum(each.found for each in self.tallies.values())

    @property
    def alarms(self) -> int:
        """Return how many faults and warnings sound runs were given."""
        return sum(each.alarms for each in self.tallies.values())

    @property
    def recall(self) -> float:
        """Return the share of planted faults that were found."""
        return self.found / self.planted if self.planted else 1.0

    @property
    def precision(self) -> float:
        """Return the share of true verdicts among those, and false alarms."""
        return self.found / (self.found + self.alarms) if self.found + self.alarms else 1.0


def proved(
    runs: Runs, seeds: Sequence[int], names: Sequence[str], healthy: bool, say: Say
) -> Proof:
    """Try the faults of some verdicts, and the sound runs where `healthy`."""
    proof = Proof({kind.name: Tally() for kind in KINDS if kind.name in names})
    for fault in FAULTS:
        if fault.verdict in names:
            _plant(proof, runs, fault, seeds, say)
    if NOISE.name in names:
        _sweeps(proof, runs, say)
    for words, least in SOUND if healthy else ():
        _leave_alone(proof, runs, words, least, seeds, say)
    return proof


def _plant(proof: Proof, runs: Runs, fault: Fault, seeds: Sequence[int], say: Say) -> None:
    tally, words = proof.tallies[fault.verdict], runs.words(fault.words)
    broken = [runs(words, seed) for seed in seeds]
    found = [each.named(fault.verdict) for each in broken]
    tally.planted += len(seeds)
    tally.found += sum(each is not None for each in found)
    offered = next((each.override for each in found if each and each.override), "")
    line = f"{fault.verdict}: {sum(map(bool, found))} of {len(seeds)}  {fault.words}"
    _accepted(proof, runs, words, broken)
    if offered:
        after = [runs(corrected(words, offered), seed) for seed in seeds]
        gone = not any(each.named(fault.verdict) for each in after)
        helped = _better(fault.better, broken, after) if fault.better else gone
        tally.pasted += 1
        tally.helped += helped
        line += f"  -> {offered}: {'helps' if helped else 'DOES NOT HELP'}"
        line += _shown(fault.better, broken, after)
        if not helped:
            proof.complaints.append(f"{fault.verdict}: {offered} does not help {fault.words}")
        if fault.sound:
            healthy = [runs(_instead(fault, words), seed) for seed in seeds]
            means = [_mean(each, "test/accuracy") for each in (broken, after, healthy)]
            proof.lectures.append(Lecture(fault.verdict, fault.words, offered, *means))
            if not proof.lectures[-1].trains:
                proof.complaints.append(f"{fault.words} {offered}: not as good as {fault.sound}")
    say(line)


def _instead(fault: Fault, words: Sequence[str]) -> list[str]:
    """Return the healthy words for a broken network, with what both share."""
    keys = {each.partition("=")[0] for each in fault.sound.split()}
    kept = [each for each in words if each.startswith("trainer.") and each not in keys]
    return [*fault.sound.split(), *kept]


def _better(key: str, broken: Sequence[Ended], after: Sequence[Ended]) -> bool:
    """Tell whether a number has got better by more than the spread of its seeds.

    Losses, which may be of any size, are compared by their logarithms.
    """
    before, now = ([_score(key, each.number(key)) for each in runs] for runs in (broken, after))
    if min(before) == -math.inf:
        return min(now) > -math.inf
    spread = math.hypot(stdev(before), stdev(now)) / math.sqrt(2) if len(now) > 1 else 0.0
    return fmean(now) - fmean(before) > spread


def _score(key: str, number: float) -> float:
    """Return a number that is the larger the better."""
    return -math.log(max(number, 1e-12)) if key.endswith("loss") else number


def _mean(runs: Sequence[Ended], key: str) -> float:
    return fmean(each.number(key) for each in runs)


def _shown(key: str, *runs: Sequence[Ended]) -> str:
    """Return how a number went from the first runs to the second."""
    if not key:
        return ""
    before, now = (_mean(each, key) for each in runs)
    return f", {key} {before:.4g} to {now:.4g}"


def _accepted(proof: Proof, runs: Runs, words: Sequence[str], ended: Sequence[Ended]) -> None:
    """Complain of overrides that the runner would not take."""
    offered = {each.override for run in ended for each in run.verdicts if each.override}
    for override in sorted(offered):
        if not runs.accepted(words, override):
            proof.complaints.append(f"not accepted: {' '.join(words)} with {override}")


def _leave_alone(
    proof: Proof, runs: Runs, text: str, least: float, seeds: Sequence[int], say: Say
) -> None:
    words = runs.words(text)
    ended = [runs(words, seed) for seed in seeds]
    _accepted(proof, runs, words, ended)
    for run in ended:
        proof.sound += 1
        reached = max(run.number("valid/accuracy"), run.number("valid/r2"))
        if reached < least:
            proof.complaints.append(f"not sound: {text} reaches {reached:.3f}, not {least}")
        for each in run.verdicts:
            _alarm(proof, each, text)
    given = sorted({each.name for run in ended for each in run.verdicts})
    say(f"sound: {text or 'the default'}" + (f"  ({', '.join(given)})" if given else ""))


def _alarm(proof: Proof, verdict: Verdict, text: str) -> None:
    """Count what a sound run was given: a false alarm, or a note."""
    if verdict.severity == "note":
        proof.notes[verdict.name] = proof.notes.get(verdict.name, 0) + 1
        return
    proof.tallies.setdefault(verdict.name, Tally()).alarms += 1
    proof.complaints.append(f"false alarm: {verdict.name}: {verdict.text}: {text}")


def _sweeps(proof: Proof, runs: Runs, say: Say) -> None:
    """Judge pairs of configurations that only seeds tell apart, and one that differs."""
    tally = proof.tallies[NOISE.name]
    for pair, expected in (*((each, True) for each in ALIKE), *((each, False) for each in APART)):
        scores = [list(_scores(runs, text)) for text in pair]
        counts = [len(each) for each in scores]
        given = noise(
            [fmean(each) for each in scores], [stdev(each) for each in scores], counts, largest=True
        )
        tally.planted += expected
        tally.found += expected and given is not None
        if given is not None and not expected:
            tally.alarms += 1
            proof.complaints.append(f"false alarm: {given.text}: {pair}")
        say(f"{NOISE.name}: {'given' if given else 'not given'}  {pair[0]} against {pair[1]}")


def _scores(runs: Runs, text: str) -> Iterator[float]:
    for seed in range(SEEDS_OF_A_SWEEP):
        yield runs(runs.words(text), seed).number("valid/accuracy")
