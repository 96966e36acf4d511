"""Whole processes, from their start to their end: a training run, and looking around."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUNNER = (sys.executable, "-m", "runner")

# The first of each is what the others are held against.
TRAINING = {
    "plain script": (sys.executable, str(HERE / "plain_digits.py")),
    "runner": RUNNER,
}
LOOKING = {
    "import hydra": (sys.executable, "-c", "import hydra"),
    "runner --help": (*RUNNER, "--help"),
    "runner list": (*RUNNER, "list"),
}


class Spent(NamedTuple):
    """What a process took, in seconds: on the clock, and of the processor."""

    clock: float
    processor: float


def spend(command: Sequence[str], variables: Mapping[str, str] | None = None) -> Spent:
    """Run a command in an empty folder; a `RuntimeError` says why it failed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(variables or {})}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
        before = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=errors, cwd=folder, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - before
        process.returncode = os.waitstatus_to_exitcode(status)  # it is waited for already
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command)}: {errors.read()[-300:]}")
    return Spent(seconds, usage.ru_utime + usage.ru_stime)


def interleaved(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[Spent]]:
    """Run each command once unmeasured, so that its files are in memory, then in turns."""
    spent: dict[str, list[Spent]] = {name: [] for name in commands}
    for command in commands.values():
        spend(command)
    for turn in range(rounds):
        for name in list(commands)[:: 1 if turn % 2 else -1]:
            spent[name].append(spend(commands[name]))
    return spent
