"""The foreman: hands batches to workers, notes what they say, tries again, stops.

It never computes with torch itself, so that its workers can be forked from it at any time.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.foundation.files import write_atomic
from runner.recording import directory
from runner.sweeps import batches
from runner.sweeps.crew import GRACE, Crew, Worker
from runner.sweeps.state import FINAL, State
from runner.sweeps.view import View
from runner.sweeps.worker import Fault, Work
from runner.training.signals import Waiting

if TYPE_CHECKING:
    from runner.assemble.settings import Settings
    from runner.sweeps.cluster import RemoteCrew, RemoteWorker

LISTEN = 0.2  # seconds to wait for news


@dataclass(frozen=True)
class Rules:
    """How a sweep is run, as far as the coordinator goes."""

    processes: int  # at most
    automatic: bool  # fewer where a process takes several threads
    processors: int
    lanes: int | None  # at most; None: as many as are found best
    retries: int
    stop_on_failure: bool


class Task(NamedTuple):
    """What a worker is doing: training these jobs, or ("" for a batch) answering about them."""

    batch: str
    jobs: tuple[str, ...]


class Foreman:
    """Train the batches in a queue."""

    def __init__(
        self,
        state: State,
        settings: Mapping[str, Settings],
        work: Work,
        rules: Rules,
        crew: Crew | RemoteCrew,
        view: View,
        waiting: Waiting,
    ):
        """Take the settings of every asked job by id: groups are made of all."""
        self.settings = settings
        self.state, self.work, self.rules, self.crew = state, work, rules, crew
        self.view, self.waiting = view, waiting
        self.queue: deque[str] = deque()
        self.tries: Counter[str] = Counter()  # in this command
        self.processes = rules.processes
        self.stopping = ""  # why no more is begun
        self.warned: set[str] = set()
        self.own: set[str] = set()  # jobs that were cut as runs of their own, and begin anew
        self._answer: Any = None  # of a worker that was asked something
        self._fault: Fault | None = None  # or why it has none
        self._died = False  # of what it was asked

    # Training

    def _hand_out(self) -> None:
        """Give batches to workers without one; start workers up to the number of processes."""
        while self.queue and not self.stopping:
            worker: Worker | RemoteWorker | None = self.crew.idle()
            if worker is None and len(self.crew.workers) < self.processes:
                worker = self.crew.start()
            if worker is None:
                return
            self._give(worker, self.queue.popleft())

    def _give(self, worker: Worker | RemoteWorker, name: str) -> None:
        jobs = batches.members(self.state, name)
        now = time.time()
        live = [key for key in jobs if self.state.jobs[key]["state"] not in FINAL]
        for key in live:
            self.tries[key] += 1
            attempts = self.state.jobs[key]["attempts"] + 1
            self.state.change(key, state="running", started=now, ended=None, attempts=attempts)
        way = self.work.engine.way(**self.state.batches[name]["way"])
        self.state.save(now=True)
        worker.ask(("batch", name, jobs, way), Task(name, tuple(live)))

    def _asked(self, what: str, jobs: Collection[str], *more: Any) -> Any:
        """Return what a worker answers; None if it could not, `_fault` says why, or was cut."""
        self._answer, self._fault, self._died = None, None, False
        worker = self.crew.idle() or self.crew.start()
        worker.ask((what, jobs, *more), Task("", tuple(jobs)))
        while worker.task is not None and not self._ended():
            self._listen()
        return self._answer

    def _listen(self) -> None:
        """Take the news of the workers, show them, write them down."""
        for worker, kind, content in self.crew.news(LISTEN):
            if kind == "say":
                self.view.terminal.line(content)
            elif kind in ("way", "data"):
                self._answer, worker.task = content, None
            elif kind == "event" and worker.task is not None:
                self._event(worker.task, content)
            elif kind in ("over", "died", "cut") and worker.task is not None:
                task, worker.task = worker.task, None
                self._over(task, content, kind)
        for worker in self.crew.overdue():
            pid = worker.process.pid
            self.view.terminal.warn(f"process {pid} did not save in {GRACE:.0f} s: killed")
        if self.waiting.number and not self.stopping:
            self._stop("interrupted")
        self.state.save()
        busy = self.crew.busy()
        self.view.draw({each.task.batch or "trying": each.task.jobs for each in busy})

    def _event(self, task: Task, event: Mapping[str, Any]) -> None:
        """Note what a job says of itself."""
        key, state = str(event["job"]), str(event["state"])
        if key not in task.jobs or self.state.jobs[key]["state"] != "running":
            return
        if (warning := event.get("warning")) is not None:
            self._warn(str(warning))
            return
        self.view.moved(key, event)
        self.state.goal(event.get("objective"), event.get("direction"))
        if state in FINAL:
            value = event.get("value")
            if event.get("objective") not in (None, self.state.content.get("objective")):
                value = self.state.value(key)
            self._final(key, state, value, event.get("message"))
        elif state == "interrupted" and self.stopping:
            self.state.change(key, state="interrupted", ended=time.time())

    def _warn(self, text: str) -> None:
        """Say what jobs warn of, once for all of them."""
        if text not in self.warned:
            self.warned.add(text)
            self.view.terminal.warn(text)

    def _final(self, key: str, state: str, value: float | None, message: str | None) -> None:
        value = value if value is not None and math.isfinite(value) else None
        line = message.splitlines()[0] if message else None
        self.state.change(key, state=state, ended=time.time(), value=value, message=line)
        self.view.ended(key)
        if state == "failed" and self.rules.stop_on_failure and not self._hopeful(key):
            self._stop("a job failed")

    def _hopeful(self, key: str) -> bool:
        """Tell whether a job that failed may be tried again in this command."""
        batch = self.state.jobs[key]["batch"]
        return batch is not None and self.tries[key] <= self.rules.retries

    def _over(self, task: Task, fault: Fault | None, kind: str) -> None:
        """Account for the jobs of a task that ended, and try again what failed.

        It is over, its process died, or that was cut by others.
        """
        died = kind == "died"
        if not task.batch:
            self._fault, self._died = None if kind == "cut" else fault, died
            return
        unfinished = [key for key in task.jobs if self.state.jobs[key]["state"] not in
                      (*FINAL, "interrupted")]  # fmt: skip
        if kind == "cut" or (self.stopping and died):
            for key in unfinished:
                self._cut(key)
            return
        words = "its batch ended without a word about it"
        for key in unfinished:
            self._fail(key, fault or Fault(words, 1, f"{words}\n"))
        if died and unfinished:
            self.state.batches[task.batch]["died"] = unfinished
        if not self.stopping:
            self._retry(task.batch)

    def _retry(self, name: str) -> None:
        """Queue the failed jobs of a batch: as they are if its process died, else each anew."""
        way = self.state.batches[name]["way"]
        failed = batches.again(self.state, name, self._hopeful)
        if failed:
            jobs = ", ".join(self.state.jobs[key]["directory"] for key in failed)
            self.view.terminal.line(f"again    {jobs}")
        for key in failed:
            pinned = self.state.jobs[key]["batch"] or batches.pin(self.state, [key], way)
            if pinned not in self.queue:
                self.queue.append(pinned)

    def _fail(self, key: str, fault: Fault) -> None:
        """Write down for a job that its process could not."""
        folder = self.state.folder_of(key)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / directory.ERROR, fault.text or f"{fault.message}\n")
        directory.set_status(
            folder, state="failed", exit_code=fault.exit_code, message=fault.message
        )
        self._final(key, "failed", None, fault.message)

    def _cut(self, key: str) -> None:
        """Note that a job was cut while its process left."""
        self.state.change(key, state="interrupted")
        folder = self.state.folder_of(key)
        if directory.status(folder).get("state") == "running":
            directory.set_status(folder, state="interrupted")

    # The end

    def _stop(self, why: str) -> None:
        """Begin nothing more; let the workers save and leave."""
        if self.stopping:
            return
        self.stopping = why
        self.crew.tell()
        if busy := len(self.crew.busy()):
            plural = "" if busy == 1 else "es"
            self.view.terminal.line(
                f"{why}: saving {busy} batch{plural}; a signal more leaves at once"
            )

    def _ended(self) -> bool:
        """Tell whether it was stopped and every worker has left."""
        return bool(self.stopping) and not self.crew.workers
