"""What the tests of resuming share: runs begun, cut and resumed in this process, and compared."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import random
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import numpy as np
import pytest
import torch
from rich.console import Console
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from runner import compose, config
from runner.assemble.settings import Settings
from runner.components.dataset import tables
from runner.execution import execute
from runner.execution import launch as launching
from runner.foundation.errors import Interrupted
from runner.foundation.files import read_json
from runner.recording import directory, recorder
from runner.recording.console import Terminal
from runner.training import checkpoints


class Killed(BaseException):
    """Stand for the death of a process: nothing is saved."""


class Cut:
    """Stand for the signals that wait: the loop looks at `number` once after each step."""

    def __init__(self, after: int, kill: bool = False):
        self.after, self.kill, self.looks = after, kill, 0

    @property
    def number(self) -> int:
        """Return 0 until it is time to leave."""
        self.looks += 1
        if self.kill and self.looks == self.after:
            raise Killed
        return signal.SIGTERM if self.looks >= self.after else 0


@contextlib.contextmanager
def signalled(after: int, kill: bool = False) -> Iterator[None]:
    """Let a signal or a death come so many steps after a run begins, or begins again.

    Steps that it has taken back are among them.
    """
    waiting = Cut(after, kill)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(execute, "deferred", lambda: contextlib.nullcontext(waiting))
        yield


@contextlib.contextmanager
def cut(after: int, kill: bool = False) -> Iterator[None]:
    """Cut a run so many steps after it began, or began again."""
    with signalled(after, kill), pytest.raises(Killed if kill else Interrupted):
        yield


@functools.cache
def composed(overrides: tuple[str, ...]) -> tuple[Settings, Any]:
    """Return checked settings and what they were composed of."""
    several = [name for name, kind in get_type_hints(Settings).items() if get_origin(kind) is dict]
    composition = compose.compose(overrides, several=several)
    return config.check(composition.config, Settings), composition


def terminal() -> Terminal:
    """Return a terminal that is read and not seen."""
    return Terminal(Console(file=io.StringIO(), width=200))


def begin(overrides: tuple[str, ...], root: Path) -> Path:
    """Train in a new directory under a root; return it."""
    settings, composition = composed(overrides)
    run = launching.settled(replace(settings, output_root=str(root)), terminal().line)
    request = launching.Request(composition.record, composition.choices, list(overrides))
    return launching.launch(run, request, terminal())


def started(root: Path) -> Path:
    """Return the one run under a root."""
    (folder,) = directory.runs(root)
    return folder


def resume(overrides: tuple[str, ...], folder: Path) -> Path:
    """Resume as another process would, whose generators stand elsewhere."""
    torch.manual_seed(random.randrange(2**32))
    np.random.seed(random.randrange(2**32))
    launching.resume(composed(overrides)[0], folder, terminal())
    return folder


def flat(content: Any, path: str = "") -> dict[str, Any]:
    """Return every leaf under its path, tensors as bytes."""
    if isinstance(content, torch.Tensor):
        return {path: (content.dtype, content.shape, content.numpy().tobytes())}
    if isinstance(content, dict | list):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        nested = [flat(each, f"{path}/{key}") for key, each in pairs]
        return {key: each for part in nested for key, each in part.items()}
    return {path: content}


def points(folder: Path) -> list[tuple[int, str, float | None]]:
    """Return every point that TensorBoard reads, in its order."""
    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                scalar = value.simple_value if value.HasField("simple_value") else None
                found.append((event.step, value.tag, scalar))
    return found


def record(folder: Path) -> dict[str, Any]:
    """Return what two equal runs have in common: all that no clock decides."""
    newest = checkpoints.read(checkpoints.listed(folder / directory.CHECKPOINTS)[0])
    summary = read_json(folder / directory.SUMMARY)
    status = directory.status(folder)
    return {
        "state": flat(newest["state"]),
        "metrics": (folder / directory.METRICS).read_bytes(),
        "probes": list(directory.read_rows(folder / directory.PROBES)),
        "timing": [row["step"] for row in directory.read_rows(folder / directory.TIMING)],
        "points": points(folder),
        "summary": {key: each for key, each in summary.items()
                    if key not in ("seconds", "samples_per_second")},
        "status": [status.get(key) for key in ("state", "step", "exit_code")],
    }  # fmt: skip


def differences(folder: Path, other: dict[str, Any]) -> list[str]:
    """Return the names of the parts in which a run differs from a record."""
    return [part for part, content in record(folder).items() if content != other[part]]


def recorded_once(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[tuple[str, ...]], dict[str, Any]]:
    """Return what gives the record of the uninterrupted run of a configuration, trained once."""

    @functools.cache
    def run(overrides: tuple[str, ...]) -> dict[str, Any]:
        return record(begin(overrides, tmp_path_factory.mktemp("uncut")))

    return run


def grouped(records: dict[Any, dict[str, Any]]) -> list[list[Any]]:
    """Return the names of records with the same metrics, together."""
    groups: dict[bytes, list[Any]] = {}
    for name, each in records.items():
        groups.setdefault(each["metrics"], []).append(name)
    return list(groups.values())


@contextlib.contextmanager
def quickened() -> Iterator[None]:
    """Spare hundreds of runs what is the same for all: waits for the disk, versions, data."""
    before = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(recorder, "here", functools.cache(recorder.here))
        patch.setattr(tables, "_numbers", functools.cache(tables._numbers))
        yield
    torch.set_num_threads(before)


def rewrite(folder: Path, content: Any) -> None:
    """Put this in the place of every checkpoint of a folder, under a name that fits."""
    for path in checkpoints.listed(folder):
        path.unlink()
    buffer = io.BytesIO()
    torch.save(content, buffer)
    short = hashlib.sha256(buffer.getvalue()).hexdigest()[:16]
    (folder / f"step-{content.get('step', 0)}-{short}.pt").write_bytes(buffer.getvalue())
