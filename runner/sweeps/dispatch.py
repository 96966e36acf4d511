"""Train a sweep on a cluster: its batches are what travels.

The coordinator plans and pins as ever, and sends each batch as a job. Nothing is tried on this
machine, whose processors may be others: with `sweep.lanes` given that many lanes are what is done,
otherwise a job tries it out first, on what a batch is given.
"""

from __future__ import annotations

import math
import time
from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runner.foundation.errors import Interrupted, InUse, Misconfigured
from runner.foundation.files import read_json
from runner.recording import directory
from runner.recording.console import Terminal
from runner.reports.results import outcome
from runner.sweeps import batches
from runner.sweeps.cluster import Cluster, RemoteCrew
from runner.sweeps.coordinate import Coordinator
from runner.sweeps.foreman import Rules, Task
from runner.sweeps.ray import Ray
from runner.sweeps.settings import CONSENT, Sweep
from runner.sweeps.slurm import Slurm
from runner.sweeps.state import FINAL, State, counted
from runner.sweeps.view import View
from runner.sweeps.worker import Fault, Work
from runner.training.signals import deferred

if TYPE_CHECKING:
    from runner.assemble.settings import Settings
    from runner.execution.launch import Request

ENGINES: dict[str, type[Slurm | Ray]] = {"slurm": Slurm, "ray": Ray}


def ready(sweep: Sweep, request: Request, recorded: bool = False, detach: bool = False) -> None:
    """Raise `Misconfigured` where a sweep is to run on a cluster that cannot be reached, or that is
    told what nobody trusted says, or is to be left alone where there is none.

    The words of `request` were typed for this command, or are `recorded` ones.
    """
    if sweep.cluster is not None:
        _refuse_unasked(sweep, request, recorded)
        ENGINES[sweep.cluster].ready()
    if detach and sweep.cluster == "ray":
        raise Misconfigured("--detach: what Ray was sent ends with the command that sent it")
    if detach and sweep.cluster is None:
        raise Misconfigured("--detach: leaves a sweep to a cluster; add sweep.cluster=slurm")


def _refuse_unasked(sweep: Sweep, request: Request, recorded: bool) -> None:
    """Raise `Misconfigured` for commands and addresses out of a file, unless those are trusted."""
    typed = [] if recorded else [word.partition("=")[0] for word in request.overrides]
    said = {"sweep.slurm.setup": sweep.slurm.setup, "sweep.ray.address": sweep.ray.address}
    if CONSENT not in request.trust and (
        problems := [
            f"{key}={value}: stands in a file, and what it says is done; if you trust it, "
            f"add --trust {CONSENT}"
            for key, value in said.items()
            if value and key not in typed
        ]
    ):
        raise Misconfigured(problems)


def cluster_of(state: State, sweep: Sweep) -> Cluster:
    """Return the cluster that the batches of a sweep go to."""
    at_once = None if sweep.processes == "auto" else int(sweep.processes)
    if sweep.cluster == "ray":
        return Ray(sweep.ray, at_once)
    return Slurm(state.folder, sweep.slurm, at_once)


def refuse_elsewhere(state: State, sweep: Sweep) -> None:
    """Raise `InUse` while batches that are to be trained here are still at a cluster."""
    sent = {name: state.batches[name]["sent"] for name in batches.unfinished(state)
            if state.batches[name].get("sent", {}).get("to") == Slurm.name}  # fmt: skip
    if sweep.cluster == Slurm.name or not sent:
        return
    Slurm.ready()
    cluster = Slurm(state.folder, sweep.slurm, None)
    numbers = [each["as"] for each in sent.values()]
    if live := [each for each in numbers if each not in cluster.ended(numbers)]:
        raise InUse(
            f"{state.folder}: {len(live)} of its batches are at {cluster.name}: go on with "
            f"sweep.cluster={cluster.name}, or cancel them: {cluster.cancelling(live)}"
        )


def train(
    state: State,
    settings: Mapping[str, Settings],
    work: Work,
    sweep: Sweep,
    terminal: Terminal,
    again: Container[str] | None,
    detach: bool,
) -> None:
    """Send what is missing, and wait for it unless it is to `detach`.

    Raises `Interrupted` when a signal came: what was sent goes on.
    """
    cluster = cluster_of(state, sweep)
    lanes = None if sweep.lanes == "auto" else int(sweep.lanes)
    processes = 1 if sweep.processes == "auto" else int(sweep.processes)
    rules = Rules(processes, False, 0, lanes, sweep.retries, sweep.on_failure == "stop")
    crew = RemoteCrew(work, cluster, state)
    with deferred() as waiting, View(state, terminal) as view:
        coordinator = RemoteCoordinator(state, settings, work, rules, crew, view, waiting)
        left = coordinator.sent(again) if detach else coordinator.waited_for(again)
    missing = set(state.counts()) - set(FINAL)
    if not left:
        if waiting.number and missing:
            way = f"continue with: runner resume {state.folder}"
            raise Interrupted(waiting.number, f"{counted(state.counts())}; {way}")
        return
    ways = (f"look: runner report {state.folder}; go on: runner resume {state.folder}; "
            f"cancel: {cluster.cancelling(left)}")  # fmt: skip
    words = f"at {cluster.name} {len(left)} batch{'' if len(left) == 1 else 'es'} go on"
    if waiting.number:
        raise Interrupted(waiting.number, f"{counted(state.counts())}; {words}; {ways}")
    for line in (words, *ways.split("; ")):
        terminal.line(line)


class RemoteCoordinator(Coordinator):
    """Bring every asked job of a sweep to an end on a cluster, or send it there."""

    crew: RemoteCrew
    left: Sequence[str] = ()  # jobs of the cluster that go on without a coordinator

    def waited_for(self, again: Container[str] | None) -> Sequence[str]:
        """Train; return the cluster's jobs that go on, if a signal came."""
        self.run(again)
        return self.left

    def sent(self, again: Container[str] | None) -> Sequence[str]:
        """Send what is missing; return the cluster's jobs that are or will be at it."""
        self.begin(again)
        self._hand_out()
        if numbers := self.crew.send():
            self.view.terminal.line(f"{self.crew.cluster.name}   sent: {' '.join(numbers)}")
        self.left = self.left or self.crew.leave()
        self.state.save(now=True)
        return self.left

    def _verify_data(self) -> None:
        """Leave it to each batch, which runs where the data is."""

    def _cut_pending(self) -> None:
        super()._cut_pending()
        self.state.head(processes=self.rules.processes if self.rules.processes > 1
                        else len(self.queue))  # fmt: skip

    def _way_of(self, jobs: Sequence[str]) -> Any:
        """Take `sweep.lanes` for what is done; else let the cluster try."""
        if self.rules.lanes is None:
            return super()._way_of(jobs)
        settings = [self.settings[key] for key in jobs]
        refusal = self.work.engine.groups(settings)[0].refusal
        lanes = 1 if refusal else min(self.rules.lanes, len(jobs))
        cpus, own = self.crew.cluster.cpus, settings[0].threads
        threads = own if isinstance(own, int) else cpus
        reason = refusal or f"sweep.lanes={self.rules.lanes}"
        from runner.assemble.ways import mode_of

        mode = mode_of(settings[0])
        return self.work.engine.way(lanes=lanes, compile=mode, threads=threads, reason=reason)

    def _most(self, jobs: Sequence[str], way: Any) -> int:
        """Return how many jobs are a batch at most; jobs that train alone are shared out."""
        if way.lanes > 1 or self.processes == 1:
            return int(way.lanes)
        return math.ceil(len(jobs) / self.processes)

    def _hand_out(self) -> None:
        """Send every batch, up to the limit where the cluster has none of its own."""
        limit = self.crew.cluster.limit or math.inf
        while self.queue and not self.stopping and len(self.crew.busy()) < limit:
            self._send(self.queue.popleft())

    def _send(self, name: str) -> None:
        jobs = batches.members(self.state, name)
        live = [key for key in jobs if self.state.jobs[key]["state"] not in FINAL]
        about = Task(name, tuple(live))
        for key in live:
            self.state.change(key, state="pending")
        if self.crew.adopted(name, about):
            self.view.terminal.line(f"{name}    still at {self.crew.cluster.name}: "
                                    f"{self.state.batches[name]['sent']['as']}")  # fmt: skip
            return
        for key in live:
            self.tries[key] += 1
            attempts = self.state.jobs[key]["attempts"] + 1
            self.state.change(key, ended=None, attempts=attempts)
        way = self.work.engine.way(**self.state.batches[name]["way"])
        self.crew.start().ask(("batch", name, jobs, way), about)

    def _event(self, task: Task, event: Mapping[str, Any]) -> None:
        """Note what a job says of itself; one that was saved to be requeued is not over."""
        key = str(event["job"])
        entry = self.state.jobs[key]
        if entry["state"] in FINAL or event["state"] == "interrupted":
            return
        if entry["state"] != "running":
            started = directory.status(self.state.folder_of(key)).get("started")
            self.state.change(key, state="running", started=started or time.time())
        super()._event(task, event)

    def _over(self, task: Task, fault: Fault | None, kind: str) -> None:
        """Account for the jobs of a task that ended, what their files say before all else."""
        for key in task.jobs:
            folder = self.state.folder_of(key)
            status = directory.status(folder)
            if task.batch and status.get("state") in FINAL:
                found = outcome(read_json(folder / directory.SUMMARY))
                self._event(task, {**status, "job": key, **found})
        if kind == "cut" and fault is not None:
            self.view.terminal.line(f"{task.batch or 'trying'}    {fault.message}")
        super()._over(task, fault, kind)

    def _stop(self, why: str) -> None:
        """Begin nothing more: a signal ends this process alone, a failed job the others too."""
        if self.stopping:
            return
        self.stopping = why
        if why == "interrupted" and self.crew.cluster.outlives:
            self.left = self.crew.leave()
        else:
            self.view.terminal.line(f"{why}: cancelling {len(self.crew.busy())} batches")
            self.crew.tell()
