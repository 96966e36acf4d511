"""A job of a sweep as a run of its own, started by one of Hydra's launchers wherever that does."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.foundation.errors import InUse, Misconfigured, no_exit
from runner.foundation.files import read_json
from runner.recording import directory
from runner.recording.console import Terminal, number
from runner.reports.results import outcome

if TYPE_CHECKING:
    from runner.compose import Composition


@dataclass(frozen=True)
class Solo:
    """Train the job that a configuration names; crosses to other processes and machines.

    folder       of the sweep, whose sweep.json has the jobs' words
    composing    what a `Composer` takes
    trust        packages of the user's own
    config_dirs  folders of options, for the record
    here         the folder the command was given in
    """

    folder: Path
    composing: dict[str, Any]
    trust: list[str]
    config_dirs: list[str]
    here: Path

    def __call__(self, config: Any) -> float | None:
        """Train `config.job` from its start or its checkpoint; return its objective's value."""
        from rich.console import Console

        from runner.execution.launch import note
        from runner.training.signals import raising

        folder = self.folder / str(config.job)
        with raising(), contextlib.chdir(self.here), open(os.devnull, "w") as nowhere:
            try:
                with no_exit():
                    self._train(folder, Terminal(Console(file=nowhere)))
            except InUse:  # whoever is at work there says how it ends
                raise
            except BaseException as error:
                note(error, folder)
                raise
            finally:
                Terminal().line(_ended(folder))
        return outcome(read_json(folder / directory.SUMMARY))["value"]

    def _train(self, folder: Path, terminal: Terminal) -> None:
        from runner import config
        from runner.assemble.settings import Settings
        from runner.assemble.speed import settled
        from runner.execution.launch import Request, announce, named, resume, start
        from runner.training import checkpoints

        if self.trust and str(self.here) not in sys.path:
            sys.path.append(str(self.here))
        words, composition = self._composed(folder.name)
        settings = config.check(composition.config, Settings, trust=self.trust)
        if checkpoints.listed(folder / directory.CHECKPOINTS):
            resume(settings, folder, terminal)
            return
        request = Request(composition.record, composition.choices, words, self.trust,
                          self.config_dirs)  # fmt: skip
        run = settled(settings, terminal.line)
        announce(run, named(request.choices, words), terminal)
        start(run, request, folder, terminal)

    def _composed(self, name: str) -> tuple[list[str], Composition]:
        """Return the words of the job in this directory, and what they compose."""
        from runner.compose import Composer, one_budget

        jobs = read_json(self.folder / directory.SWEEP)["jobs"].values()
        words = next(list(job["overrides"]) for job in jobs if job["directory"] == name)
        composition, problems = Composer(**self.composing).compose([*words, *one_budget(words)])
        if problems:
            raise Misconfigured(problems)
        return words, composition


def _ended(folder: Path) -> str:
    """Say in a line how a job ended."""
    status, summary = directory.status(folder), read_json(folder / directory.SUMMARY)
    state = status.get("state", "unknown")
    if state != "finished":
        why = str(status.get("message") or "").partition("\n")[0]
        where = f"; see {folder / directory.ERROR}" if state == "failed" else ""
        return f"{state:<8}  {folder.name}: {why}{where}"
    found = outcome(summary)
    value = f"  {found['objective']} {number(found['value'])}"
    return f"{state:<8}  {folder.name}{value}  {summary.get('seconds') or 0:.1f} s"
