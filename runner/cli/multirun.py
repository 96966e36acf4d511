"""A sweep by one of Hydra's launchers, or of the jobs that one of its sweepers asks for."""

from __future__ import annotations

import argparse
import shutil
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.cli.configure import Given, given
from runner.foundation import memory
from runner.foundation.errors import Misconfigured, RunnerError
from runner.foundation.files import write_atomic
from runner.recording import directory
from runner.recording.console import Terminal

if TYPE_CHECKING:
    from runner.compose.multirun import Chosen


@dataclass(frozen=True)
class Planned:
    """What is known before a job is asked for: `folder`, if no earlier sweep goes before.

    plan   all of it, where the runner's own sweeper will ask for the jobs
    parts  what a `Session` is told of it
    """

    folder: Path
    plan: Any
    parts: dict[str, Any]


def run(
    options: argparse.Namespace, chosen: Chosen, words: list[str], folder: Path | None = None
) -> int:
    """Let sweeper and launcher do their work, print the table; return the exit code.

    `words` are the command's but for those about the two; `folder` is that of the sweep to go on
    with, else it is found by its name.
    """
    from runner.compose import multirun
    from runner.sweeps import dispatch, launch
    from runner.sweeps.session import Session

    if options.detach:
        raise Misconfigured("--detach: is about sweep.cluster, not about Hydra's plugins")
    asked, terminal = given(options), Terminal()
    planned = _planned(options, chosen, words, asked)
    if folder is None:
        folder = launch.fresh(planned.folder) if options.new else launch.newest(planned.folder)
    for warning in planned.plan.warnings if planned.plan else ():
        terminal.warn(warning)
    if options.dry_run:
        return _shown(planned, chosen, folder, terminal)
    dispatch.ready(planned.parts["sweep"], planned.parts["request"], recorded=folder is not None)
    found, figures = folder.exists(), planned.parts["sweep"].figures
    launch.make(folder, anew=options.new)
    with launch.alone(folder, terminal):
        session = Session(
            folder=folder, name=planned.folder.name, chosen=chosen, composing=asked.composing,
            terminal=terminal, **planned.parts,
        )  # fmt: skip
        typed = [word for word in words if not word.startswith("sweep.")]
        try:
            multirun.multirun(chosen, session, typed, asked.folders, folder)
        except Exception as error:
            ours = isinstance(error, RunnerError) or chosen.sweeper == multirun.OWN
            if ours and error not in session.errors:
                if not (found or session.jobs):
                    shutil.rmtree(folder)
                raise
            terminal.warn(_of_sweeper(error, chosen.sweeper, folder))
            return launch.finish(session.state, terminal, figures=figures) or 1
        return launch.finish(session.state, terminal, figures=figures)


def _of_sweeper(error: Exception, sweeper: str, folder: Path) -> str:
    """Say that a sweeper ended early, and keep the traceback of an error of its own."""
    if isinstance(error, RunnerError):
        return f"hydra/sweeper={sweeper} ended at a job that did not finish"
    path = folder / directory.ERROR
    write_atomic(path, "".join(traceback.format_exception(error)))
    return f"hydra/sweeper={sweeper} ended with {type(error).__name__}: {error}; see {path}"


@memory.loading()
def _planned(
    options: argparse.Namespace, chosen: Chosen, words: list[str], asked: Given
) -> Planned:
    """Plan, as far as that can be done; raises `Misconfigured` with every mistake."""
    from runner.cli.sweep import planned
    from runner.compose import Composer, multirun
    from runner.sweeps.session import OF_OUR_LAUNCHER, outline, refuse

    if chosen.sweeper == multirun.OWN:
        plan, request = planned(argparse.Namespace(**{**vars(options), "overrides": words}))
        request = replace(request, overrides=list(options.overrides))
        parts = {"sweep": plan.sweep, "request": request, "plan": plan.jobs}
        found = Planned(plan.folder, plan, parts)
    else:
        known = outline(words, Composer(**asked.composing), chosen.sweeper, asked.trust)
        request = asked.request(known.composition, options.overrides)
        parts = {"sweep": known.sweep, "request": request, "fixed": known.fixed}
        found = Planned(known.folder, None, parts)
    if chosen.launcher != multirun.OWN:
        refuse(parts["sweep"], OF_OUR_LAUNCHER, f"hydra/launcher={chosen.launcher}")
    return found


def _shown(planned: Planned, chosen: Chosen, folder: Path, terminal: Terminal) -> int:
    """Print the plan."""
    from runner.cli.sweep import described

    if planned.plan is None:
        raise Misconfigured(
            f"--dry-run: hydra/sweeper={chosen.sweeper} chooses its jobs while they run"
        )
    for line in described(planned.plan, folder, grouped=False):
        terminal.line(line)
    terminal.line(f"each is a run of its own, by hydra/launcher={chosen.launcher}")
    return 0
