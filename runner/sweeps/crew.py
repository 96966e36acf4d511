"""The crew: worker processes as the coordinator sees them, each with a task or without."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from runner.sweeps.worker import Fault, Work, serve
from runner.training.signals import SIGNALS

GRACE = 60.0  # seconds in which a worker that was told to has to save and leave


class Worker:
    """A process, the coordinator's end of its pipe, and what it is doing."""

    def __init__(self, process: BaseProcess, link: Connection):
        self.process, self.link = process, link
        self.task: Any = None

    def ask(self, task: tuple[Any, ...] | None, about: Any) -> None:
        """Give it a task; `about` is what the coordinator knows of it."""
        self.task = about
        try:
            self.link.send(task)
        except OSError:  # it died; `Crew.news` says so
            return

    def exit_code(self) -> int:
        """Return how the process ended as the shell has it: 128 + the number of a signal.

        Who ended well without a last word did not end well.
        """
        code = self.process.exitcode or 0
        return 128 - code if code < 0 else code or 1

    def end(self) -> str:
        """Say how the process ended."""
        code = self.process.exitcode or 0
        if code >= 0:
            return f"its process ended with exit code {code}"
        name = signal.Signals(-code).name
        hint = "; out of memory?" if -code == signal.SIGKILL else ""
        return f"its process was killed by {name}{hint}"


class Crew:
    """Start workers, hear from them, stop them; none outlives the coordinator."""

    def __init__(self, work: Work, method: str):
        """Take the method by which processes start: fork, or spawn where CUDA is used."""
        self.work, self.forks = work, method == "fork"
        self.context: Any = multiprocessing.get_context(method)
        self.workers: list[Worker] = []
        self.told = 0.0  # when they were told to leave
        self._lifeline, self._held = self.context.Pipe(duplex=False)

    def start(self) -> Worker:
        """Start one more worker."""
        ours, theirs = self.context.Pipe()
        ends = theirs, self._lifeline, self._held if self.forks else None
        process = self.context.Process(target=serve, args=(self.work, *ends))
        # No signal acts on the worker before it is ready for one.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        worker = Worker(process, ours)
        self.workers.append(worker)
        return worker

    def idle(self) -> Worker | None:
        """Return a worker without a task."""
        return next((worker for worker in self.workers if worker.task is None), None)

    def busy(self) -> list[Worker]:
        """Return the workers that have a task."""
        return [worker for worker in self.workers if worker.task is not None]

    def news(self, seconds: float) -> Iterator[tuple[Worker, str, Any]]:
        """Yield (worker, kind, content) of what arrives within some time; ("died", how) last."""
        sources: list[Any] = [worker.link for worker in self.workers]
        ready = set(wait(sources + [worker.process.sentinel for worker in self.workers], seconds))
        for worker in list(self.workers):
            # Processes of the worker's own may hold its sentinel open after its end.
            ended = worker.process.sentinel in ready or worker.process.exitcode is not None
            if worker.link in ready or ended:
                yield from self._heard(worker)
            if ended:
                worker.process.join()
                worker.link.close()
                self.workers.remove(worker)
                yield worker, "died", Fault(worker.end(), worker.exit_code(), "")

    def _heard(self, worker: Worker) -> Iterator[tuple[Worker, str, Any]]:
        try:
            while worker.link.poll():
                kind, content = worker.link.recv()
                if self.told and kind in ("over", "way"):
                    # The signal came as the task ended, too late for anybody to act on it.
                    worker.ask(None, worker.task)
                yield worker, kind, content
        except (EOFError, OSError):  # it left, perhaps in mid-word
            return

    def tell(self) -> None:
        """Tell every worker, once, to save and leave."""
        if not self.told:
            self.told = time.monotonic()
            for worker in self.workers:
                worker.process.terminate()

    def overdue(self) -> list[Worker]:
        """Kill the workers that were told to leave long ago and did not; return them."""
        if not self.told or time.monotonic() < self.told + GRACE:
            return []
        self.told = time.monotonic()
        for worker in self.workers:
            worker.process.kill()
        return list(self.workers)

    def close(self) -> None:
        """Let idle workers leave; end the others at once."""
        for worker in self.workers:
            if worker.task is None:
                worker.ask(None, None)
            else:
                worker.process.kill()
        for worker in self.workers:
            worker.process.join(5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.link.close()
        self.workers.clear()
        self._lifeline.close()
        self._held.close()
