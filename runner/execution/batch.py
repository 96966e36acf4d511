"""A batch of a sweep's jobs, trained in this process: as lanes of one program, or one by one."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from runner.assemble.fingerprint import differences, fingerprint
from runner.assemble.lanes import Together, alike, refusal, structure, together
from runner.assemble.run import Run, assemble
from runner.assemble.settings import Settings
from runner.assemble.speed import begin
from runner.assemble.ways import Way, remember_compiled
from runner.execution.execute import CHECKPOINT_PARTS, Part, describe, execute
from runner.execution.jobs import Listening, Member, Record, Report, is_done
from runner.execution.lanes import PARTS, Batch, Lane
from runner.execution.probing import Probing
from runner.foundation import remembered
from runner.foundation.errors import Interrupted, RunnerError, no_exit
from runner.foundation.files import read_json, write_json
from runner.recording import directory
from runner.recording.recorder import Recorder
from runner.training import checkpoints
from runner.training.lanes import Step
from runner.training.loop import Row
from runner.training.ready import Compiled, Traced, preserved

WAYS = {"plain": False, "traced": "trace", "compiled": True}
KEPT, KEPT_OF_ENDED = ("logs", "seconds"), ("step", "failure", "diverged")  # in a checkpoint
COMPILE: dict[str, Any] = {"trace": "trace", "true": True, "false": False}


class Unstackable(Exception):
    """A batch cannot be trained as lanes; the text says why."""


def perform(
    members: Sequence[Member], folder: Path, way: Way, report: Report, save_minutes: float
) -> None:
    """Train a batch to its end, going on from a checkpoint in `folder` if there is one.

    `report` is told now and then how far each job is, and once how it ended. A fault of one job
    does not end the others. Raises `Interrupted` when a signal came, all saved and told.
    """
    folder.mkdir(parents=True, exist_ok=True)
    batch = _Batch(folder, way, Record(folder, report), 60 * save_minutes)
    left = [each for each in members if not is_done(each, folder)]
    try:
        if way.lanes > 1:
            batch.as_lanes(left)
        else:
            for each in left:
                batch.alone(each)
    except Interrupted as error:
        for each in left:
            batch.record.ended(each, error, step=batch.step)
        raise


@dataclass
class _Batch:
    """Jobs that one process trains, and whom to tell."""

    folder: Path
    way: Way
    record: Record
    every: float  # seconds between two saves
    step: int | None = None  # of lanes that were interrupted
    fallen: tuple[Any, str] | None = None  # how the step is run where it cannot be as pinned

    def as_lanes(self, members: Sequence[Member]) -> None:
        """Train jobs together; each alone where their step cannot be stacked."""
        held: list[Member | None] = list(members)
        content = None
        if checkpoints.listed(self.folder):
            by_id = {each.id: each for each in members}
            lacking = functools.partial(_lacking, by_id.keys())
            content = checkpoints.load(self.folder, warnings.warn, PARTS, unfit=lacking)
            held = [by_id.get(key) for key in content["members"]]
            for key in content["results"].keys() & by_id.keys():  # ended, and killed before told
                self.record.recall(by_id[key], content["results"][key])
        if not any(held):
            return
        try:
            with no_exit():
                stack, make = self._stacked(held)
        except Unstackable as reason:
            for each in filter(None, held):
                self.alone(each, str(reason))
            return
        except Exception as error:  # what assembles may be the user's own code
            if sound := self._sound(list(filter(None, held)), error):
                self.as_lanes(sound)
            return
        with contextlib.ExitStack() as opened:
            self._train(stack, make, held, content, opened)

    def _sound(self, members: Sequence[Member], error: Exception) -> list[Member]:
        """Return the jobs that can be assembled; those with which it failed have ended."""
        sound: list[Member] = []
        for each in members:
            try:
                with no_exit():
                    _assembled(replace(each.settings, threads=self.way.threads))
            except Exception as own:
                self.record.ended(each, own)
            else:
                sound.append(each)
        if len(sound) < len(members):
            return sound
        for each in members:  # one could not stand beside the others
            self.record.ended(each, error)
        return []

    def _train(
        self,
        stack: Together,
        make: Callable[[], Step],
        held: Sequence[Member | None],
        content: dict[str, Any] | None,
        opened: contextlib.ExitStack,
    ) -> None:
        lanes = [
            self._begun(each, run, content, opened) if each else None
            for each, run in zip(held, stack.runs, strict=False)
        ]
        own = next(lane.run for lane in lanes if lane is not None)
        self._compare(self.folder, fingerprint(own, lanes=True), filter(None, held),
                      content is not None)  # fmt: skip
        batch = Batch(stack, [*lanes, *[None] * (len(stack.runs) - len(lanes))],
                      self.folder, self.every)  # fmt: skip
        if content is not None:
            batch.unpack(content)
        by_id = {each.id: each for each in held if each}

        def ended(lane: Lane, result: dict[str, Any] | RunnerError) -> None:
            self.record.ended(by_id[lane.id], result, batch.results[lane.id]["step"])

        def told(lane: Lane, step: int, row: Row) -> None:
            self.record.told(by_id[lane.id], step, batch.total, row)

        try:
            batch.train(make, ended, told)
        finally:
            self.step = batch.stack.step

    def _stacked(self, held: Sequence[Member | None]) -> tuple[Together, Callable[[], Step]]:
        """Assemble lanes and what makes their step, tried once; raises `Unstackable`."""
        lead = next(each for each in held if each is not None)
        settings = [replace((each or lead).settings, threads=self.way.threads) for each in held]
        compiling = self.way.compile == "true"
        stack = together(settings, self.way.lanes if compiling else None)

        def make() -> Step:
            ready: Traced = (
                Compiled(stack.lanes, remembered.kernels()) if compiling else Traced(stack.lanes)
            )
            step = stack.step(ready, whole=compiling)
            still = torch.zeros(stack.lanes.count, dtype=torch.float64, device=stack.first.device)
            done, seen = stack.lanes.step, stack.lanes.seen
            try:
                with preserved(stack.lanes):
                    step(*stack.batches()(done), still, False)
            except RunnerError:
                raise
            except Exception as error:  # whatever torch says of a kernel that it cannot stack
                raise Unstackable(str(error).partition("\n")[0]) from error
            stack.lanes.step, stack.lanes.seen = done, seen
            if ready.refusal:
                self.fallen = False, f"the step cannot be recorded: {ready.refusal}"
            elif isinstance(ready, Compiled) and ready.failure:
                self.fallen = "trace", ready.failure
            elif compiling:
                remember_compiled(lead.settings, self.way.threads, self.way.lanes)
            return step

        first = make()
        ready = [first]
        return stack, lambda: ready.pop() if ready else make()

    def _begun(
        self, member: Member, run: Run, content: dict[str, Any] | None, opened: ExitStack
    ) -> Lane:
        """Open the record of a job that is a lane."""
        settings = run.settings
        how, why = self.fallen or (COMPILE[self.way.compile], self.way.reason)
        run.decided = {**run.decided, **self._decided(how, why)}
        run.settings = member.settings
        logs = content["jobs"][member.id]["logs"] if content else None
        self.record.open(member, run, afresh=content is None)
        run.settings = settings
        terminal = Listening(self.record, member, run.clock.total, rows=False)
        recorder = Recorder(member.folder, terminal, settings.tensorboard, logs, member.swept)
        opened.callback(recorder.close)
        if content is None:
            describe(run, recorder)
        else:
            recorder.stopwatch.before = content["jobs"][member.id]["seconds"]
        probing = Probing(run, recorder)
        return Lane(member.id, run, recorder, run.schedule.init(), run.stopping.init(), probing)

    def alone(self, member: Member, reason: str = "") -> None:
        """Train one job as a run of its own."""
        try:
            with no_exit():
                self.record.ended(member, self._alone(member, reason))
        except Exception as error:
            self.record.ended(member, error)

    def _alone(self, member: Member, reason: str) -> dict[str, Any]:
        saves = self.folder / member.id
        saves.mkdir(parents=True, exist_ok=True)
        packed = None
        if checkpoints.listed(saves):
            packed = checkpoints.load(saves, warnings.warn, CHECKPOINT_PARTS)
        mode = COMPILE[self.way.compile]
        run = _assembled(replace(member.settings, threads=self.way.threads, compile=mode))
        begin(run, lambda text: None)
        assert run.begun is not None
        why = f"alone: {reason}" if reason else self.way.reason
        run.decided = {**run.decided, **self._decided(WAYS[run.begun.way], why)}
        run.settings = member.settings
        self.record.open(member, run, afresh=packed is None)
        began = packed is not None or bool(checkpoints.listed(self.folder))  # alone, or as a lane
        self._compare(saves, fingerprint(run), [member], began, reason)
        terminal = Listening(self.record, member, run.clock.total, rows=True)
        part = Part(member.swept, saves, self.every)
        return execute(run, member.folder, terminal, packed, part)

    def _compare(
        self,
        saves: Path,
        now: dict[str, Any],
        members: Iterable[Member],
        began: bool,
        why: str = "",
    ) -> None:
        """Say where jobs that began do not go on bit for bit, by the fingerprint of now."""
        own, common = (each / directory.FINGERPRINT for each in (saves, self.folder))
        then = read_json(own) or read_json(common)
        if began and (lines := differences(then, now)):
            self.record.inexact(members, [f"{line}{why and f' ({why})'}" for line in lines])
        if then != now:
            write_json(own, now, sync=False)

    def _decided(self, how: Any, why: str) -> dict[str, tuple[Any, str]]:
        """Return what the way made of threads and of how steps are run."""
        return {"threads": (self.way.threads, self.way.reason), "compile": (how, why)}


def _lacking(members: Collection[str], content: dict[str, Any]) -> str:
    """Say what a checkpoint has not of these jobs although they are in it, or nothing."""
    held = {key: content["jobs"].get(key, {}) for key in content["members"] if key in members}
    over = {key: each for key, each in content["results"].items() if key in members}
    absent = [
        f"{name} of {key}"
        for jobs, names in ((held, KEPT), (over, KEPT_OF_ENDED))
        for key, job in jobs.items()
        for name in names
        if name not in job
    ]
    return f"{', '.join(absent)} absent" if absent else ""


@functools.lru_cache(maxsize=1)
def _lender(shared: str) -> list[Run]:
    """Return where the first run of a structure is kept, to lend others its data."""
    return []


def _assembled(settings: Settings) -> Run:
    """Assemble a run, on the data of the one before if it may stand beside that."""
    if not refusal(settings):
        kept = _lender(structure(settings))
        if not kept:
            kept.append(assemble(settings))
        return alike(kept[0], settings)
    return assemble(settings)
