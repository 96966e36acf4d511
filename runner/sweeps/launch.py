"""Launch a sweep: find or make its directory, train what is missing, end in a table.

The same command again goes on where the last one ended: jobs are known by their ids, finished ones
are kept, cut ones go on in the batches they were pinned to, the way they were.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import socket
import time
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from runner.execution.launch import Request
from runner.foundation.errors import Interrupted, InUse, Misconfigured
from runner.foundation.files import locked_in_turn, read_json, unwritable, write_atomic
from runner.recording import directory, environment
from runner.recording.console import Terminal
from runner.reports import sweep as report
from runner.sweeps import dispatch
from runner.sweeps.coordinate import Coordinator
from runner.sweeps.crew import GRACE, Crew
from runner.sweeps.foreman import Rules
from runner.sweeps.state import FINAL, SETTLED, State, counted
from runner.sweeps.view import View
from runner.sweeps.worker import ORPHANED, Engine, Work
from runner.training.signals import deferred

if TYPE_CHECKING:
    from runner.assemble.settings import Settings
    from runner.execution.jobs import Member
    from runner.sweeps.plan import Job
    from runner.sweeps.settings import Sweep

UNFINISHED_JOBS = 6  # exit code: a job failed or diverged


def run(
    jobs: Sequence[Job],
    folder: Path,
    sweep: Sweep,
    request: Request,
    new: bool,
    terminal: Terminal,
    engine: Engine | None = None,
    detach: bool = False,
) -> int:
    """Train what is missing of these jobs, in `folder` or the newest beside it; return exit code.

    `new` makes another directory beside it; with `detach` a cluster is left alone with them.
    Raises `Interrupted` with everything saved.
    """
    dispatch.ready(sweep, request, detach=detach)
    name, folder = folder.name, fresh(folder) if new else newest(folder)
    make(folder, anew=new)
    with alone(folder, terminal):
        state = State(folder)
        state.reconcile()
        state.merge(jobs)
        swept = list(dict.fromkeys(key for job in jobs for key in job.swept))
        swept.sort(key=lambda key: key == "seed")  # the last
        head = {"objective": None, "direction": None, **state.content}
        state.head(**head | {"name": name, "overrides": request.overrides, "swept": swept})
        return _go(state, jobs, sweep, request, terminal, engine, detach)


def make(folder: Path, *, anew: bool) -> None:
    """Make a sweep's directory; raises `Unwritable`, too if it is to be `anew` and is there."""
    try:
        folder.mkdir(parents=True, exist_ok=not anew)
    except OSError as error:
        raise unwritable(folder, error) from error


def resume(
    folder: Path,
    jobs: Sequence[Job],
    sweep: Sweep,
    request: Request,
    terminal: Terminal,
    engine: Engine | None = None,
) -> int:
    """Go on with a sweep; `jobs` are those of its recorded command, planned again.

    Raises `Misconfigured` if they are no longer the recorded ones: options have changed since.
    """
    dispatch.ready(sweep, request, recorded=True)
    with alone(folder, terminal):
        state = State(folder)
        state.reconcile()
        known = {job.id for job in jobs}
        missing = [entry["directory"] for key, entry in state.asked().items()
                   if key not in known and entry["state"] not in SETTLED]  # fmt: skip
        if missing:
            raise Misconfigured(
                f"{folder}: the recorded command now means other jobs: it was changed, or options "
                f"have since ({len(missing)} recorded jobs differ, such as {missing[0]}); "
                "give the command itself to train the jobs of today"
            )
        asked = state.asked()
        return _go(
            state, [job for job in jobs if job.id in asked], sweep, request, terminal, engine
        )


def fresh(folder: Path) -> Path:
    """Return a directory for a new sweep beside one of the same name: `rates`, `rates-2`, ..."""
    names = [folder, *(folder.with_name(f"{folder.name}-{at}") for at in range(2, 10_000))]
    return next(each for each in names if not each.exists())


def newest(folder: Path) -> Path:
    """Return the newest sweep that was begun under this name; the directory itself if none was."""
    numbered = re.compile(re.escape(folder.name) + r"-\d+")
    found = [
        (float(content.get("created") or 0), path.parent)
        for path in folder.parent.glob(f"*/{directory.SWEEP}")
        if path.parent == folder or numbered.fullmatch(path.parent.name)
        for content in [read_json(path)]
        if path.parent == folder or content.get("name") == folder.name
    ]
    return max(found)[1] if found else folder


def _go(
    state: State,
    jobs: Sequence[Job],
    sweep: Sweep,
    request: Request,
    terminal: Terminal,
    engine: Engine | None,
    detach: bool = False,
) -> int:
    dispatch.refuse_elsewhere(state, sweep)  # before the command is recorded as this sweep's
    record(state, request, terminal)
    news = bool(set(state.counts()) - set(SETTLED))
    train(state, jobs, sweep, request, terminal, engine, detach=detach)
    if detach and set(state.counts()) - set(FINAL):
        return 0
    return finish(state, terminal, figures=sweep.figures and news)


def train(
    state: State,
    jobs: Sequence[Job],
    sweep: Sweep,
    request: Request,
    terminal: Terminal,
    engine: Engine | None = None,
    again: Container[str] | None = None,
    detach: bool = False,
) -> None:
    """Train what is missing of these jobs, those asked for; what failed before, if in `again`.

    They are trained here or on the sweep's cluster, which may be left alone with them (`detach`).

    Raises `Interrupted` with everything saved.
    """
    if todo := [job for job in jobs if state.jobs[job.id]["state"] not in SETTLED]:
        engine = engine or the_engine()
        members = {job.id: _member(engine, state, job, request) for job in jobs}
        work = Work(engine, members, state.folder / directory.BATCHES, sweep.save_minutes)
        settings = {job.id: job.settings for job in jobs}
        if sweep.cluster is not None:
            dispatch.train(state, settings, work, sweep, terminal, again, detach)
            return
        dispatch.refuse_elsewhere(state, sweep)
        method, rules = rules_of([job.settings for job in todo], sweep)
        with (
            deferred() as waiting,
            contextlib.closing(Crew(work, method)) as crew,
            View(state, terminal) as view,
        ):
            Coordinator(state, settings, work, rules, crew, view, waiting).run(again)
        if waiting.number and set(state.counts()) - set(FINAL):
            way = f"continue with: runner resume {state.folder}"
            raise Interrupted(waiting.number, f"{counted(state.counts())}; {way}")


def record(state: State, request: Request, terminal: Terminal) -> None:
    """Write what is common to all jobs, and say what there is to do."""
    folder = state.folder
    terminal.keep_log(folder / directory.LOG)
    asked = {"overrides": list(request.overrides), "choices": dict(request.choices),
             "trust": request.trust, "config_dirs": request.config_dirs}  # fmt: skip
    text = yaml.safe_dump(asked, sort_keys=False, allow_unicode=True)
    write_atomic(folder / directory.OVERRIDES, text)
    differs = environment.keep(folder / directory.ENVIRONMENT)
    state.save(now=True)
    terminal.line(f"sweep   {folder}")
    terminal.line(f"        {counted(state.counts())}")
    if differs:
        terminal.line(f"        since it began: {', '.join(differs)}")


def _member(engine: Engine, state: State, job: Job, request: Request) -> Member:
    own = dataclasses.replace(
        request,
        config=job.composition.record,
        choices=job.composition.choices,
        overrides=list(job.overrides),
    )
    return engine.member(job.id, job.settings, own, state.folder_of(job.id), dict(job.swept))


def rules_of(settings: Sequence[Settings], sweep: Sweep) -> tuple[str, Rules]:
    """Return how processes start (fork, or spawn where CUDA is used), and how many there may be."""
    import torch

    automatic = sweep.processes == "auto"
    processors = len(os.sched_getaffinity(0))
    threads = max(each.threads if isinstance(each.threads, int) else 1 for each in settings)
    processes = max(processors // threads, 1) if automatic else int(sweep.processes)
    method = "fork"
    if any(each.device != "cpu" for each in settings) and torch.cuda.is_available():
        method, processes = "spawn", 1
    processes = min(processes, len(settings))
    lanes = None if sweep.lanes == "auto" else int(sweep.lanes)
    stop = sweep.on_failure == "stop"
    return method, Rules(processes, automatic, processors, lanes, sweep.retries, stop)


def finish(state: State, terminal: Terminal, *, figures: bool) -> int:
    """Print the table, and how to go on if a job did not finish; return the exit code.

    With `figures` they are drawn anew.
    """
    state.save(now=True)
    results = report.summarize(state.folder, terminal)
    if figures:
        try:
            report.illustrate(results, terminal)
        except Exception as error:  # whatever drawing says: the sweep itself has ended well
            terminal.warn(f"no figures: {error}; try: runner report {state.folder} --figures")
    counts = state.counts()
    if rest := sum(counts[each] for each in ("failed", "pending", "interrupted")):
        terminal.line(f"run the {rest} again that failed or are missing: "
                      f"runner resume {state.folder}")  # fmt: skip
    if counts["diverged"]:
        terminal.line(f"the {counts['diverged']} that diverged would diverge again: "
                      "they are kept as they are")  # fmt: skip
    return 0 if counts["finished"] == sum(counts.values()) else UNFINISHED_JOBS


def the_engine() -> Engine:
    """Return what trains."""
    from runner.assemble.data import checksum
    from runner.assemble.lanes import groups
    from runner.assemble.ways import Way, way_of
    from runner.execution.batch import perform
    from runner.execution.jobs import Member

    return Engine(checksum, groups, way_of, perform, Way, Member)


@contextlib.contextmanager
def alone(folder: Path, terminal: Terminal) -> Iterator[None]:
    """Hold a sweep's directory; raises `InUse` if another does.

    Workers hold it too. Those of a coordinator that was killed get the time they take to save.
    """
    patience = time.monotonic() + max(ORPHANED, GRACE) + 5
    said = False

    def wait(error: InUse) -> None:
        nonlocal said
        if not _orphaned(folder) or time.monotonic() > patience:
            raise error
        if not said:
            terminal.line(f"{folder}: waiting for processes of a sweep that was killed to save")
            said = True
        time.sleep(0.1)

    with locked_in_turn(folder, wait):
        yield


def _orphaned(folder: Path) -> bool:
    """Tell whether who took the lock is no more."""
    try:
        text = (folder / ".lock").read_text(encoding="utf-8")
    except OSError:
        return False
    holder = re.match(r"pid (\d+) on host (\S+),", text)
    if holder is None or holder[2] != socket.gethostname():
        return False
    try:
        os.kill(int(holder[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
