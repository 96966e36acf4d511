"""A command of the runner in a process of its own, which can be killed and is known by its end."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

PATIENCE = 120.0  # seconds without an end or a checkpoint before a process counts as hung
GLANCE = 0.002  # seconds between two looks at a process
IMPORTED = ("sklearn.datasets", "runner.assemble.lanes", "runner.cli.resume", "runner.cli.train",
            "runner.compose", "runner.execution.batch", "runner.execution.launch",
            "runner.recording.tensorboard", "runner.sweeps.launch")  # fmt: skip


class Hung(Exception):
    """A process neither ended nor saved in time; it was killed, the text says what it printed."""


def prepare(home: Path) -> None:
    """Keep what commands decide and find in `home`; import once what each of them imports.

    Forked processes share the imports. No thread has been started and no operation was run when
    they are forked: a child of a process that ran one with two threads would hang.
    """
    os.environ |= {"RUNNER_CACHE": str(home / "cache"), "XDG_CONFIG_HOME": str(home),
                   "NO_COLOR": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
                   "PYTHONPATH": str(Path(__file__).resolve().parents[2])}  # fmt: skip
    from runner.foundation import memory

    with memory.loading():
        import torch

        for name in IMPORTED:
            importlib.import_module(name)
        torch.set_num_threads(1)
    gc.freeze()


class Process:
    """A command that runs, in a process group of its own; `output` is all it prints."""

    def __init__(self, words: Sequence[str], folder: Path, fresh: bool):
        """Start it in `folder`: forked from this process, or with `fresh` a new interpreter."""
        self.output = folder / "output.txt"
        self.started = time.monotonic()
        self._code: int | None = None
        sys.stdout.flush()
        seed = random.getrandbits(32)  # of what a run must not depend on
        self.pid = os.fork()
        with contextlib.suppress(OSError):  # by whichever of the two is first
            os.setpgid(self.pid, self.pid)
        if self.pid == 0:
            _become(words, folder, self.output, fresh, seed)

    def code(self) -> int | None:
        """Return the exit code, -N for death by signal N, or None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def send(self, number: int) -> None:
        """Send a signal to the whole process group, if it is still there."""
        if self.code() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def below(self) -> list[int]:
        """Return the processes that it started, and those they did."""
        return list(_below(self.pid))

    def looking(self) -> Iterator[None]:
        """Let the caller look again and again until the process has ended; raises `Hung`."""
        end = time.monotonic() + PATIENCE
        while self.code() is None:
            if time.monotonic() > end:
                self.kill()
                raise Hung(f"nothing happened for {PATIENCE:.0f} s\n{self.said()}")
            yield
            time.sleep(GLANCE)

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        for _ in self.looking():
            pass
        assert self._code is not None
        return self._code

    def kill(self) -> None:
        """Kill it and all that it started, if it is still there."""
        if self.code() is not None:
            return
        family = self.below()
        self.send(signal.SIGKILL)
        for pid in family:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while self.code() is None:
            time.sleep(GLANCE)

    def said(self) -> str:
        """Return the last lines that it printed."""
        text = self.output.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-25:])


def _become(words: Sequence[str], folder: Path, output: Path, fresh: bool, seed: int) -> NoReturn:
    """Turn a forked child into the command; never come back."""
    code = 1
    try:
        os.chdir(folder)
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        if fresh:
            os.execv(sys.executable, [sys.executable, "-m", "runner", *words])
        import numpy as np
        import torch

        from runner import cli

        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        code = cli.run(list(words))
        sys.stdout.flush()
        sys.stderr.flush()
    except KeyboardInterrupt:  # before the command was ready for it
        code = 128 + signal.SIGINT
    finally:
        os._exit(code)


def _below(pid: int) -> Iterator[int]:
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(child)
            yield from _below(int(child))
