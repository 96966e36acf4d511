"""A sweep as a tuned script in plain torch: job after job, or so many at a time with joblib.

    python -m benchmarks.sweeps W1 --jobs 64 --epochs 60 --workers 2 --output DIR

Tuned: the data set as tensors, normalized once for all jobs, batches by index, augmented as a
whole, the fused optimizer. A job validates after each epoch, keeps the best weights and leaves the
files that a job of the runner does: configuration, metrics, summary, weights, an event file.
"""

from __future__ import annotations

import copy
import functools
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from benchmarks.by_hand import optimizer_of
from benchmarks.feeds import Ready
from benchmarks.sweeps.grid import Grid, Job
from benchmarks.workloads import WORKLOADS, parts, statistics

# Whichever is faster for a single job, and the rows that are measured at once.
THREADS = {"W1": 1, "W2": 2, "W3": 2}
BLOCK = {"W1": 1024, "W2": 1024, "W3": 128}


class Fed(NamedTuple):
    """Training batches, and all rows of each split, normalized."""

    batches: Ready
    splits: dict[str, tuple[Tensor, Tensor]]


@functools.cache
def fed(workload: str) -> Fed:
    """Return the data, read once in a process."""
    given = parts(WORKLOADS[workload])
    mean, deviation = statistics(given["train"].x)
    splits = {
        name: (each.x.float().sub_(mean).div_(deviation), each.y) for name, each in given.items()
    }
    return Fed(Ready(WORKLOADS[workload], given["train"]), splits)


def sweep(grid: Grid, workers: int, output: Path) -> None:
    """Train every job of a grid."""
    jobs = list(grid.each())
    if workers == 1:
        for job in jobs:
            train(grid, job, output, THREADS[grid.workload])
        return
    from joblib import Parallel, delayed

    Parallel(n_jobs=workers)(delayed(train)(grid, job, output, 1) for job in jobs)


def train(grid: Grid, job: Job, output: Path, threads: int) -> None:
    """Train a job and write its files."""
    torch.set_num_threads(threads)
    torch.manual_seed(job.seed)
    started = time.time()
    folder = output / f"lr{job.lr}-seed{job.seed}"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump({**grid._asdict(), **job._asdict()}))
    workload, (batches, splits) = WORKLOADS[grid.workload], fed(grid.workload)
    model = workload.model()
    optimizer = optimizer_of(workload, model.parameters(), fused=True, lr=job.lr)
    step, total = 0, grid.epochs * len(batches)
    best, weights = -math.inf, {}
    block = BLOCK[grid.workload]
    with SummaryWriter(folder) as writer, (folder / "metrics.jsonl").open("w") as rows:
        for epoch in range(1, grid.epochs + 1):
            losses = torch.zeros(())
            for x, y in batches:
                for group in optimizer.param_groups:
                    group["lr"] = job.lr * (1 + math.cos(math.pi * step / total)) / 2
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses += loss.detach()
                step += 1
            valid = measure(model, *splits["valid"], block)
            row = {"train/loss": float(losses) / len(batches),
                   **{f"valid/{name}": value for name, value in valid.items()}}  # fmt: skip
            rows.write(json.dumps({"step": step, "epoch": epoch, **row}) + "\n")
            for name, value in row.items():
                writer.add_scalar(name, value, step)
            if valid["accuracy"] > best:
                best, weights = valid["accuracy"], copy.deepcopy(model.state_dict())
    model.load_state_dict(weights)
    torch.save(weights, folder / "best.pt")
    results = {name: measure(model, *split, block) for name, split in splits.items()}
    summary = {**results, "best": best, "steps": step, "seconds": time.time() - started}
    (folder / "summary.json").write_text(json.dumps(summary, indent=2))


@torch.inference_mode()
def measure(model: nn.Module, x: Tensor, y: Tensor, block: int) -> dict[str, float]:
    """Return loss and accuracy, so many rows at a time."""
    model.eval()
    outputs = torch.cat([model(rows) for rows in x.split(block)])
    model.train()
    correct = (outputs.argmax(1) == y).float().mean()
    return {"loss": F.cross_entropy(outputs, y).item(), "accuracy": correct.item()}


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line and train."""
    import argparse

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workload", choices=list(THREADS))
    for name in ("jobs", "epochs", "workers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(words)
    sweep(Grid(options.workload, options.jobs, options.epochs), options.workers, options.output)
