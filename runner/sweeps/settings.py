"""The section `sweep` of a configuration: what is swept beside the axes, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from runner import config
from runner.foundation.errors import Misconfigured
from runner.foundation.ranges import Count, Natural, Positive


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
