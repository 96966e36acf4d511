"""With -m, several values of a key are a sweep: every combination is a job, all of them one object.

optimizer.lr=0.1,0.01,0.001        values; also range(1,5), choice(a,b), sort(...), shuffle(...)
'optimizer.lr=logspace(1e-4,1,9)'  nine values from 1e-4 to 1; linspace(0,1,5) likewise
optimizer=sgd,adam                 options; 'optimizer=glob(ada*)' is every one that fits
architecture.hidden=[32],[64,64]   lists
seeds=5                            every combination with five seeds: 0 to 4, or from seed= on
sweep.zip=[optimizer.lr,trainer.batch_size]
                                   the values of these keys go in step
'sweep.grids=["optimizer=sgd optimizer.lr=0.1,1","optimizer=adam optimizer.lr=0.001"]'
                                   sets of words, each a sweep; what stands outside multiplies all
name=rates                         its directory; else it is called by its words

The same command again finds its sweep, keeps what is finished and goes on with the rest. How it is
run: runner list sweep, such as sweep.max_jobs=5000, sweep.on_failure=stop.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from runner.cli.configure import given
from runner.foundation import memory
from runner.recording.console import Terminal, number

SHOWN = 40  # directories of jobs


def run(options: argparse.Namespace) -> int:
    """Plan; then train what is missing, or with --dry-run print the plan."""
    from runner.training.signals import raising

    with raising():
        plan, request = planned(options)
        terminal = Terminal()
        if options.dry_run:
            for line in described(plan, _folder(plan.folder, options.new)):
                terminal.line(line)
            for warning in plan.warnings:
                terminal.warn(warning)
            return 0
        from runner.sweeps.launch import run as launch

        for warning in plan.warnings:
            terminal.warn(warning)
        return launch(plan.jobs, plan.folder, plan.sweep, request, options.new, terminal)


@memory.loading()
def planned(options: argparse.Namespace) -> tuple[Any, Any]:
    """Compose and check every job; return (plan, request)."""
    from runner.compose import Composer
    from runner.sweeps.plan import plan

    asked = given(options)
    made = plan(options.overrides, Composer(**asked.composing), asked.trust)
    return made, asked.request(made.composition, options.overrides)


def described(plan: Any, folder: Path) -> Iterator[str]:
    """Yield the lines of a plan: its jobs, what is swept, who trains with whom, and where."""
    yield f"sweep   {folder}"
    yield f"jobs    {len(plan.jobs):,}"
    for key, values in plan.values().items():
        yield f"swept   {key}: {', '.join(map(_shown, values))}"
    for members, refusal in _groups([job.settings for job in plan.jobs]):
        count = f"{len(members):,} job{'' if len(members) == 1 else 's'}"
        first = plan.jobs[members[0]].directory
        yield f"group   {count}, such as {first}: {refusal or 'as lanes of one program'}"
    known = _known(folder)
    for job in plan.jobs[:SHOWN]:
        name, state = known.get(job.id, (job.directory, ""))
        yield f"  {name}{' (finished)' if state == 'finished' else ''}"
    if len(plan.jobs) > SHOWN:
        yield f"  ... and {len(plan.jobs) - SHOWN:,} more"


def _shown(value: Any) -> str:
    return str(value).replace(" ", "") if isinstance(value, list | dict) else number(value)


def _groups(settings: Sequence[Any]) -> Sequence[tuple[list[int], str]]:
    """Return which jobs can be lanes of one program, and why others train alone."""
    from runner.assemble.lanes import groups

    return groups(settings)


def _folder(folder: Path, new: bool) -> Path:
    """Return where the sweep is, or would be."""
    from runner.sweeps.launch import fresh, newest

    return fresh(folder) if new else newest(folder)


def _known(folder: Path) -> dict[str, tuple[str, str]]:
    """Return directory and state of the jobs that are there already, by id."""
    from runner.foundation.files import read_json
    from runner.recording import directory

    jobs = read_json(folder / directory.SWEEP).get("jobs", {})
    states = {key: directory.status(folder / each["directory"]) for key, each in jobs.items()}
    return {key: (each["directory"], states[key].get("state", "")) for key, each in jobs.items()}
