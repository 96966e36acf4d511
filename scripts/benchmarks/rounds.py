"""Interleaved rounds: contenders in processes of their own, the baseline before and after each.

A contender's ratio is the mean time of the two baseline rounds around it over its own time, so
that a machine that grows slow for a while is slow for both.
"""

from __future__ import annotations

import os
import select
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "bench"
PATIENCE = 600  # seconds to wait for an answer; compiling takes one


class Missing(Exception):
    """A contender cannot take part; the message says why."""


@dataclass
class Result:
    """What a contender showed: seconds of its rounds and ratios, or why there are none.

    chosen  what it chose for itself, in words
    """

    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    missing: str = ""
    chosen: str = ""


@dataclass(frozen=True)
class Comparison:
    """The results of a workload by contender, the baseline first."""

    workload: str
    steps: int
    rounds: int
    threads: int
    results: dict[str, Result]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the quartiles, the median in the middle."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


class Process:
    """A contender at work in an empty folder, which goes away with it."""

    def __init__(
        self,
        workload: str,
        name: str,
        threads: int,
        steps: int,
        variables: Mapping[str, str] | None = None,
    ):
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        words = [workload, "--serve", name, "--threads", str(threads), "--steps", str(steps)]
        self.errors = Path(self.folder.name, "errors.txt")
        descriptor = os.open(self.errors, os.O_CREAT | os.O_WRONLY)
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=descriptor,
            text=True,
            cwd=self.folder.name,
            env={**os.environ, **(variables or {})},
        )
        os.close(descriptor)

    def answer(self) -> str:
        """Return the next line; raises `Missing` when none comes."""
        assert self.process.stdout
        waiting, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        line = self.process.stdout.readline().strip() if waiting else ""
        if line.startswith("missing "):
            raise Missing(line.removeprefix("missing "))
        if not line:
            raise Missing(self._why() if waiting else f"no answer in {PATIENCE} s")
        return line

    def round(self, steps: int) -> float:
        """Let it train; return the seconds."""
        self.begin(steps)
        return float(self.answer())

    def begin(self, steps: int) -> None:
        """Let it train without waiting for the seconds, its next answer."""
        assert self.process.stdin
        try:
            self.process.stdin.write(f"{steps}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Missing(self._why()) from None

    def _why(self) -> str:
        lines = self.errors.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        return f"the process ended: {last}"

    def close(self) -> None:
        """End the process and remove its folder."""
        self.process.kill()
        self.process.communicate()
        self.folder.cleanup()


def compare(
    workload: str,
    names: Sequence[str],
    *,
    alone: Sequence[str],
    steps: int,
    rounds: int,
    threads: int,
) -> Comparison:
    """Run the rounds of one workload; the first name is the baseline.

    Contenders start several at a time, those in `alone` when no other is busy.
    """  # fmt: skip
    results = {name: Result() for name in names}
    processes: dict[str, Process] = {}

    def start(name: str) -> None:
        processes[name] = Process(workload, name, threads, steps)
        try:
            results[name].chosen = processes[name].answer().removeprefix("ready").strip()
        except Missing as error:
            results[name].missing = str(error)
            processes.pop(name).close()

    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(start, [name for name in names if name not in alone]))
        for name in alone:
            start(name)
        if names[0] in processes:
            _turns(processes, names[0], steps, rounds, results)
    except Missing as error:  # of the baseline, without which there are no ratios
        results[names[0]] = Result(missing=str(error))
    finally:
        for process in processes.values():
            process.close()
    return Comparison(workload, steps, rounds, threads, results)


def _turns(
    processes: dict[str, Process], base: str, steps: int, rounds: int, results: dict[str, Result]
) -> None:
    """Give every contender its turns, in one order and then in the other."""
    before = processes[base].round(steps)
    for turn in range(rounds):
        order = [name for name in results if name in processes and name != base] or [base]
        for name in order if turn % 2 else reversed(order):
            try:
                seconds = processes[name].round(steps)
            except Missing as error:
                results[name] = Result(missing=str(error))
                processes.pop(name).close()
                continue
            after = processes[base].round(steps) if name != base else seconds
            results[name].seconds.append(seconds)
            results[name].ratios.append((before + after) / 2 / seconds)
            if name != base:
                results[base].seconds.append(after)
                results[base].ratios.append(before / after)
            before = after
