"""Plan a sweep: its jobs, composed and checked, and what they and it are called."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runner import config
from runner.assemble.settings import Settings
from runner.compose import Composer, Composition, axes, beside, one_budget
from runner.foundation.errors import Misconfigured
from runner.sweeps.identity import directories, identity, sweep_name
from runner.sweeps.settings import Sweep, checked

NOTHING_SWEPT = (
    "-m: nothing is swept; give a key several values (optimizer.lr=0.1,0.01), seeds=5, or "
    "sweep.grids"
)


@dataclass(frozen=True)
class Job:
    """One configuration with one seed.

    id           what is computed, as a hash
    directory    its name in the sweep's directory
    overrides    the words that compose it by themselves
    swept        the values of swept keys that were given; a key of another grid is absent
    """

    id: str
    directory: str
    overrides: list[str]
    swept: dict[str, Any]
    composition: Composition
    settings: Settings


@dataclass(frozen=True)
class Plan:
    """A sweep before it runs.

    folder      of the sweep, unless an earlier one of that name goes before
    experiment  the experiment file of all jobs
    keys        that are swept, the seed last
    fixed       words that all jobs share
    """

    name: str
    folder: Path
    experiment: str | None
    keys: list[str]
    fixed: list[str]
    jobs: list[Job]
    sweep: Sweep
    composition: Composition  # of what is fixed
    warnings: list[str] = field(default_factory=list)

    def values(self) -> dict[str, list[Any]]:
        """Return the different values of each swept key, in the order of the jobs."""
        return {
            key: _different(job.swept[key] for job in self.jobs if key in job.swept)
            for key in self.keys
        }


def plan(typed: Sequence[str], composer: Composer, trust: Sequence[str] = ()) -> Plan:
    """Plan the sweep that these words ask for; raises `Misconfigured` with every mistake."""
    problems: list[str] = []
    words = axes.tell_apart(typed, composer, problems)
    shared, found = composer.compose([*words.fixed, *words.settings])
    problems += [each for each in found if each.startswith("sweep")]
    sweep = _section(shared, problems)
    grids = _grids(words, sweep, shared, composer, problems)
    keys = list(dict.fromkeys(key for grid in grids for key in grid.keys))
    keys.sort(key=lambda key: words.seeds is not None and key == "seed")  # the last
    if not keys and not problems:
        problems.append(NOTHING_SWEPT)
    limit = _limit(grids, sweep, problems)
    points = list(itertools.islice((point for grid in grids for point in grid.points()), limit))
    made = _Making(composer, trust, composer.compose(words.fixed)[0].sweep)
    jobs = [made.job(point) for point in points]
    if problems := [*dict.fromkeys([*problems, *made.problems()])]:
        raise Misconfigured(problems)
    assert sweep is not None, "a section without settings is a problem"
    named, warnings = _named([job for job in jobs if job is not None])
    return _placed(named, keys, words.fixed, sweep, shared, warnings)


def jobs_at(
    points: Sequence[axes.Point],
    composer: Composer,
    trust: Sequence[str],
    section: Mapping[str, Any],
) -> list[Job]:
    """Return a job for each point, the same one where they mean the same.

    `section` is their sweep's. Raises `Misconfigured` with every mistake.
    """
    made = _Making(composer, trust, section)
    jobs = [made.job(point) for point in points]
    if problems := [*made.problems()]:
        raise Misconfigured(problems)
    named = {job.id: job for job in _named([job for job in jobs if job is not None])[0]}
    return [named[job.id] for job in jobs if job is not None]


def _section(shared: Composition, problems: list[str]) -> Sweep | None:
    try:
        return checked(shared.sweep)
    except Misconfigured as error:
        problems += error.problems
        return None


def _grids(
    words: axes.Words,
    sweep: Sweep | None,
    shared: Composition,
    composer: Composer,
    problems: list[str],
) -> list[axes.Grid]:
    seed = shared.config.get("seed")
    if words.seeds is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        problems.append(f"seeds: the first of them, seed, is no whole number: {seed!r}")
    first = seed if isinstance(seed, int) else 0
    sets, zipped = (sweep.grids, sweep.zipped) if sweep else ([], [])
    return axes.grids(words, sets, zipped, first, composer, problems)


def _limit(grids: Sequence[axes.Grid], sweep: Sweep | None, problems: list[str]) -> int:
    """Return how many jobs are looked at: all, or the first one where there are too many."""
    count = sum(grid.size for grid in grids)
    if sweep is None or count <= sweep.max_jobs:
        return count if sweep else min(count, 1000)
    problems.append(
        f"{count:,} jobs, more than sweep.max_jobs={sweep.max_jobs}; if you mean it, raise it"
    )
    return 1


class _Making:
    """Make jobs, and collect what is wrong with which of them."""

    def __init__(self, composer: Composer, trust: Sequence[str], section: Mapping[str, Any]):
        self._composer, self._trust, self._section = composer, trust, section
        self._swept: list[dict[str, Any]] = []
        self._wrong: dict[str, list[int]] = {}  # problem -> the jobs that have it

    def job(self, point: axes.Point) -> Job | None:
        """Return a job, or None with its mistakes noted."""
        self._swept.append(point.swept)
        try:
            composition, found = self._composer.compose([*point.words, *one_budget(point.words)])
            if composition.sweep != self._section:
                found.append("experiment: the jobs' section sweep differs; sweep over them apart")
            settings = self._checked(composition, found)
        except Misconfigured as error:
            for problem in error.problems:
                self._wrong.setdefault(problem, []).append(len(self._swept) - 1)
            return None
        key = identity(composition.config, point.swept)
        return Job(key, "", point.words, point.swept, composition, settings)

    def _checked(self, composition: Composition, found: list[str]) -> Settings:
        try:
            settings: Settings = config.check(composition.config, Settings, trust=self._trust)
        except Misconfigured as error:
            raise Misconfigured(beside(found, error.problems)) from error
        if found:
            raise Misconfigured(found)
        return settings

    def problems(self) -> Iterator[str]:
        """Yield every mistake once, with what the jobs that have it share if others have not."""
        for problem, jobs in self._wrong.items():
            yield f"{problem}{self._where(problem, jobs)}"

    def _where(self, problem: str, jobs: Sequence[int]) -> str:
        if len(jobs) == len(self._swept):
            return ""
        first, *others = (self._swept[at] for at in jobs)
        shared = {
            key: value
            for key, value in first.items()
            if all(each.get(key, each) == value for each in others)
        }
        concerned = problem.partition(":")[0].partition("=")[0].partition("[")[0]
        if concerned in shared:
            return ""  # it says the value itself
        names = ", ".join(f"{key}={value}" for key, value in shared.items())
        count = f"in {len(jobs)} of {len(self._swept)} jobs"
        return f" ({count}: {names})" if names else f" ({count})"


def _different(values: Iterator[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _named(jobs: Sequence[Job]) -> tuple[list[Job], list[str]]:
    """Return the jobs, each but once, with the names of their directories, and warnings."""
    first = {job.id: job for job in reversed(jobs)}
    once = [job for job in jobs if first[job.id] is job]
    names = directories({job.id: job.swept for job in once})
    kept = [replace(job, directory=name) for job, name in zip(once, names, strict=True)]
    again = len(jobs) - len(kept)
    if not again:
        return kept, []
    counted = "1 job is" if again == 1 else f"{again} jobs are"
    return kept, [f"{counted} the same as another and run once: {len(kept)} of {len(jobs)} remain"]


def _placed(
    jobs: list[Job],
    keys: list[str],
    fixed: list[str],
    sweep: Sweep,
    shared: Composition,
    warnings: list[str],
) -> Plan:
    settings = jobs[0].settings
    own = [word for word in fixed if "seed" not in keys or not word.startswith("seed=")]
    if settings.name == "last":
        raise Misconfigured("name: 'last' means the newest run; choose another")
    name = settings.name or sweep_name(own, keys)
    experiment = None if "experiment" in keys else shared.experiment
    root = Path(settings.output_root).expanduser()
    folder = root / (experiment or "default").replace("/", "-") / name
    return Plan(name, folder, experiment, keys, own, jobs, sweep, shared, warnings)
