"""A batch on another machine: told by a file what to train, telling by a file how it goes.

Both stand in the batch's folder below the sweep's `cluster/`, on a disk that the machines share:

    task.json      written by the coordinator before it sends the batch, see `write_task`
    progress.json  {"state": running, cut or over, "host", "attempt", "events": {job: its newest},
                    "said": lines, "way": of a task to find one, "fault": {...}, "died": bool}

Schedulers send a signal to every process there is, some of them twice. So what trains is a process
of its own that takes none: it saves and leaves when its standard input is closed, by whoever got
the signals or by that process's death.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from types import FrameType, MethodType
from typing import TYPE_CHECKING, Any

from runner.foundation.errors import Interrupted, Misconfigured, RunnerError, no_exit
from runner.foundation.files import locked_in_turn, read_json, write_atomic, write_json
from runner.recording import directory
from runner.sweeps.state import FINAL
from runner.training.signals import SIGNALS, raising

if TYPE_CHECKING:
    from runner.assemble.ways import Way
    from runner.execution.jobs import Member

CLUSTER = "cluster"  # folder of a sweep
TASK, PROGRESS = "task.json", "progress.json"
PAUSE = 1.0  # seconds between two words on how far jobs are
CUT = 128 + signal.SIGHUP  # exit code of a batch that saved and left
TOLD = (*SIGNALS, signal.SIGUSR2)  # that a scheduler sends


def write_task(folder: Path, members: Sequence[Member], **about: Any) -> None:
    """Write down what a batch's process needs; what an earlier one said is forgotten.

    `about` has `batch` and `way`, or no `way` where one is to be found by trying.
    Configurations are written unresolved: values from the environment stay in the environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PROGRESS).unlink(missing_ok=True)
    jobs = [
        {"id": each.id, "directory": each.folder.name, "swept": dict(each.swept),
         "record": each.request.config, "choices": dict(each.request.choices),
         "overrides": each.request.overrides}
        for each in members
    ]  # fmt: skip
    request = members[0].request
    task = {**about, "trust": request.trust, "config_dirs": request.config_dirs,
            "here": str(Path.cwd()), "jobs": jobs}  # fmt: skip
    write_atomic(folder / TASK, json.dumps(task, indent=1))  # infinity too: no `write_json`


# The process that a scheduler starts


@dataclass(frozen=True)
class Remote:
    """Have a batch trained in a process below this one; crosses to other machines."""

    folder: str  # of the batch, in `cluster/`

    def __call__(self) -> None:
        """Return when the batch is over or cut, having asked Slurm to let a cut one go on.

        SIGUSR2 is what submitit has Slurm send before it preempts a job or its time is over.
        """
        came: list[int] = []

        def note(number: int, frame: FrameType | None) -> None:
            came.append(number)

        before = {number: signal.signal(number, note) for number in (*SIGNALS, signal.SIGUSR2)}
        code = supervised(Path(self.folder), came)
        requeue = before[signal.SIGUSR2]
        if code == CUT and signal.SIGUSR2 in came and isinstance(requeue, MethodType):
            requeue(signal.SIGUSR2, None)  # submitit's: calls `checkpoint`, requeues, leaves
        if code:
            raise SystemExit(code)

    def checkpoint(self) -> Any:
        """Return what submitit is to call after a requeue: the same, the batch's state is kept."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def supervised(folder: Path, came: Sequence[int]) -> int:
    """Train in a process; let it save and leave when a signal came. Return its exit code.

    Should it die, its last word is written for it.
    """
    home = str(Path(__file__).resolve().parents[2])
    known = [each for each in [os.environ.get("PYTHONPATH")] if each]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)  # inherited, and kept there
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "runner.sweeps.remote", str(folder)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([home, *known])},
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert process.stdin is not None
    while process.poll() is None:
        if came:
            process.stdin.close()
        time.sleep(0.1)
    process.stdin.close()
    code = process.returncode
    if code not in (0, CUT):
        end = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        hint = "; out of memory?" if code == -signal.SIGKILL else ""
        Progress(folder).over({"message": f"its process ended with {end}{hint}",
                               "exit_code": 128 - code if code < 0 else code, "text": ""},
                              died=True)  # fmt: skip
    return 128 - code if code < 0 else code


# The process that trains


class Progress:
    """What a batch's process tells the coordinator, beside the jobs' own files."""

    def __init__(self, folder: Path, begins: bool = False):
        """Go on with what was told; a process that `begins` counts."""
        self.path = folder / PROGRESS
        self.content: dict[str, Any] = {"attempt": 0, "events": {}, "said": [],
                                        **read_json(self.path)}  # fmt: skip
        self._due = 0.0
        if begins:
            attempt = self.content["attempt"] + 1
            self._write(state="running", host=socket.gethostname(), attempt=attempt)

    def report(self, event: Mapping[str, Any]) -> None:
        """Tell how a job goes: at once when it ended, else once a second."""
        if (warning := event.get("warning")) is not None:
            self.say(f"warning: {warning}")
            return
        metrics = {name: value for name, value in event.get("metrics", {}).items()
                   if isfinite(value)}  # fmt: skip
        self.content["events"][event["job"]] = {**event, "metrics": metrics}
        if event["state"] in FINAL or time.monotonic() >= self._due:
            self._write()

    def say(self, line: str) -> None:
        """Have the coordinator print a line."""
        self.content["said"].append(line)
        self._write()

    def cut(self) -> None:
        """Tell that all is saved and the process leaves."""
        self._write(state="cut")

    def over(self, fault: Mapping[str, Any] | None = None, died: bool = False, **more: Any) -> None:
        """Tell that there is nothing left to do, or what went wrong."""
        self._write(state="over", fault=fault, died=died, **more)

    def _write(self, **values: Any) -> None:
        self.content |= values
        write_json(self.path, self.content, sync=False)
        self._due = time.monotonic() + PAUSE


def main(folder: Path) -> int:
    """Do the task in a batch's folder; return the exit code."""
    with contextlib.suppress(OSError):
        os.chdir(read_json(folder / TASK)["here"])  # data may lie there
    try:
        with raising():
            threading.Thread(target=_follow, daemon=True).start()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
            with locked_in_turn(folder, lambda error: time.sleep(1)):
                _do(folder, Progress(folder, begins=True))
    except Interrupted:
        Progress(folder).cut()
        return CUT
    return 0


def _follow() -> None:
    """Wait for the end of the standard input; then let the main thread save and leave."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGHUP)


def _do(folder: Path, progress: Progress) -> None:
    """Train, or find a way; what goes wrong is told. Raises `Interrupted`."""
    try:
        task = read_json(folder / TASK)
        members = members_of(task, folder.parent.parent)
        if "way" in task:
            with no_exit():
                _train(members, folder, task, progress)
            progress.over()
        else:
            with no_exit():
                way = _way(members, task, progress)
            progress.over(way=way._asdict())
    except Exception as error:
        code = error.exit_code if isinstance(error, RunnerError) else 1
        text = "".join(traceback.format_exception(error))
        message = str(error) or type(error).__name__
        progress.over({"message": message, "exit_code": code, "text": text})


def _train(
    members: Sequence[Member], folder: Path, task: Mapping[str, Any], progress: Progress
) -> None:
    import torch

    from runner.assemble.ways import Way
    from runner.execution.batch import perform

    way = Way(**task["way"])
    torch.set_num_threads(way.threads)
    saves = folder.parent.parent / directory.BATCHES / task["batch"]
    perform(members, saves, way, progress.report, task["save_minutes"])


def _way(members: Sequence[Member], task: Mapping[str, Any], progress: Progress) -> Way:
    """Find out here how the jobs are best trained, on the processors that a batch is given."""
    from runner.assemble.ways import way_of

    settings = [
        replace(each.settings, threads=task["cpus"]) if each.settings.threads == "auto"
        else each.settings
        for each in members
    ]  # fmt: skip
    return way_of(settings, 1, progress.say, task["most"])


def members_of(task: Mapping[str, Any], sweep: Path) -> list[Member]:
    """Return the jobs of a task; raises `Misconfigured` where they mean something else here."""
    from runner import config
    from runner.assemble.settings import Settings
    from runner.compose import values
    from runner.execution.jobs import Member
    from runner.execution.launch import Request
    from runner.sweeps.identity import identity

    if task["trust"] and task["here"] not in sys.path:
        sys.path.append(task["here"])
    members: list[Member] = []
    problems: list[str] = []
    for job in task["jobs"]:
        resolved = values.resolved(job["record"], problems)
        if not problems and identity(resolved, job["swept"]) != job["id"]:
            problems.append(f"{job['directory']}: its configuration is another one on "
                            f"{socket.gethostname()}; does it name the environment?")  # fmt: skip
        if problems:
            raise Misconfigured(problems)
        settings = config.check(resolved, Settings, trust=task["trust"])
        request = Request(job["record"], job["choices"], job["overrides"], task["trust"],
                          task["config_dirs"])  # fmt: skip
        folder = sweep / job["directory"]
        members.append(Member(job["id"], settings, request, folder, job["swept"]))
    return members


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
