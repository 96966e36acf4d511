"""From measurements to tables."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence

from benchmarks.contenders import BASELINE, CONTENDERS, Pairing
from benchmarks.machine import Roofline
from benchmarks.profiling import PARTS
from benchmarks.rounds import Comparison, Result, quartiles
from benchmarks.table import Table
from benchmarks.whole import Spent
from benchmarks.workloads import WORKLOADS


def compared(comparison: Comparison, flops: int, peak: float) -> Table:
    """Return contenders with their speed; `peak` is the rate of GEMM with as many threads."""
    name, results = comparison.workload, comparison.results
    title = f"{name}: {WORKLOADS[name].text}"
    if reason := results[BASELINE].missing:
        return Table(title, ["", "remark"], [[BASELINE, f"missing: {short(reason)}"]])
    rows = [_compared(each, result, comparison.steps, flops / peak)
            for each, result in results.items()]  # fmt: skip
    columns = ["", "speed, tuned = 1", "quartiles", "µs/step", "of GEMM", "remark"]
    chosen = [f"`{each}` ({result.chosen})" for each, result in results.items() if result.chosen]
    apart = f", but for {', '.join(chosen)}" if chosen else ""
    note = (
        f"{comparison.rounds} rounds of {comparison.steps} steps; threads: {comparison.threads}"
        f"{apart}; {flops / 1e6:,.0f} MFLOP a step, forward and backward."
    )
    return Table(title, columns, rows, note)


def _compared(name: str, result: Result, steps: int, shortest: float) -> list[str]:
    """Return a row; `shortest` is how long a step would take at the rate of GEMM."""
    if result.missing:
        return [name, "-", "-", "-", "-", f"missing: {short(result.missing)}"]
    low, middle, high = quartiles(result.ratios)
    step = statistics.median(result.seconds) / steps
    share = f"{shortest / step:.1%}"
    spread = f"{low:.2f} to {high:.2f}"
    return [name, f"{middle:.2f}", spread, f"{step * 1e6:,.0f}", share, ""]


def paired(pairing: Pairing, comparisons: Sequence[Comparison]) -> Table:
    """Return the share of its speed that our loop loses by something it does."""
    rows = [
        _paired(each, pairing.base, name, alone=len(pairing.others) == 1)
        for each in comparisons
        for name in pairing.others
    ]
    columns = ["", "speed lost", "quartiles", "seconds a round", "rounds", "remark"]
    return Table(pairing.title, columns, rows, pairing.note)


def _paired(comparison: Comparison, base: str, name: str, alone: bool) -> list[str]:
    label = comparison.workload if alone else f"{comparison.workload} {name}"
    bare, own = comparison.results[base], comparison.results[name]
    if reason := bare.missing or own.missing:
        return [label, *"---", "", f"missing: {short(reason)}"]
    low, middle, high = (1 - ratio for ratio in quartiles(own.ratios))
    seconds = f"{statistics.median(own.seconds):.1f}"
    rounds = f"{comparison.rounds} of {comparison.steps:,} steps"
    return [label, f"{middle:.1%}", f"{high:.1%} to {low:.1%}", seconds, rounds, ""]


def trained(spent: Mapping[str, Sequence[Spent]]) -> Table:
    """Return how long whole training runs take on the clock."""
    note = (
        "The default run, digits for 20 epochs, from the start of the process to its end: import, "
        "build, train, validate, test, write. The script does the same by hand with torch, "
        "scikit-learn and SummaryWriter (`scripts/benchmarks/plain_digits.py`)."
    )
    return _against_first("A whole process, time on the clock", spent, "clock", note)


def looked(spent: Mapping[str, Sequence[Spent]]) -> Table:
    """Return how much of the processor it takes to look around."""
    note = "User and system time of the whole process."
    return _against_first("Looking around, time of the processor", spent, "processor", note)


def _against_first(title: str, spent: Mapping[str, Sequence[Spent]], by: str, note: str) -> Table:
    """Return a row for each: its time over that of the first in the same turn."""
    base = [getattr(each, by) for each in next(iter(spent.values()))]
    rows = []
    for name, own in spent.items():
        ratios = [getattr(each, by) / other for each, other in zip(own, base, strict=True)]
        low, middle, high = quartiles(ratios)
        medians = [f"{statistics.median(column):.2f}" for column in zip(*own, strict=True)]
        rows.append([name, f"{middle:.2f}", f"{low:.2f} to {high:.2f}", *medians])
    return Table(title, ["", "ratio", "quartiles", "seconds", "CPU seconds"], rows, note)


def roof(limits: Roofline) -> Table:
    """Return what the hardware gives."""
    rows = [
        [str(count), f"{limits.gemm[count] / 1e9:,.0f}", f"{limits.copied[count] / 1e9:,.1f}"]
        for count in limits.gemm
    ]
    columns = ["threads", "GEMM, GFLOP/s", "memory, GB/s"]
    note = "float32, matrices of 2048 x 2048; memory read and written in a copy. Best of 8 tries."
    return Table("Roofline", columns, rows, note)


def profiled(profiles: Mapping[str, tuple[float, Mapping[str, float]]]) -> Table:
    """Return where a step's time goes, a row for each workload."""
    rows = [[name, f"{seconds * 1e6:,.0f}", *(f"{shares[part]:.1%}" for part in PARTS)]
            for name, (seconds, shares) in profiles.items()]  # fmt: skip
    note = "Our eager step; each part is timed by itself, without validation."
    return Table("Where a step's time goes", ["", "µs/step", *PARTS], rows, note)


def described() -> Table:
    """Return what each contender is."""
    rows = [[name, each.text] for name, each in CONTENDERS.items()]
    return Table("Contenders", ["", "what it is"], rows)


def short(reason: str) -> str:
    """Return a reason without the paths of this machine and at a length that fits a table."""
    text = re.sub(r"(?<![\w.])/[\w./-]+", "...", reason).replace("|", "/")
    return text if len(text) <= 100 else f"{text[:97]}..."
