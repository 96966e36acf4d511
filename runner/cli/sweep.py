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
sweep.cluster=slurm                each batch a job of this machine's cluster; with --detach nobody
                                   waits for them: runner report DIR, runner resume DIR
hydra/launcher=joblib              each job a run of its own, by this launcher of Hydra's
hydra/sweeper=...                  jobs that this sweeper of Hydra's asks for, batch by batch

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
Known = dict[str, tuple[str, str]]  # job id -> directory and state


def run(options: argparse.Namespace) -> int:
    """Plan; then train what is missing, or with --dry-run print the plan."""
    from runner.training.signals import raising

    with raising():
        if (code := by_hydra(options)) is not None:
            return code
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
        return launch(plan.jobs, plan.folder, plan.sweep, request, options.new, terminal,
                      detach=options.detach)  # fmt: skip


def by_hydra(options: argparse.Namespace, folder: Path | None = None) -> int | None:
    """Run the sweep by a launcher or sweeper of Hydra's; None where its words name neither."""
    from runner.compose.multirun import apart, choose

    about, words = apart(options.overrides)
    if not about:
        return None
    if (chosen := choose(about)).own:
        options.overrides = words
        return None
    from runner.cli import multirun

    return multirun.run(options, chosen, words, folder)


@memory.loading()
def planned(options: argparse.Namespace) -> tuple[Any, Any]:
    """Compose and check every job; return (plan, request)."""
    from runner.compose import Composer
    from runner.sweeps.plan import plan

    asked = given(options)
    made = plan(options.overrides, Composer(**asked.composing), asked.trust)
    return made, asked.request(made.composition, options.overrides)


def described(plan: Any, folder: Path, *, grouped: bool = True) -> Iterator[str]:
    """Yield the lines of a plan: where it is, its jobs, what is swept.

    Those that are `grouped` train as lanes: who with whom, and what that is estimated to take.
    """
    yield f"sweep   {folder}"
    yield f"jobs    {len(plan.jobs):,}"
    for key, values in plan.values().items():
        yield f"swept   {key}: {', '.join(map(_shown, values))}"
    known = _known(folder)
    groups = _groups([job.settings for job in plan.jobs]) if grouped else []
    expected = _estimates(plan, [members for members, _ in groups], known)
    for members, refusal in groups:
        count = f"{len(members):,} job{'' if len(members) == 1 else 's'}"
        first = plan.jobs[members[0]].directory
        how = refusal or ("as lanes of one program" if len(members) > 1 else "of its own kind")
        yield f"group   {count}, {'such as ' * (len(members) > 1)}{first}: {how}"
        yield f"        {next(expected)}"
    if grouped:
        yield from expected
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


def _estimates(plan: Any, groups: Sequence[Sequence[int]], known: Known) -> Iterator[str]:
    """Yield what is said of the time and memory of each group, then of all."""
    from runner.sweeps.estimate import estimates
    from runner.sweeps.state import SETTLED

    jobs = [[plan.jobs[at] for at in members] for members in groups]
    return estimates([[job for job in group if known.get(job.id, ("", ""))[1] not in SETTLED]
                      for group in jobs], plan.sweep)  # fmt: skip


def _folder(folder: Path, new: bool) -> Path:
    """Return where the sweep is, or would be."""
    from runner.sweeps.launch import fresh, newest

    return fresh(folder) if new else newest(folder)


def _known(folder: Path) -> Known:
    """Return directory and state of the jobs that are there already, by id."""
    from runner.foundation.files import read_json
    from runner.recording import directory

    jobs = read_json(folder / directory.SWEEP).get("jobs", {})
    states = {key: directory.status(folder / each["directory"]) for key, each in jobs.items()}
    return {key: (each["directory"], states[key].get("state", "")) for key, each in jobs.items()}
