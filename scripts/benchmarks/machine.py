"""The machine: its name, its versions, and how fast it multiplies matrices and copies memory."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.workloads import CLASSES, Workload

SIZE = 2048  # of the matrices
COPIED = 64 << 20  # numbers of float32, far more than any cache holds
REPEATS = 8
PACKAGES = ("torch", "hydra-core", "joblib", "lightning", "pytorch-ignite", "keras", "skorch",
            "accelerate", "fastai")  # fmt: skip


@dataclass(frozen=True)
class Roofline:
    """What the hardware gives, by the number of threads.

    gemm    FLOP/s of a product of two matrices in float32
    copied  bytes/s read and written in a copy
    """

    gemm: dict[int, float]
    copied: dict[int, float]


def roofline(*threads: int) -> Roofline:
    """Measure with each number of threads; the best of several tries, as others may be at work."""
    before = torch.get_num_threads()
    gemm, copied = {}, {}
    for count in sorted(set(threads)):
        torch.set_num_threads(count)
        a, b = torch.randn(2, SIZE, SIZE)
        product = torch.empty(SIZE, SIZE)
        gemm[count] = 2 * SIZE**3 / _best(partial(torch.mm, a, b, out=product))
        source, target = torch.zeros(COPIED), torch.zeros(COPIED)
        copied[count] = 2 * source.nbytes / _best(partial(target.copy_, source))
    torch.set_num_threads(before)
    return Roofline(gemm, copied)


def _best(call: Callable[[], object]) -> float:
    """Return the seconds of the fastest of some calls."""
    taken = []
    for _ in range(REPEATS):
        before = time.perf_counter()
        call()
        taken.append(time.perf_counter() - before)
    return min(taken)


def flops(workload: Workload) -> int:
    """Count the FLOPs of a step: products and convolutions, forward and backward.

    What goes element by element is not counted, nor is the update.
    """
    model, counter = workload.model(), FlopCounterMode(display=False)
    x, y = torch.randn(workload.batch, *workload.shape), torch.randint(CLASSES, (workload.batch,))
    with counter:
        torch.nn.functional.cross_entropy(model(x), y).backward()
    return counter.get_total_flops()


def processor() -> str:
    """Return the processor's name, and how many of its cores this process may use."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not on Linux
        text = ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def versions() -> str:
    """Return the versions of Python, torch and the frameworks that are installed."""
    found = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)
