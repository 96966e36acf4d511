"""A stand-in for what trains: it counts steps, keeps its place, and fails as it is told to."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from rich.console import Console

from runner.execution.launch import Request
from runner.foundation.errors import BadData, Interrupted, Misconfigured
from runner.foundation.files import write_json
from runner.recording import directory
from runner.recording.console import Terminal
from runner.sweeps import launch
from runner.sweeps.settings import Sweep
from runner.sweeps.worker import Engine
from runner.training.signals import deferred

TRAINED = "trained.txt"  # a line for every step of every job, of whatever process


class Group(NamedTuple):
    members: list[int]
    refusal: str


class Way(NamedTuple):
    lanes: int
    compile: str
    threads: int
    reason: str


@dataclass(frozen=True)
class Member:
    id: str
    settings: Any
    request: Any
    folder: Path
    swept: dict[str, Any]


@dataclass(frozen=True)
class Job:
    id: str
    directory: str
    swept: dict[str, Any]
    settings: Any
    overrides: list[str] = field(default_factory=list)
    composition: Any = field(default_factory=lambda: SimpleNamespace(record={}, choices={}))


def job(
    name: str, does: str = "", steps: int = 3, group: str = "a", pause: float = 0.0,
    data: str = "",
) -> Job:  # fmt: skip
    """Return a job that `does` something: fail, diverge, die, die once, explode, hang."""
    settings = SimpleNamespace(
        device="cpu", threads=1, does=does, steps=steps, group=group, pause=pause,
        dataset=data, data=data,
    )  # fmt: skip
    return Job(f"id-{name}", name, {"x": name}, settings, [f"x={name}"])


def groups(settings: Sequence[Any]) -> list[Group]:
    found: dict[str, list[int]] = {}
    for at, each in enumerate(settings):
        found.setdefault(each.group, []).append(at)
    return [Group(at, "no lanes" if name == "alone" else "") for name, at in found.items()]


def way_of(
    settings: Sequence[Any], processes: int, say: Callable[[str], None], most: int | None
) -> Way:
    does = settings[0].does
    if does == "no way":
        raise Misconfigured("dataset: no such file")
    if does == "no way, dead":
        os.kill(os.getpid(), signal.SIGKILL)
    if any(each.does == "no lanes, dead" for each in settings) and most != 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "no way, hangs":
        time.sleep(60)
    say(f"measured in {'another' if os.getpid() != int(os.environ['MAIN']) else 'this'} process")
    lanes = 1 if settings[0].group == "alone" else min(2, most or 2)
    return Way(lanes, "trace", 1, "measured")


def checksum(settings: Any) -> str:
    path = Path(settings.data)
    if not path.is_file():
        raise BadData(f"{path}: no such file")
    return path.read_text()


def perform(
    members: Sequence[Member],
    folder: Path,
    way: Way,
    report: Callable[[dict[str, Any]], None],
    save_minutes: float,
) -> None:
    assert way.threads == 1
    assert save_minutes == 2
    path = folder / "steps.json"
    steps = json.loads(path.read_text()) if path.exists() else {}
    ended = ("finished", "diverged", "failed")
    live = [each for each in members if directory.status(each.folder).get("state") not in ended]
    for each in live:
        each.folder.mkdir(exist_ok=True)
        data = {"data": checksum(each.settings)} if getattr(each.settings, "data", "") else {}
        directory.set_status(each.folder, state="running", started=time.time(), **data)
    with deferred() as waiting:
        while live:
            for each in list(live):
                if not _step(each, steps, folder, report):
                    live.remove(each)
            path.write_text(json.dumps(steps))
            if waiting.number and live:  # at the end nobody asks any more
                for each in live:
                    directory.set_status(each.folder, state="interrupted")
                    report({"job": each.id, "state": "interrupted"})
                raise Interrupted(waiting.number, "saved")


def _leave(does: str) -> None:
    """End, or hang, before the first step."""
    if does == "hang":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        time.sleep(60)
    if does in ("die at once", "no lanes, dead"):
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "leave":
        sys.exit(0)
    if does == "leave at once":
        os._exit(0)
    if does == "explode":
        raise RuntimeError("what nobody expected")


def _step(member: Member, steps: dict[str, int], folder: Path, report: Any) -> bool:
    """Train one step; return False at the end."""
    does, step = member.settings.does, steps.get(member.id, 0) + 1
    time.sleep(member.settings.pause)
    _leave(does)
    if step == 2 and (does == "die" or (does == "die once" and _first(folder, member))):
        os.kill(os.getpid(), signal.SIGKILL)
    if does == "late" and step == member.settings.steps:
        os.kill(int(os.environ["MAIN"]), signal.SIGINT)
        time.sleep(1)  # until the coordinator has told this process
    with (folder.parent.parent / TRAINED).open("a") as file:
        file.write(f"{member.id} {step}\n")
    steps[member.id] = step
    event = {"job": member.id, "step": step, "total": member.settings.steps}
    ends = {"fail": "failed", "diverge": "diverged"}.get(does, "finished")
    if step < member.settings.steps:
        report(event | {"state": "running", "metrics": {"valid/accuracy": step / 10}})
        return True
    if does == "fail once" and _first(folder.parent, member):
        ends = "failed"
    value = 0.5 + len(member.folder.name) / 100 if ends == "finished" else None
    best = {"objective": "valid/accuracy", "direction": "max", "value": value}
    if value is not None:
        write_json(member.folder / directory.SUMMARY, {"best": best})
    directory.set_status(member.folder, state=ends, step=step, message="so it was meant")
    report(event | {"state": ends, "message": "so it was meant\nat length"} | best)
    return False


def _first(folder: Path, member: Member) -> bool:
    """Tell whether this is the first time."""
    mark = folder / f"{member.id}.mark"
    new = not mark.exists()
    mark.touch()
    return new


def sweep(**values: Any) -> Sweep:
    defaults = {"grids": [], "zip": [], "max_jobs": 1000, "on_failure": "continue", "retries": 0,
                "save_minutes": 2.0, "processes": 2, "lanes": "auto", "figures": False}  # fmt: skip
    return Sweep(**defaults | values)


def start(folder: Path, jobs: Sequence[Job], new: bool = False, **values: Any) -> tuple[int, str]:
    """Run a sweep in this process; return its exit code and what it printed."""
    os.environ["MAIN"] = str(os.getpid())
    request = Request(config={}, choices={}, overrides=["x=a,b"])
    terminal = Terminal(Console(file=io.StringIO(), width=10_000, highlight=False))
    settings = sweep(**values)
    code = launch.run(jobs, folder, settings, request, new, terminal, engine())
    return code, terminal.console.file.getvalue()


def engine() -> Engine:
    return Engine(checksum, groups, way_of, perform, Way, Member)


def trained(folder: Path) -> list[str]:
    """Return the steps that were trained: `id step`, sorted."""
    path = folder / TRAINED
    return sorted(path.read_text().splitlines()) if path.exists() else []
