"""Say what is wrong with a run, on what evidence, and what to type; of a sweep, of its jobs.

runner diagnose last

Each verdict has the number it goes by, the threshold, the source of that, and words to type instead
(runner/docs/diagnosis.md). A run that was not looked at while it trained (probes=none) is rebuilt,
and looked at as it was before its first step and as it is now. Nothing is written.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

from runner.cli.configure import add_run, here, output_root
from runner.diagnosis.verdicts import judge, sweep
from runner.diagnosis.verdicts.kind import SEVERITIES, Verdict
from runner.foundation.files import read_json
from runner.recording import directory
from runner.recording.console import Terminal, number
from runner.reports import diagnosis, folding, results
from runner.reports.run import command

STYLES = {"fault": "red", "warning": "yellow", "note": "blue"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words and flags."""
    add_run(parser)


def run(options: argparse.Namespace) -> int:
    """Judge, and print every verdict with its evidence."""
    root = output_root(here(options.overrides).get("output_root"))
    folder, terminal = directory.find(options.run, root, sweeps=True), Terminal()
    if directory.is_sweep(folder):
        _sweep(folder, terminal)
        return 0
    if read_json(folder / directory.DIAGNOSIS):
        verdicts = judge(diagnosis.evidence(folder))
    else:
        verdicts = _afterwards(options, terminal)
    state = directory.status(folder).get("state", "unknown")
    terminal.line(f"{folder}: {state}, {_count(verdicts)}")
    for each in verdicts:
        _print(each, folder, terminal)
    return 0


def _count(verdicts: list[Verdict]) -> str:
    """Say how many verdicts of which severity there are."""
    counts = {name: sum(each.severity == name for each in verdicts) for name in SEVERITIES}
    found = [f"{count} {name}{'s' * (count > 1)}" for name, count in counts.items() if count]
    return ", ".join(found) or "nothing found that is wrong"


def _print(verdict: Verdict, folder: Path, terminal: Terminal) -> None:
    terminal.line(f"\n{verdict.severity}: {verdict.name}", STYLES[verdict.severity])
    terminal.line(f"  {verdict.text}")
    terminal.line(
        f"  measured {number(verdict.number)}, threshold {number(verdict.threshold)} "
        f"({verdict.source})"
    )
    if verdict.override:
        terminal.line(f"  try {command(folder, verdict.override)}")


def _afterwards(options: argparse.Namespace, terminal: Terminal) -> list[Verdict]:
    """Rebuild a run that was not looked at, and look at its beginning and its end."""
    from runner.cli.reopen import reopened
    from runner.execution.finished import afterwards
    from runner.training.signals import raising

    with raising():
        folder, settings = reopened(options)
        facts, looks = afterwards(settings, folder, terminal.warn)
    return judge(diagnosis.evidence(folder, facts=facts, looks=looks))


def _sweep(folder: Path, terminal: Terminal) -> None:
    """Print which verdicts were given on which jobs."""
    found: dict[tuple[str, str], list[tuple[str, Verdict]]] = defaultdict(list)
    jobs = directory.jobs(folder)
    for job in jobs:
        for each in judge(diagnosis.evidence(job)):
            found[each.severity, each.name].append((job.name, each))
    terminal.line(f"{folder}: {len(jobs)} jobs")
    for severity, name in sorted(found, key=lambda pair: SEVERITIES.index(pair[0])):
        whose = found[severity, name]
        terminal.line(f"\n{severity}: {name}, {len(whose)} of {len(jobs)} jobs", STYLES[severity])
        first, example = whose[0]
        terminal.line(f"  {first}: {diagnosis.line(example)}")
    if verdict := _noise(folder):
        _print(verdict, folder, terminal)
    elif not found:
        terminal.line("nothing found that is wrong")


def _noise(folder: Path) -> Verdict | None:
    """Judge whether the seeds of a sweep let its configurations be told apart."""
    table = results.read(folder)
    able = [each.value for each in folding.best(table, folding.folded(table)) if each.value]
    return sweep.noise(
        [each.mean for each in able],
        [each.std or 0.0 for each in able],
        [each.n for each in able],
        largest=table.sign() > 0,
    )
