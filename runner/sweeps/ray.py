"""Ray: a batch is a task of a cluster that is there, or of one this command starts here."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
from collections.abc import Collection, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from runner.foundation.errors import Misconfigured
from runner.sweeps import settings
from runner.sweeps.remote import supervised
from runner.training.signals import SIGNALS

LOST = 100  # machines that may be lost under a batch, which goes on at another


class Ray:
    """A cluster whose tasks end with the command that sent them: each is saved, and leaves."""

    name, outlives = "ray", False
    cut = frozenset({"CANCELLED"})

    def __init__(self, asks: settings.Ray, at_once: int | None):
        """Take how many batches run at once, None for as many as there is room for."""
        self.asks, self.limit, self.cpus = asks, at_once, asks.cpus
        self.tasks: dict[str, Any] = {}  # their futures

    @staticmethod
    def ready() -> None:
        """Raise `Misconfigured` unless tasks can be sent from here."""
        if importlib.util.find_spec("ray") is None:
            raise Misconfigured("sweep.cluster=ray needs ray, which is not installed: "
                                "pip install 'runner[ray]'")  # fmt: skip

    def submit(self, folders: Sequence[Path], sweep: str) -> list[str]:
        """Have the tasks in these folders done."""
        import ray

        if not ray.is_initialized():
            self._connect()
        asked = {"num_cpus": self.cpus, "num_gpus": self.asks.gpus, "max_retries": LOST}
        send = ray.remote(_train).options(**asked, name=f"runner-{sweep}")
        sent = [send.remote(str(each)) for each in folders]
        numbers = [each.task_id().hex()[:16] for each in sent]
        self.tasks |= dict(zip(numbers, sent, strict=True))
        return numbers

    def _connect(self) -> None:
        import ray

        there = self.asks.address or os.environ.get("RAY_ADDRESS")
        fresh: dict[str, Any] = {} if there else {"include_dashboard": False}
        try:
            ray.init(
                address=self.asks.address, log_to_driver=False, logging_level=logging.ERROR, **fresh
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise Misconfigured(f"sweep.ray.address={there}: {error}") from error

    def ended(self, ids: Collection[str]) -> dict[str, str]:
        """Return which of these tasks are over, and how; those of an earlier command are."""
        import ray

        known = {each: self.tasks[each] for each in ids if each in self.tasks}
        words = dict.fromkeys(set(ids) - known.keys(), "CANCELLED")
        if not known:
            return words
        over, _ = ray.wait(list(known.values()), num_returns=len(known), timeout=0)
        return words | {each: _word(task) for each, task in known.items() if task in over}

    def cancel(self, ids: Collection[str]) -> None:
        """End tasks; they save."""
        import ray

        for each in ids:
            ray.cancel(self.tasks[each])

    def cancelling(self, ids: Collection[str]) -> str:
        """Return what the user does: end the command."""
        return "Ctrl-C"

    def log(self, number: str) -> Path:
        """Return where Ray keeps its logs."""
        return Path("/tmp/ray/session_latest/logs")


def _word(task: Any) -> str:
    import ray

    try:
        code = ray.get(task)
    except ray.exceptions.TaskCancelledError:
        return "CANCELLED"
    except ray.exceptions.RayError as error:
        return str(error).partition("\n")[0] or type(error).__name__
    return f"exit code {code}" if code else "COMPLETED"


def _train(folder: str) -> int:
    """Have a batch trained in a process below Ray's, which saves when the task is cancelled."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        return supervised(Path(folder), came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
