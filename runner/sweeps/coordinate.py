"""The coordinator: decides how jobs are trained, hands batches to workers, notes what they say.

It never computes with torch itself, so that its workers can be forked from it at any time.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Container, Mapping, Sequence
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
    """What a worker is doing: finding a way ("" for a batch), or training these jobs."""

    batch: str
    jobs: tuple[str, ...]


class Coordinator:
    """Bring every asked job of a sweep to an end."""

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
        self._way: Any = None  # the newest that was found

    def run(self, again: Container[str] | None = None) -> None:
        """Go on with what was cut, cut the rest into batches, train.

        What failed before is tried again: all of it, or the jobs in `again`.
        """
        self.begin(again)
        while not self._ended() and (self.queue or self.crew.busy()):
            self._hand_out()
            self._listen()
        self.state.save(now=True)

    def begin(self, again: Container[str] | None) -> None:
        """Queue the batches that there are to train, pinned."""
        self._put_back(lambda key: again is None or key in again)
        self.queue.extend(batches.unfinished(self.state))
        self._cut_pending()
        self.state.save(now=True)
        self.view.began()

    def _put_back(self, hopeful: Callable[[str], bool]) -> None:
        """Try again what failed in an earlier command, or was cut as a run of its own."""
        unfinished = set(batches.unfinished(self.state))
        for name, batch in self.state.batches.items():
            if name not in unfinished or batch.get("died"):
                batches.again(self.state, name, hopeful)
        for key, entry in self.state.asked().items():  # without a batch
            broken = entry["state"] in ("failed", "interrupted")
            if broken and entry["batch"] is None and hopeful(key):
                batches.anew(self.state, key)

    # From groups to batches

    def _cut_pending(self) -> None:
        asked = self.state.asked()
        pending = {key for key, entry in asked.items()
                   if entry["state"] == "pending" and entry["batch"] is None}  # fmt: skip
        every = list(self.settings)
        groups = self.work.engine.groups(list(self.settings.values())) if pending else []
        found: list[tuple[list[str], Any]] = []
        for group in groups:
            members = [every[at] for at in group.members]
            if not (jobs := [key for key in members if key in pending]):
                continue
            way = self._pinned_way(members, len(jobs)) or self._way_of(jobs)
            if way is not None:
                found.append((jobs, way))
        for way in dict.fromkeys(way for _, way in found):
            self._say(sum(len(jobs) for jobs, own in found if own == way), way)
        if self.rules.automatic and found:
            threads = max(way.threads for _, way in found)
            self.processes = max(min(self.processes, self.rules.processors // threads), 1)
        self.queue.extend(self._pinned(found))
        if found:
            used = min(self.processes, len(self.queue))
            self.state.head(processes=used, threads=max(way.threads for _, way in found))

    def _pinned_way(self, jobs: Sequence[str], more: int) -> Any:
        """Return how others of a group were trained: numbers of one table come about in one way.

        None where the new ones are the greater part, or fewer lanes are asked for now.
        """
        pinned = [batch for key in jobs if (batch := self.state.jobs[key]["batch"]) is not None]
        if len(pinned) < more:
            return None
        way = self.work.engine.way(**self.state.batches[pinned[0]]["way"])
        return way if way.lanes <= (self.rules.lanes or way.lanes) else None

    def _way_of(self, jobs: Sequence[str]) -> Any:
        """Let a worker find out how a group is best trained; None if it could not or must stop."""
        if self._ended():
            return None
        worker = self.crew.idle() or self.crew.start()
        worker.ask(("way", list(jobs), self.processes, self.rules.lanes), Task("", tuple(jobs)))
        self._way = None
        while worker.task is not None and not self._ended():
            self._listen()
        return self._way

    def _say(self, jobs: int, way: Any) -> None:
        count = f"{jobs} job{'' if jobs == 1 else 's'}"
        how = f"up to {way.lanes} as lanes" if way.lanes > 1 else "each alone"
        step = {"trace": "traced", "true": "compiled", "false": "eager"}[way.compile]
        threads = f"{way.threads} thread{'' if way.threads == 1 else 's'} a process"
        reason = f": {way.reason}" if way.reason else ""
        self.view.terminal.line(f"{count}  {how}, {step}, {threads}{reason}")

    def _pinned(self, found: Sequence[tuple[list[str], Any]]) -> list[str]:
        """Cut groups into batches and pin them; the largest come first."""
        most = [(len(jobs), self._most(jobs, way)) for jobs, way in found]
        sizes = batches.cut(most, self.processes)
        names = []
        for (jobs, way), counts in zip(found, sizes, strict=True):
            rest = iter(jobs)
            for count in counts:
                members = [next(rest) for _ in range(count)]
                names.append(batches.pin(self.state, members, way._asdict()))
        return sorted(names, key=lambda name: -len(self.state.batches[name]["jobs"]))

    def _most(self, jobs: Sequence[str], way: Any) -> int:
        """Return how many jobs are a batch at most."""
        return int(way.lanes)

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

    def _listen(self) -> None:
        """Take the news of the workers, show them, write them down."""
        for worker, kind, content in self.crew.news(LISTEN):
            if kind == "say":
                self.view.terminal.line(content)
            elif kind == "way":
                self._way, worker.task = content, None
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
            self._final(key, state, event.get("value"), event.get("message"))
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
        unfinished = [key for key in task.jobs if self.state.jobs[key]["state"] not in
                      (*FINAL, "interrupted")]  # fmt: skip
        if kind == "cut" or (self.stopping and died):
            for key in unfinished:
                self._cut(key, bool(task.batch))
            return
        words = "its batch ended without a word about it"
        for key in unfinished:
            self._fail(key, fault or Fault(words, 1, f"{words}\n"))
        if not task.batch:
            return
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
            if self.state.jobs[key]["batch"] is None:
                self.queue.append(batches.pin(self.state, [key], way))
            elif name not in self.queue:
                self.queue.append(name)

    def _fail(self, key: str, fault: Fault) -> None:
        """Write down for a job that its process could not."""
        folder = self.state.folder_of(key)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / directory.ERROR, fault.text or f"{fault.message}\n")
        directory.set_status(
            folder, state="failed", exit_code=fault.exit_code, message=fault.message
        )
        self._final(key, "failed", None, fault.message)

    def _cut(self, key: str, began: bool) -> None:
        """Note that a job was cut while its process left; what was only looked at did not begin."""
        self.state.change(key, state="interrupted" if began else "pending")
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
