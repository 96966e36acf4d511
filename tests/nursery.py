"""A process with torch and the runner loaded, which gives birth to processes that run commands.

Each begins in a hundredth of a second, and dies or is killed as any other.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOADED = ("torch", "yaml", "rich.console", "sklearn", "tensorboard.compat.proto.event_pb2",
          "runner.execution.launch", "runner.cli.train", "runner.cli.resume", "runner.compose",
          "runner.recording.tensorboard")  # fmt: skip


@dataclass
class Child:
    """A process that runs a command; what it prints goes into a file."""

    pid: int
    output: Path
    wait: Callable[[float], int]  # (seconds) -> exit code, negative for a signal that killed it

    def says(self, word: str, seconds: float = 60) -> None:
        """Wait until it has printed a word; raises `TimeoutError`."""
        until = time.monotonic() + seconds
        while word not in self.output.read_text():
            if time.monotonic() > until:
                raise TimeoutError(f"no '{word}' in {self.output.read_text()!r}")
            time.sleep(0.002)

    def send(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)


@contextlib.contextmanager
def nursery(prepared: str = "") -> Iterator[Callable[..., Child]]:
    """Give `begin(output, code, words)`: a process that runs code, then `runner` with words.

    `prepared` is code that runs once, before all; it must not run an operation of torch's.
    """
    one = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    with subprocess.Popen(
        [sys.executable, __file__, prepared], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, bufsize=1, env={**os.environ, **one, "PYTHONPATH": path},
    ) as mother:  # fmt: skip
        assert mother.stdin is not None
        assert mother.stdout is not None
        told, heard = mother.stdin, mother.stdout

        def answer(request: Any) -> int:
            print(json.dumps(request), file=told, flush=True)
            return int(heard.readline())

        def begin(output: Path, code: str = "", words: list[str] | None = None) -> Child:
            output.write_text("")
            pid = answer((str(output), os.getcwd(), code, words))

            def wait(seconds: float) -> int:
                print(pid, file=told, flush=True)
                if not select.select([heard], [], [], seconds)[0]:
                    os.kill(pid, signal.SIGKILL)
                    heard.readline()
                    raise TimeoutError(f"still there after {seconds} s: {output.read_text()}")
                return int(heard.readline())

            return Child(pid, output, wait)

        try:
            yield begin
        finally:
            told.close()


def _serve() -> int:
    """Fork for each request; the child returns, with its exit code."""
    import importlib

    for name in LOADED:
        importlib.import_module(name)
    import torch

    torch.set_num_threads(1)  # before any operation: threads do not survive a fork
    exec(sys.argv[1], {})
    for line in sys.stdin:
        request = json.loads(line)
        if isinstance(request, int):
            status = os.waitpid(request, 0)[1]
            print(os.waitstatus_to_exitcode(status), flush=True)
        elif pid := os.fork():
            print(pid, flush=True)
        else:
            return _run(*request)
    return 0


def _run(output: str, folder: str, code: str, words: list[str] | None) -> int:
    from runner import __main__

    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(folder)
    exec(code, {})
    if words is None:
        return 0
    sys.argv[1:] = words
    return __main__.main()


if __name__ == "__main__":
    sys.exit(_serve())
