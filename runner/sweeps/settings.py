"""The section `sweep` of a configuration: what is swept beside the axes, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from runner import config
from runner.foundation.errors import Misconfigured
from runner.foundation.ranges import Count, Natural, Positive

CONSENT = "cluster"  # with --trust: what a file tells a cluster, or a plugin of Hydra's, is done


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """What each batch asks Slurm for: null is what the cluster gives by itself."""

    partition: str | None = None
    account: str | None = None
    time: Count = 60  # minutes; a batch that takes longer is requeued and goes on
    gpus: Natural = 0
    cpus: Count = 1
    setup: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Ray:
    """What each batch asks Ray for, and where that is: null is RAY_ADDRESS, or this machine."""

    address: str | None = None
    gpus: Natural = 0
    cpus: Count = 1


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """How a sweep is made of jobs and how they are run; `conf/sweep` says it line by line."""

    grids: list[str | list[str]]
    zip: list[str | list[str]]
    max_jobs: Count
    on_failure: Literal["continue", "stop"]
    retries: Natural
    save_minutes: Positive
    processes: Count | Literal["auto"]
    lanes: Count | Literal["auto"]
    figures: bool = True
    cluster: Literal["slurm", "ray"] | None = None
    slurm: Slurm = field(default_factory=Slurm)
    ray: Ray = field(default_factory=Ray)

    @property
    def zipped(self) -> list[list[str]]:
        """Return the lists of keys whose values go in step."""
        lists = [each for each in self.zip if isinstance(each, list)]
        return lists or [[each for each in self.zip if isinstance(each, str)]]


@dataclass(frozen=True, kw_only=True)
class _Whole:
    sweep: Sweep


def checked(section: Mapping[str, Any]) -> Sweep:
    """Return the section as settings; raises `Misconfigured` with every mistake in it."""
    sweep: Sweep = config.check({"sweep": section}, _Whole).sweep
    if len({type(each) for each in sweep.zip}) > 1:
        raise Misconfigured("sweep.zip: expected keys, or lists of keys, got both")
    return sweep
