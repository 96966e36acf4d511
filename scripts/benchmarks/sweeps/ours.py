"""The runner's own sweep as a contender: its command, and what it chose."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.sweeps.grid import Grid
from benchmarks.whole import RUNNER
from benchmarks.workloads import WORKLOADS

STEP = {"trace": "traced", "true": "compiled", "false": "eager"}


class Way(NamedTuple):
    """How most jobs of a sweep were trained."""

    lanes: int
    compile: str
    threads: int
    processes: int

    def __str__(self) -> str:
        lanes = f"{self.lanes} lanes" if self.lanes > 1 else "each job alone"
        processes = f"{self.processes} process{'' if self.processes == 1 else 'es'}"
        threads = f"{self.threads} thread{'' if self.threads == 1 else 's'}"
        return f"{lanes}, {STEP[self.compile]}, {processes} of {threads}"


def command(grid: Grid, output: Path) -> list[str]:
    """Return the words that sweep a grid."""
    rates = ",".join(map(str, grid.rates))
    return [*RUNNER, "-m", *WORKLOADS[grid.workload].overrides, f"optimizer.lr={rates}",
            f"seeds={grid.seeds}", f"trainer.epochs={grid.epochs}", f"output_root={output}",
            "name=sweep", f"sweep.max_jobs={max(grid.jobs, 1000)}"]  # fmt: skip


def basic(grid: Grid, output: Path) -> list[str]:
    """Return the same for Hydra's basic launcher."""
    return [*command(grid, output), "hydra/launcher=basic"]


def way(output: Path) -> Way:
    """Return how the jobs of the sweep in a folder were trained, most of them if they differ."""
    (path,) = output.rglob("sweep.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    counts: Counter[Way] = Counter()
    for batch in content["batches"].values():
        each, jobs = batch["way"], len(batch["jobs"])
        found = Way(_lanes(each, jobs), each["compile"], each["threads"], content["processes"])
        counts[found] += jobs
    return counts.most_common(1)[0][0]


def _lanes(way: Mapping[str, Any], jobs: int) -> int:
    """Return how many lanes a batch had: compiled ones are filled up, others two at least."""
    lanes: int = way["lanes"]
    return lanes if lanes == 1 or way["compile"] == "true" else max(2, min(lanes, jobs))
