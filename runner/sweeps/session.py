"""A sweep whose jobs come in batches: from a sweeper of Hydra's, which may go by how they ended."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from runner.assemble.settings import Settings
from runner.compose import Composer, Composition, axes
from runner.compose.multirun import Chosen
from runner.compose.words import SWEEP
from runner.config import check
from runner.execution.launch import Request
from runner.foundation import options
from runner.foundation.errors import Diverged, Interrupted, Misconfigured, RunnerError
from runner.foundation.files import read_json
from runner.recording import directory
from runner.recording.console import Terminal
from runner.reports.results import outcome
from runner.sweeps import batches, dispatch, launch
from runner.sweeps.identity import sweep_name
from runner.sweeps.plan import Job, jobs_at
from runner.sweeps.settings import Sweep, checked
from runner.sweeps.solo import Solo
from runner.sweeps.state import SETTLED, State, counted
from runner.training import checkpoints

Start = Callable[[Sequence[str], Solo], None]
OF_OUR_SWEEPER = ("grids", "zip")
OF_OUR_LAUNCHER = tuple(
    each.name for each in fields(Sweep) if each.name not in (*OF_OUR_SWEEPER, "max_jobs")
)


@dataclass(frozen=True)
class Outcome:
    """How a job ended: the objective's value, or an error."""

    words: list[str]
    config: Mapping[str, Any]
    folder: Path
    value: float | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class Outline:
    """What is known of a sweep whose jobs another sweeper will choose.

    folder       of the sweep, unless an earlier one of that name goes before
    fixed        keys of the words that all jobs share
    composition  of those words
    """

    folder: Path
    fixed: list[str]
    sweep: Sweep
    composition: Composition


def outline(
    typed: Sequence[str], composer: Composer, sweeper: str, trust: Sequence[str] = ()
) -> Outline:
    """Return what these words say of a sweep, all values of an axis left to the sweeper.

    Raises `Misconfigured` with the mistakes in what all jobs share.
    """
    problems: list[str] = []
    kept, settings, swept, fixed = [], [], [], []
    for word in typed:
        try:
            override = composer.read(word)
        except ValueError as error:
            problems.append(str(error))
            continue
        key = override.key_or_group
        if key == options.SEEDS:
            problems.append(f"seeds: an axis of the runner's own sweeper; hydra/sweeper={sweeper} "
                            "has none")  # fmt: skip
        elif key.split(".")[0] == SWEEP:
            settings.append(word)
        elif override.is_sweep_override():
            swept.append(key)
        else:
            kept.append(word)
            fixed.append(key)
    composition, found = composer.compose([*kept, *settings])
    problems += [*found, *_mistakes(composition.config, fixed, trust)]
    if problems:
        raise Misconfigured(problems)
    sweep = checked(composition.sweep)
    refuse(sweep, OF_OUR_SWEEPER, f"hydra/sweeper={sweeper}")
    config = composition.config
    name = config["name"] or sweep_name([*kept, f"hydra/sweeper={sweeper}"], swept)
    root = Path(config["output_root"]).expanduser()
    folder = root / (composition.experiment or "default").replace("/", "-") / name
    return Outline(folder, fixed, sweep, composition)


def _mistakes(config: Mapping[str, Any], keys: Sequence[str], trust: Sequence[str]) -> list[str]:
    """Return what is wrong with the values of these keys; others may be the sweeper's to give."""
    try:
        check(config, Settings, trust=trust)
    except Misconfigured as error:
        return [each for each in error.problems if re.split("[:=[]", each)[0] in keys]
    return []


def refuse(sweep: Sweep, keys: Sequence[str], other: str) -> None:
    """Raise `Misconfigured` where settings were made that mean nothing to another's code."""
    usual = checked(options.node(SWEEP, "default"))
    changed = [key for key in keys if getattr(sweep, key) != getattr(usual, key)]
    if changed:
        raise Misconfigured([f"sweep.{key}: means nothing to {other}" for key in changed])


@dataclass
class Session:
    """A sweep at work in its directory, which is this process's alone.

    plan   its jobs, where they are known before
    fixed  keys that no job's values are shown of, where not
    """

    folder: Path
    name: str
    chosen: Chosen
    sweep: Sweep
    request: Request
    composing: dict[str, Any]
    terminal: Terminal
    plan: list[Job] = field(default_factory=list)
    fixed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Read the state that the sweep is in."""
        self.composer = Composer(**self.composing)
        self.section = self.composer.compose([])[0].sweep
        self.known = {tuple(job.overrides): job for job in self.plan}
        self.jobs: dict[str, Job] = {}  # asked for so far
        self.errors: list[Exception] = []  # that jobs ended with
        self.state = State(self.folder)
        self.state.reconcile()
        head = {"objective": None, "direction": None, **self.state.content}
        self.state.head(**head | {"name": self.name, "overrides": self.request.overrides})

    def planned(self) -> list[list[str]]:
        """Return the words of the planned jobs."""
        return [job.overrides for job in self.plan]

    def train(self, asked: Sequence[Sequence[str]], start: Start | None = None) -> list[Outcome]:
        """Train a batch of jobs, each given by its words; return how they ended, in order.

        They train as in any sweep, or as runs of their own by whom `start` asks to start them.
        Raises `Misconfigured` with what is wrong with them, `Interrupted` with everything saved.
        """
        jobs = self._jobs(asked)
        begins = not self.jobs
        self._merge(jobs)
        if begins:
            launch.record(self.state, self.request, self.terminal)
        if start is not None:
            self._let(start, list(dict.fromkeys(job.id for job in jobs)))
        else:
            every = list(self.jobs.values())
            again = {job.id for job in jobs}
            launch.train(self.state, every, self.sweep, self.request, self.terminal, again=again)
        outcomes = [self._outcome(job) for job in jobs]
        if self.sweep.on_failure == "stop" and self.state.counts()["failed"]:
            raise next(each.error for each in outcomes if each.error is not None)
        return outcomes

    def _jobs(self, asked: Sequence[Sequence[str]]) -> list[Job]:
        unknown = [words for words in asked if tuple(words) not in self.known]
        points = [axes.Point(list(words), self._swept(words)) for words in unknown]
        made = jobs_at(points, self.composer, self.request.trust, self.section)
        self.known |= {tuple(words): job for words, job in zip(unknown, made, strict=True)}
        return [self.known[tuple(words)] for words in asked]

    def _swept(self, words: Sequence[str]) -> dict[str, Any]:
        parsed = [self.composer.read(word) for word in words]
        return {each.key_or_group: each.value() for each in parsed
                if each.key_or_group not in self.fixed}  # fmt: skip

    def _merge(self, jobs: Sequence[Job]) -> None:
        """Add jobs to those asked for."""
        every = {job.id: job for job in jobs} | self.jobs
        if (most := self.sweep.max_jobs) < len(every):
            raise Misconfigured(f"more jobs than sweep.max_jobs={most}; if you mean it, raise it")
        self.jobs = self.jobs | every
        swept = dict.fromkeys(key for job in self.jobs.values() for key in job.swept)
        self.state.merge(self.jobs.values())
        self.state.head(swept=sorted(swept, key=lambda key: key == "seed"))  # the seed last

    def _let(self, start: Start, keys: Sequence[str]) -> None:
        """Let another start the jobs that are missing."""
        dispatch.refuse_elsewhere(self.state, self.sweep)
        state, todo = self.state, []
        lanes = any(batches.trained(state, key) == batches.TRAINED[True] for key in self.jobs)
        for key in keys:
            if state.jobs[key]["state"] not in SETTLED:
                self._clear(key)
                attempts = state.jobs[key]["attempts"] + 1
                state.change(key, batch=None, ended=None, message=None, attempts=attempts)
                todo.append(state.jobs[key]["directory"])
        state.save(now=True)
        if todo and lanes:
            self.terminal.warn(
                f"not bit-exact: trained as lanes -> alone, {len(todo)} of "
                f"{len(self.jobs)} jobs (hydra/launcher={self.chosen.launcher})"
            )
        task = Solo(self.folder.resolve(), self.composing, self.request.trust,
                    self.request.config_dirs, Path.cwd())  # fmt: skip
        signal = 0
        try:
            if todo:
                start(todo, task)
        except Interrupted as error:
            signal = error.exit_code - 128
        except Exception as error:
            self.terminal.warn(f"hydra/launcher={self.chosen.launcher} ended early: "
                               f"{type(error).__name__}: {error}")  # fmt: skip
        state.reconcile()
        state.save(now=True)
        if signal:
            way = f"continue with: runner resume {self.folder}"
            raise Interrupted(signal, f"{counted(state.counts())}; {way}")

    def _clear(self, key: str) -> None:
        """Take away what is left of a job, unless it was a run of its own and can go on."""
        folder = self.state.folder_of(key)
        cut = self.state.jobs[key]["state"] == "interrupted"
        own = "batch" not in directory.status(folder)
        if not (cut and own and checkpoints.listed(folder / directory.CHECKPOINTS)):
            shutil.rmtree(folder, ignore_errors=True)
            self.state.change(key, state="pending", started=None, value=None)

    def _outcome(self, job: Job) -> Outcome:
        entry, folder = self.state.jobs[job.id], self.state.folder_of(job.id)
        ended = Outcome(list(job.overrides), job.composition.config, folder)
        error = None
        if entry["state"] == "finished":
            value = outcome(read_json(folder / directory.SUMMARY))["value"]
            if value is not None:
                return replace(ended, value=value)
            error = RunnerError(f"{folder}: its objective has no value")
        elif entry["state"] == "diverged":
            error = Diverged(f"{folder}: {entry['message']}")
        elif entry["state"] == "failed":
            error = RunnerError(f"{folder}: {entry['message']}")
        self.errors.append(error or RunnerError(f"{folder}: {entry['state']}, not trained"))
        return replace(ended, error=self.errors[-1])
