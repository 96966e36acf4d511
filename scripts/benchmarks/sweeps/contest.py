"""The contest: every contender sweeps the same grid, in turns, each a process from start to end.

A round lets each of them run once, in one order and then in the other; its ratio is its time over
that of the runner in the same round. Whoever is slow may run a part of the jobs: what the others
would take is estimated from the times at which its jobs ended, start-up counted once.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.rounds import Result
from benchmarks.sweeps import ours
from benchmarks.sweeps.grid import Grid
from benchmarks.whole import ROOT, spend

SCRIPTS = ROOT / "scripts"
LEAST = 4  # jobs of a part: the first ends after the start-up, the others tell what a job takes
OURS = "ours"


class Contender(NamedTuple):
    """Who sweeps a grid into a folder: the command, in words what it is.

    mark      the file that a job writes at its end
    workers   jobs at a time
    part      how many jobs it runs at most, if all of them take too long
    caching   whether there is something to find again in the next run
    """

    command: Callable[[Grid, Path], list[str]]
    text: str
    mark: str = "summary.json"
    workers: int = 1
    part: int | None = None
    caching: bool = False


def _by_hand(workers: int) -> Callable[[Grid, Path], list[str]]:
    def command(grid: Grid, output: Path) -> list[str]:
        words = ["--jobs", grid.jobs, "--epochs", grid.epochs, "--workers", workers]
        return [sys.executable, "-m", "benchmarks.sweeps", grid.workload, *map(str, words),
                "--output", str(output)]  # fmt: skip

    return command


def _template(grid: Grid, output: Path) -> list[str]:
    rates, seeds = ",".join(map(str, grid.rates)), ",".join(map(str, range(grid.seeds)))
    script = Path(__file__).resolve().parent / "template/train.py"
    return [sys.executable, str(script), "-m", f"model.optimizer.lr={rates}", f"seed={seeds}",
            f"trainer.max_epochs={grid.epochs}", f"hydra.sweep.dir={output}"]  # fmt: skip


_SCRIPT = (
    "data as tensors, index permutations, fused optimizer, validation each epoch; configuration, "
    "metrics, summary, best weights and an event file for each job"
)

CONTENDERS: dict[str, Contender] = {
    OURS: Contender(ours.command, "`runner -m`, everything by default", caching=True),
    "basic": Contender(
        ours.basic, "`runner -m hydra/launcher=basic`: our runs, one after the other", caching=True
    ),
    "tuned": Contender(_by_hand(1), f"tuned script by hand, one job after the other: {_SCRIPT}"),
    "joblib": Contender(
        _by_hand(2), "the same script, `joblib.Parallel(n_jobs=2)`, a thread each", workers=2
    ),
    "template": Contender(
        _template,
        "the stack of lightning-hydra-template: Hydra's basic launcher, a Lightning Trainer for "
        "each job, DataLoader, torchmetrics, CSV logger, best and last checkpoint, rich progress "
        "bar and summary",
        mark="metrics.csv",
        part=LEAST,
    ),
}


class Done(NamedTuple):
    """What a process took, when its jobs ended, and the way they were trained if it is ours."""

    seconds: float
    marks: list[float]
    way: ours.Way | None


@dataclass
class Contest:
    """What is swept by whom, and the results so far.

    cold  every run of ours has an empty cache; else it finds what one before it kept
    part  how many jobs others than ours run at most
    """

    grid: Grid
    names: Sequence[str]
    cold: bool
    part: int | None
    folder: Path
    results: dict[str, Result] = field(default_factory=dict)
    ways: list[ours.Way] = field(default_factory=list)  # of our measured runs

    def hold(self, rounds: int, say: Callable[[str], None]) -> None:
        """Try everyone on two short jobs, fill the cache unless it is to be cold, then measure."""
        self.results = {name: Result() for name in self.names}
        for name in self.names:
            self._tried(name, say)
            if self.results[OURS].missing:
                return
        for turn in range(rounds):
            there = [name for name in self.names if not self.results[name].missing]
            for name in there if turn % 2 else reversed(there):
                say(f"round {turn + 1} of {rounds}: {name}")
                self._measured(name)
            if self.results[OURS].missing:
                return
        for result in self.results.values():
            if not result.missing:
                base = self.results[OURS].seconds
                result.ratios = [a / b for a, b in zip(result.seconds, base, strict=True)]

    def _tried(self, name: str, say: Callable[[str], None]) -> None:
        """Find out whether a contender takes part, and let it keep what the next run may find."""
        say(f"trying {name}")
        try:
            self._run(name, self.grid._replace(jobs=2, epochs=1))
            if CONTENDERS[name].caching and not self.cold:
                say(f"filling the cache of {name}")
                self._run(name, self.grid_of(name))
        except RuntimeError as error:
            self.results[name] = Result(missing=reason(error))

    def _measured(self, name: str) -> None:
        grid, contender = self.grid_of(name), CONTENDERS[name]
        try:
            done = self._run(name, grid)
        except RuntimeError as error:
            self.results[name] = Result(missing=reason(error))
            return
        result, left = self.results[name], self.grid.jobs - grid.jobs
        more = left * apart(done.marks, contender.workers) if left else 0.0
        result.seconds.append(done.seconds + more)
        if done.way is not None:
            self.ways.append(done.way)
            result.chosen = "; ".join(dict.fromkeys(map(str, self.ways)))

    def grid_of(self, name: str) -> Grid:
        """Return what a contender sweeps, the whole or a part."""
        parts = [CONTENDERS[name].part, self.part if name != OURS else None]
        return self.grid._replace(jobs=min([self.grid.jobs, *filter(None, parts)]))

    def _run(self, name: str, grid: Grid) -> Done:
        """Let a contender sweep a grid; raises `RuntimeError` where it does not all of it."""
        contender = CONTENDERS[name]
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            output = Path(folder, "output")
            cache = Path(folder if self.cold else self.folder, "cache")
            spent = spend(contender.command(grid, output), environment(cache))
            marks = sorted(path.stat().st_mtime for path in output.rglob(contender.mark))
            if len(marks) != grid.jobs:
                raise RuntimeError(f"{len(marks)} of {grid.jobs} jobs left a {contender.mark}")
            return Done(spent.clock, marks, ours.way(output) if name == OURS else None)


def environment(cache: Path) -> dict[str, str]:
    """Return the variables of a contender's process, with the cache of ours in this folder."""
    paths = [str(ROOT), str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "PYTHONPATH": os.pathsep.join(paths),
        "RUNNER_CACHE": str(cache),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
    }


def apart(marks: Sequence[float], workers: int) -> float:
    """Return the seconds from the end of one job to that of the next, `workers` at a time."""
    return (marks[-1] - marks[workers - 1]) / (len(marks) - workers)


def reason(error: RuntimeError) -> str:
    """Return in one line why a contender did not come through."""
    text = str(error)
    if found := re.search(r"No module named '(\w+)", text):
        return f"{found[1]} is not installed"
    return next(line.strip() for line in reversed(text.split("\n")) if line.strip())
