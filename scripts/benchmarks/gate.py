"""The gate that every contender passes once a step: it ends rounds and times them.

A contender trains without end and knows nothing of rounds. At the end of one the gate reports
the seconds it took and waits for a line that says how many steps the next one has.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import NoReturn, TextIO

from torch import Tensor, nn

from benchmarks.workloads import Workload


class Gate:
    """Count steps; stop at the end of each round until the next is asked for."""

    def __init__(self, channel: TextIO, warm: int):
        self.channel, self.left, self.started = channel, warm, 0.0
        self.chosen = ""  # by a contender that chooses for itself, in words

    def __call__(self) -> None:
        """Pass, unless the round is over."""
        self.left -= 1
        if self.left < 0:
            self._turn()

    def warm(self, steps: int) -> None:
        """Let at least so many steps pass before the contender is ready."""
        self.left = max(self.left, steps)

    def _turn(self) -> None:
        seconds = time.perf_counter() - self.started
        self._say(f"{seconds}" if self.started else f"ready {self.chosen}")
        line = sys.stdin.readline()
        if not line:
            os._exit(0)  # a framework would catch an exception, save and say goodbye
        self.left, self.started = int(line) - 1, time.perf_counter()

    def missing(self, reason: str) -> NoReturn:
        """Say why this contender does not take part, and leave."""
        self._say(f"missing {reason}")
        os._exit(1)

    def _say(self, text: str) -> None:
        self.channel.write(f"{text}\n")
        self.channel.flush()


@dataclass(frozen=True)
class Task:
    """What a contender is given: what to train, with how many threads, and the gate."""

    workload: Workload
    threads: int
    gate: Gate


class Criterion(nn.CrossEntropyLoss):
    """The loss of contenders whose loop is not ours to change: once a step, through the gate."""

    def __init__(self, gate: Gate):
        super().__init__()
        self.gate = gate

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of a batch."""
        self.gate()
        return super().forward(input, target)


def channel() -> TextIO:
    """Return the standard output for the gate alone; what others print goes nowhere."""
    private = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return private


def reason(error: BaseException) -> str:
    """Return in one line why a contender could not start."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
