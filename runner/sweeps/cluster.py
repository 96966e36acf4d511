"""Batches sent to a cluster, as the coordinator sees them: a crew whose workers are its jobs.

A cluster's job is known by its id, kept in sweep.json beside the batch, so that a later command
finds it queued, at work or gone. What it says it says by files (`remote`).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from runner.foundation.files import read_json
from runner.sweeps.remote import CLUSTER, PROGRESS, write_task
from runner.sweeps.state import State
from runner.sweeps.worker import Fault, Work

LOOK, ASK = 1.0, 5.0  # seconds between two looks at files; two questions to the cluster
TAIL = 4000  # characters of a log


class Cluster(Protocol):
    """What takes jobs and runs them on machines of its own."""

    name: str
    outlives: bool  # whether its jobs go on when the command that sent them ends
    limit: int | None  # of jobs that are sent at once, where the cluster keeps none itself
    cpus: int  # of each job
    cut: frozenset[str]  # words for ends that are no job's own fault

    def submit(self, folders: Sequence[Path], sweep: str) -> list[str]:
        """Have the tasks in these folders done; return the ids of the jobs."""

    def ended(self, ids: Collection[str]) -> dict[str, str]:
        """Return which of these jobs neither wait nor run, each with the cluster's word for how it
        ended, "" if that is not known."""

    def cancel(self, ids: Collection[str]) -> None:
        """End jobs; they save."""

    def cancelling(self, ids: Collection[str]) -> str:
        """Return the command that does so."""

    def log(self, number: str) -> Path:
        """Return where what a job wrote to its standard error stands."""


class RemoteWorker:
    """A job of the cluster, to be or at work, and what was heard of it."""

    def __init__(self, crew: RemoteCrew):
        self.crew = crew
        self.task: Any = None
        self.number, self.folder = "", Path()
        self.heard: dict[str, Any] = {}  # the newest event of each of its jobs
        self.attempt, self.lines = 0, 0
        self.told = False  # to save and leave
        self.missed = 0  # times in a row that the cluster said it is no more

    def ask(self, task: tuple[Any, ...], about: Any) -> None:
        """Have it sent with the next news; `about` is what the coordinator knows of it."""
        self.task = about
        self.folder = self.crew.written(task)
        self.crew.waiting.append(self)


class RemoteCrew:
    """Send batches to a cluster and hear from them; they outlive the coordinator."""

    def __init__(self, work: Work, cluster: Cluster, state: State):
        """Keep the ids of the cluster's jobs in the sweep's state."""
        self.work, self.cluster, self.state = work, cluster, state
        self.workers: list[RemoteWorker] = []
        self.waiting: list[RemoteWorker] = []  # to be sent
        self.known: set[str] = set()  # jobs that this command sent or took over
        self._look = self._ask = 0.0

    def start(self) -> RemoteWorker:
        """Return one more worker, to be sent when it is asked something."""
        worker = RemoteWorker(self)
        self.workers.append(worker)
        return worker

    def idle(self) -> None:
        """Return no worker: each has one task."""

    def busy(self) -> list[RemoteWorker]:
        """Return the workers that have a task."""
        return [worker for worker in self.workers if worker.task is not None]

    def adopted(self, name: str, about: Any) -> bool:
        """Take over a batch that an earlier command sent, if the cluster still has it."""
        sent = self.state.batches[name].get("sent")
        if sent is None or sent["to"] != self.cluster.name or sent["as"] in self.known:
            return False
        told = read_json(self._folder(name) / PROGRESS)
        if told.get("state") == "over" or self.cluster.ended([sent["as"]]):
            return False
        self.known.add(sent["as"])
        worker = self.start()
        worker.task, worker.number, worker.folder = about, sent["as"], self._folder(name)
        return True

    def written(self, task: tuple[Any, ...]) -> Path:
        """Write a task down; return its folder."""
        members = self.work.members
        if task[0] == "way":
            _, jobs, _, most = task
            folder = self._folder(f"try-{jobs[0]}")
            write_task(folder, [members[key] for key in jobs], cpus=self.cluster.cpus, most=most)
        else:
            _, name, jobs, way = task
            folder = self._folder(name)
            write_task(folder, [members[key] for key in jobs], batch=name, way=way._asdict(),
                       save_minutes=self.work.save_minutes)  # fmt: skip
        return folder

    def _folder(self, name: str) -> Path:
        return self.state.folder.resolve() / CLUSTER / name

    def send(self) -> list[str]:
        """Submit what was asked since; return the ids."""
        if not self.waiting:
            return []
        folders = [worker.folder for worker in self.waiting]
        numbers = self.cluster.submit(folders, self.state.folder.name)
        self.known.update(numbers)
        for worker, number in zip(self.waiting, numbers, strict=True):
            worker.number = number
            if worker.task.batch:
                sent = {"to": self.cluster.name, "as": number}
                self.state.batches[worker.task.batch]["sent"] = sent
        self.state.head()
        self.state.save(now=True)
        self.waiting.clear()
        return numbers

    def news(self, seconds: float) -> Iterator[tuple[RemoteWorker, str, Any]]:
        """Yield (worker, kind, content) as a `Crew` does, and ("cut", Fault) of who was cut.

        Whoever has said its last word is a worker no more.
        """
        if numbers := self.send():
            yield self.workers[-1], "say", f"{self.cluster.name}   {jobs(numbers)}"
        time.sleep(seconds)
        now = time.monotonic()
        if now < self._look:
            return
        self._look = now + LOOK
        lost = self._lost() if now >= self._ask else {}
        for worker in self.busy():
            yield from self._heard(worker)
            if worker in self.workers and worker.number in lost:
                self.workers.remove(worker)
                yield self._end(worker, lost[worker.number])

    def _heard(self, worker: RemoteWorker) -> Iterator[tuple[RemoteWorker, str, Any]]:
        """Yield what a job's files say that was not heard before."""
        told = read_json(worker.folder / PROGRESS)
        if not told:
            return
        if told["attempt"] > worker.attempt:
            does = "begins" if told["attempt"] == 1 else "goes on"
            what = worker.task.batch or "trying"
            yield worker, "say", f"{worker.number}  {what} {does} on {told['host']}"
            worker.attempt = told["attempt"]
        for line in told["said"][worker.lines :]:
            yield worker, "say", line
        worker.lines = len(told["said"])
        for key, event in told["events"].items():
            if worker.heard.get(key) != event:
                worker.heard[key] = event
                yield worker, "event", event
        if told["state"] == "cut" and worker.told:
            self.workers.remove(worker)
            yield self._end(worker, "saved")
        elif told["state"] == "over":
            self.workers.remove(worker)
            fault = Fault(**told["fault"]) if told.get("fault") else None
            if fault is None and told.get("way"):
                yield worker, "way", self.work.engine.way(**told["way"])
            else:
                yield worker, "died" if told.get("died") else "over", fault

    def _lost(self) -> dict[str, str]:
        """Return the jobs that the cluster has no more, said twice: files may be on their way."""
        ended = self.cluster.ended([worker.number for worker in self.busy() if worker.number])
        self._ask = time.monotonic() + ASK
        for worker in self.workers:
            worker.missed = worker.missed + 1 if worker.number in ended else 0
        return {each.number: ended[each.number] for each in self.workers if each.missed > 1}

    def _end(self, worker: RemoteWorker, word: str) -> tuple[RemoteWorker, str, Any]:
        """Return the last word about a job that said none itself."""
        saved = read_json(worker.folder / PROGRESS).get("state") == "cut"
        if word in self.cluster.cut or saved:
            words = f"{worker.number} {word.lower() or 'ended'}"
            return worker, "cut", Fault(words, 1, "")
        log = self.cluster.log(worker.number)
        try:
            text = log.read_text(encoding="utf-8", errors="replace")[-TAIL:]
        except OSError:
            text = ""
        message = f"its job {worker.number} of {self.cluster.name} ended: {word or 'unknown how'}"
        return worker, "died", Fault(message, 1, f"{message}\n{log}:\n{text}")

    def leave(self) -> list[str]:
        """Let the batches go on without a coordinator, and end trials; return the batches' ids."""
        if trials := [each.number for each in self.busy() if each.number and not each.task.batch]:
            self.cluster.cancel(trials)
        left = [each.number for each in self.busy() if each.number and each.task.batch]
        self.workers.clear()
        return left

    def tell(self) -> None:
        """Let every job save and leave; the waiting ones leave the queue."""
        if numbers := [worker.number for worker in self.busy() if worker.number]:
            self.cluster.cancel(numbers)
        for worker in list(self.workers):
            worker.told = True

    def overdue(self) -> list[Any]:
        """Return nobody: the cluster kills who does not leave."""
        return []


def jobs(numbers: Sequence[str]) -> str:
    """Return `3 jobs sent: 12_0 12_1 12_2`, shortened."""
    shown = " ".join(numbers) if len(numbers) < 9 else f"{numbers[0]} ... {numbers[-1]}"
    return f"{len(numbers)} job{'' if len(numbers) == 1 else 's'} sent: {shown}"
