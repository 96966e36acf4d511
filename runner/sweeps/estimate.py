"""Estimate what a sweep takes: of each group a batch begins to train, for a moment, in processes
and scratch directories of its own. No number is without that measurement.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.execution.launch import Request
from runner.foundation.durations import ENDLESS
from runner.foundation.errors import RunnerError
from runner.sweeps import batches

if TYPE_CHECKING:
    from runner.assemble.run import Run
    from runner.assemble.ways import Way
    from runner.sweeps.plan import Job
    from runner.sweeps.settings import Sweep

PATIENCE = 60.0  # seconds of one trial
ALTOGETHER = 20.0  # seconds of trials after which no further group is tried
MOMENT = 1.4  # seconds of training that tell how it goes on
SOON = 5.0  # seconds in which the first row must come, lest single steps are timed


class Measured(NamedTuple):
    """What a trial took: seconds of a process before it trains, and of a batch; bytes at most."""

    before: float
    batch: float
    memory: int
    on_device: int


class Estimate(NamedTuple):
    """What a group takes: seconds of all its batches in turn, of the longest, and in words."""

    seconds: float
    longest: float
    text: str


class Enough(BaseException):
    """The trial has trained for long enough."""


def estimates(groups: Sequence[Sequence[Job]], sweep: Sweep) -> Iterator[str]:
    """Yield a line for the jobs of each group that are left to do; of several, one for all."""
    from runner.sweeps.launch import rules_of

    left = [job.settings for jobs in groups for job in jobs]
    if not left:
        yield from ["nothing is left to do"] * len(groups)
        return
    if sweep.cluster:
        yield from ["no estimate: the machines of a cluster are not this one"] * len(groups)
        return
    method, rules = rules_of(left, sweep)
    found: list[Estimate] = []
    end = time.monotonic() + ALTOGETHER
    for jobs in groups:
        if not jobs:
            yield "nothing is left to do"
        elif time.monotonic() > end:
            yield f"no estimate: trying the groups before took {ALTOGETHER:.0f} s"
        else:
            text = _estimate(jobs, rules.processes, rules.lanes, method)
            if isinstance(text, Estimate):
                found.append(text)
                text = text.text
            yield text
    if found and sum(map(bool, groups)) > 1:
        missing = sum(map(bool, groups)) - len(found)
        more = f" without {missing} group{'' if missing == 1 else 's'}" * bool(missing)
        total = _elapsed(sum(each.seconds for each in found), max(each.longest for each in found),
                         rules.processes)  # fmt: skip
        yield f"total   estimate: about {lasting(total)}{more}"


def _estimate(jobs: Sequence[Job], processes: int, most: int | None, method: str) -> Estimate | str:
    """Return what the jobs of a group will take, or why that is not known.

    `method` starts the processes of the trial: fork or spawn.
    """
    from runner.assemble.ways import known

    way = known([job.settings for job in jobs], processes, most)
    (sizes,) = batches.cut([(len(jobs), way.lanes if way else 1)], processes)
    used = min(processes, len(sizes))
    measured = _apart(method, used, jobs[: max(*sizes, 2)], processes, way)
    if isinstance(measured, str):
        return measured
    seconds = measured.before * used + measured.batch * len(sizes)
    longest = measured.before + measured.batch
    memory = f"{measured.memory / 1e6:,.0f} MB"
    if measured.on_device:
        memory += f" and {measured.on_device / 1e6:,.0f} MB on the GPU"
    tried = f"{max(sizes)} lanes" if max(sizes) > 1 else f"{jobs[0].directory} alone"
    more = "; it will try whether lanes are faster" if way is None else ""
    about = f"{'at most ' if way is None else ''}about {lasting(_elapsed(seconds, longest, used))}"
    whom = "1 process" if used == 1 else f"{used} processes"
    text = f"estimate: {about} with {whom} of up to {memory} (tried: {tried}{more})"
    return Estimate(seconds, longest, text)


def _elapsed(seconds: float, longest: float, processes: int) -> float:
    """Return how long processes side by side take for batches of so many seconds together."""
    return max(seconds / processes, longest)


def lasting(seconds: float) -> str:
    """Return a length of time as people say it: 40 s, 3 min 20 s, 2 h 5 min, 3 days."""
    if seconds < 59.5:
        return f"{max(round(seconds), 1)} s"
    if seconds < 600:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{round(hours / 24)} days"


# The trial


def _apart(
    method: str, used: int, jobs: Sequence[Job], processes: int, way: Way | None
) -> Measured | str:
    """Try a batch in so many processes at once, which slow each other down as they will later.

    Return the slowest, or in a line why that came to nothing.
    """
    context: Any = multiprocessing.get_context(method)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        started = []
        for at in range(used):
            ours, theirs = context.Pipe(duplex=False)
            arguments = theirs, list(jobs), processes, way, Path(scratch) / str(at)
            process = context.Process(target=_told, args=arguments, daemon=True)
            process.start()
            theirs.close()
            started.append((process, ours))
        end = time.monotonic() + PATIENCE
        try:
            found = [_heard(link, end - time.monotonic()) for _, link in started]
        finally:
            for process, link in started:
                process.kill()
                process.join()
                link.close()
    measured = [each for each in found if isinstance(each, Measured)]
    if len(measured) < used:
        return next(each for each in found if isinstance(each, str))
    return max(measured, key=lambda each: each.batch)


def _heard(link: Connection, seconds: float) -> Measured | str:
    try:
        if not link.poll(max(seconds, 0.0)):
            return f"no estimate: a trial took more than {PATIENCE:.0f} s"
        found: Measured | str = link.recv()
        return found
    except EOFError:
        return "no estimate: the process of the trial died; out of memory?"


def _told(
    link: Connection, jobs: Sequence[Job], processes: int, way: Way | None, scratch: Path
) -> None:
    """Send what a trial measured, or how it failed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are said when it runs
        try:
            link.send(_tried(jobs, processes, way, scratch))
        except RunnerError as error:
            link.send(f"no estimate, it would fail: {error}")
        except Exception as error:  # whatever torch says
            link.send(f"no estimate: {str(error).partition(chr(10))[0] or type(error).__name__}")


def _tried(jobs: Sequence[Job], processes: int, way: Way | None, scratch: Path) -> Measured:
    """Train a batch for a moment, or time a step where the first row would come late."""
    import torch

    from runner.assemble.run import assemble
    from runner.assemble.speed import make_ready, seconds_of
    from runner.assemble.ways import Way, threads_of
    from runner.execution.hooks import periods

    first = jobs[0].settings
    way = way or Way(1, "false" if first.compile is False else "trace",
                     threads_of(first, processes), "")  # fmt: skip
    began = time.perf_counter()
    run = assemble(replace(first, threads=way.threads))
    before = time.perf_counter() - began
    step = seconds_of(make_ready(run, run.state(), way.compile != "false" and "trace").take)
    row = min(*periods(run), run.clock.total)
    if way.lanes == 1 and step * row > SOON:
        seconds = run.clock.total * step + _evaluations(run) * _evaluation(run)
    else:
        seconds = _trained(jobs, way, scratch, before)
    if (minutes := first.trainer.minutes) is not None:
        seconds = min(seconds, 60 * minutes)
    memory = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    on_device = torch.cuda.max_memory_allocated() if run.device.type == "cuda" else 0
    return Measured(before, seconds, memory, on_device)


def _evaluations(run: Run) -> int:
    every = run.clock.steps(run.settings.trainer.evaluate_every)
    return run.clock.total // every if run.clock.total < ENDLESS else 0


def _evaluation(run: Run) -> float:
    began = time.perf_counter()
    run.evaluate("valid" if len(run.data.splits["valid"]) else "train")
    return time.perf_counter() - began


def _trained(jobs: Sequence[Job], way: Way, scratch: Path, before: float) -> float:
    """Begin to train a batch; return how many seconds it would take, less those `before`.

    Of jobs that train alone there are two: the second finds the data read.
    """
    from runner.execution.batch import perform
    from runner.execution.jobs import Member

    members = [
        Member(job.id, job.settings, Request(config=job.composition.record,
               choices=job.composition.choices, overrides=list(job.overrides)),
               scratch / job.directory, job.swept)
        for job in jobs
    ]  # fmt: skip
    seen = _Seen()
    began = time.perf_counter()
    try:
        perform(members, scratch / "batch", way, seen.report, PATIENCE)
    except Enough:
        (first, at, total), *_, (before_last, _, _), (end, done, _) = seen.rows
        # A job alone tells of the oldest of the rows that came since it told last.
        pace = ((before_last if way.lanes == 1 else end) - first) / (done - at)
        return max(first - began - before - at * pace, 0.0) + total * pace
    if way.lanes == 1 and len(jobs) > 1:
        return seen.ends[1] - seen.ends[0]
    return max(seen.ends[-1] - began - before, 0.0)


class _Seen:
    """When a batch told what; raises `Enough` once that says how it goes on."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, int, int]] = []  # when, steps done, of how many
        self.ends: list[float] = []
        self.enough = False

    def report(self, event: Mapping[str, Any]) -> None:
        """Note an event of the batch."""
        now = time.perf_counter()
        if "warning" in event:  # the sweep itself will say it
            return
        if self.enough:  # logs that are closed tell of their last rows
            return
        if event["state"] == "failed":
            raise RunnerError(event["message"])
        if event["state"] != "running":
            self.ends.append(now)
        elif not self.ends and (not self.rows or event["step"] > self.rows[-1][1]):
            self.rows.append((now, event["step"], event["total"]))
            if len(self.rows) > 2 and now - self.rows[0][0] > MOMENT:
                self.enough = True
                raise Enough
