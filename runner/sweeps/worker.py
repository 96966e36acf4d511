"""A worker: a process that trains one batch after the other and tells how they go.

Tasks come, and news go, through a pipe:

    ("data", {job: threads})                ("data", {job: checksum})
    ("way", jobs, processes, most lanes)    ("say", text) ..., then ("way", Way)
    ("batch", name, jobs, Way)              ("event", event) ..., then ("over", None)
    None: leave                             after an error ("over", Fault) instead; when
                                            interrupted nothing

A worker has a session of its own: Ctrl-C in a terminal reaches the coordinator alone, which asks
its workers to save, once, by SIGTERM. Should the coordinator be killed, they notice that the
lifeline's other end is closed, save as well and leave.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.foundation.errors import Interrupted, RunnerError, no_exit
from runner.training.signals import SIGNALS, raising

if TYPE_CHECKING:
    from runner.assemble.lanes import Group
    from runner.assemble.settings import Settings
    from runner.assemble.ways import Way
    from runner.execution.jobs import Member

ORPHANED = 30.0  # seconds to save in after the coordinator's death


@dataclass(frozen=True)
class Engine:
    """What trains; tests have one of their own."""

    checksum: Callable[[Settings], str]  # of the data
    groups: Callable[[Sequence[Settings]], Sequence[Group]]
    way_of: Callable[[Sequence[Settings], int, Callable[[str], None], int | None], Way]
    perform: Callable[[Sequence[Member], Path, Way, Callable[[dict], None], float], None]
    way: Callable[..., Way]  # from its words in sweep.json
    member: Callable[..., Member]  # of id, settings, request, folder and swept values


class Fault(NamedTuple):
    """An error that ended a task: in a line, with its exit code, and in full."""

    message: str
    exit_code: int
    text: str


@dataclass(frozen=True)
class Work:
    """What a worker may be asked to train, and where."""

    engine: Engine
    members: Mapping[str, Member]  # by job id
    batches: Path  # folder of the batches' folders
    save_minutes: float


def serve(work: Work, link: Connection, lifeline: Connection, other_end: Connection | None) -> None:
    """Do what the coordinator asks until it says leave, a signal comes, or it dies.

    `other_end` of the lifeline is the coordinator's own, which a forked process has a copy of.
    """
    os.setsid()
    if other_end is not None:
        other_end.close()
    try:
        with raising(), contextlib.suppress(EOFError, OSError):  # of a pipe without another end
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            threading.Thread(target=_follow, args=(lifeline,), daemon=True).start()
            while (task := link.recv()) is not None:
                _send(link, _done(work, link, task))
    except Interrupted as error:
        raise SystemExit(error.exit_code) from None


def _done(work: Work, link: Connection, task: tuple[Any, ...]) -> tuple[str, Any]:
    """Return the last word about a task; raises `Interrupted`."""
    try:
        with no_exit():
            return _answer(work, link, task)
    except Exception as error:
        code = error.exit_code if isinstance(error, RunnerError) else 1
        text = "".join(traceback.format_exception(error))
        return "over", Fault(str(error) or type(error).__name__, code, text)


def _answer(work: Work, link: Connection, task: tuple[Any, ...]) -> tuple[str, Any]:
    if task[0] == "data":
        return "data", {key: _checksum(work, key, threads) for key, threads in task[1].items()}
    if task[0] == "way":
        _, jobs, processes, most = task
        every = [work.members[key].settings for key in jobs]
        return "way", work.engine.way_of(
            every, processes, lambda text: _send(link, ("say", text)), most
        )
    _, name, jobs, way = task
    _use(way.threads)
    folder = work.batches / name
    folder.mkdir(parents=True, exist_ok=True)
    members = [work.members[key] for key in jobs]
    work.engine.perform(
        members, folder, way, lambda event: _send(link, ("event", event)), work.save_minutes
    )
    return "over", None


def _checksum(work: Work, key: str, threads: int) -> str:
    _use(threads)  # numbers that are computed depend on them
    return work.engine.checksum(work.members[key].settings)


def _use(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _send(link: Connection, message: tuple[str, Any]) -> None:
    """Send a message whole: a signal that comes meanwhile acts after it.

    Without a coordinator to hear it there is nothing to say; the lifeline ends the worker.
    """
    with _held_back() as came, contextlib.suppress(OSError):
        link.send(message)
    for number in came:
        os.kill(os.getpid(), number)


@contextlib.contextmanager
def _held_back() -> Iterator[list[int]]:
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGTERM, before)


def _follow(lifeline: Connection) -> None:
    """Wait for the coordinator's end; then save, and leave in any case."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # they are the main thread's
    with contextlib.suppress(EOFError, OSError):
        lifeline.recv_bytes()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    time.sleep(ORPHANED)
    os.kill(os.getpid(), signal.SIGKILL)
