"""The tables of the proof, and the page of the documentation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from benchmarks.table import Table, markdown

from diagnosing.proof import Proof, Tally
from runner.diagnosis.verdicts import KINDS
from runner.diagnosis.verdicts.kind import Kind

CONF = Path(__file__).resolve().parents[2] / "conf"


def tables(proof: Proof, seeds: Sequence[int]) -> list[Table]:
    """Return what was found by verdict, and of the networks that the lectures break."""
    made = [Table(
        "Found", ["verdict", "planted", "found", "recall", "false alarms", "remedied"],
        [_row(name, tally) for name, tally in proof.tallies.items()],
        f"Planted: runs with the fault, {_times(seeds)}. Found: of them, those given the "
        "verdict, or that of its cause, which silences it. Remedied: faults whose remedy, pasted, "
        "made the runs better by more than the seeds' spread; where no number can tell, the "
        "verdict is gone. " + summed(proof) + ".",
    )]  # fmt: skip
    if proof.lectures:
        rows = [
            [f"`{each.words}`", each.verdict, f"`{each.override}`",
             *(f"{value:.3f}" for value in (each.broken, each.remedied, each.healthy))]
            for each in proof.lectures
        ]  # fmt: skip
        made.append(Table(
            "The lectures' broken networks",
            ["words", "verdict", "pasted", "test accuracy", "after", "healthy one"], rows,
            f"Means over {_times(seeds)}.",
        ))  # fmt: skip
    return made


def summed(proof: Proof) -> str:
    """Return recall and precision, and what sound runs were given."""
    notes = ", ".join(f"{name} ({times})" for name, times in sorted(proof.notes.items()))
    return (
        f"Recall {proof.recall:.1%} of {proof.planted} planted, precision {proof.precision:.1%}; "
        f"{proof.alarms} false alarms in {proof.sound} sound runs, notes: {notes or 'none'}"
    )


def write(path: Path, made: Sequence[Table], proof: Proof, command: str) -> None:
    """Write the page; what stands in the old one from other seeds on, by hand, is kept."""
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    _, _, kept = before.partition(KEPT)
    date = time.strftime("%Y-%m-%d")
    parts = [INTRODUCTION.format(rows=_rows()), markdown(_known()),
             PROOF.format(command=command, sound=proof.sound, date=date)]  # fmt: skip
    parts += [markdown(each).replace("## ", "### ", 1) for each in made]
    path.write_text("\n".join(parts) + "\n" + KEPT + (kept or "\n"), encoding="utf-8")


def _rows() -> int:
    """Return how many rows are looked at by default."""
    known: dict[str, int] = yaml.safe_load((CONF / "probes/light.yaml").read_text("utf-8"))
    return known["rows"]


def _known() -> Table:
    """Return every verdict with its number, threshold, source and remedy."""
    columns = ["verdict", "severity", "measured", "threshold", "source", "remedy"]
    return Table("The verdicts", columns, [_described(kind) for kind in KINDS], LEGEND)


def _described(kind: Kind) -> list[str]:
    sign = "below" if kind.below else "above"
    return [kind.name, kind.severity, kind.measure, f"{sign} {kind.threshold:g}", kind.source,
            kind.remedy or "none: it is not in the settings"]  # fmt: skip


def _row(name: str, tally: Tally) -> list[str]:
    recall = f"{tally.found / tally.planted:.0%}" if tally.planted else "-"
    remedied = f"{tally.helped} of {tally.pasted}" if tally.pasted else "-"
    return [name, str(tally.planted), str(tally.found), recall, str(tally.alarms), remedied]


def _times(seeds: Sequence[int]) -> str:
    first, *others = seeds
    return f"seeds {first} to {others[-1]}" if others else f"seed {first}"


INTRODUCTION = """\
# Diagnosis

Every run is looked into while it trains, and judged: what is wrong, on what evidence, and what to
type instead. A fault of the untrained network is warned of before its first step; the gravest
verdicts stand at the end of what a run prints, all of them in its directory:

```
runner diagnose last       # every verdict: number, threshold, source, a command to paste
runner diagnose SWEEP      # which verdicts were given on which jobs
runner probes=none         # do not look
runner probes=full         # histograms, curvature, gradient noise and the Jacobian too
runner probes.every=1epochs
```

`probes=light`, the default, looks before the first step, after 1, 2, 4, 8 ... epochs and at the
end, at a copy of the network on {rows} training rows that are always the same: activations,
gradients, weights and updates of each layer. The run's own numbers are the same with and without.
What is seen stands in `probes.jsonl`, facts of the data and the verdicts in `diagnosis.json`.

A verdict is a function of these files, `metrics.jsonl` and the settings alone. A **fault** keeps a
run from training, a **warning** makes it train worse than it could, a **note** is good to know.
What follows from another fault is left out: a network that cannot train as it starts is not judged
by its curve, and units that died of too high a rate are no verdict beside it.
"""
LEGEND = """\
S0 to S4 are the five lectures of the curriculum, C15 and the like its list of traps. A constant
answer is the same for every row: a run that takes away nothing of its loss has learnt nothing.
"Measured" and "our choice" say that a threshold comes from no lecture. Where several remedies
stand, the first that fits the run is offered; of one there is always a single one."""
PROOF = """\
## The proof

`{command}` plants each fault in runs on small data sets, pastes what its verdict offers in the
place of the words that it replaces, and looks whether the runs get better. {sound} sound runs of
different data, networks, optimizers and normalizations, which all train well, must be given no
fault and no warning. It ends with exit code 1 if less than 90 % of the faults are found, at the
first false alarm, and if a remedy is refused or does not help. Numbers that are measured or our
choice were settled while looking at runs like these with seeds 0 to 2; `scripts/diagnosis --first
10` takes others. Other verdicts on broken runs are not counted as false: a broken run often has
several. Written on {date}.
"""
KEPT = "## Other seeds"
