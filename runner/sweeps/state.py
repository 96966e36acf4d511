"""sweep.json: the plan of a sweep and where each of its jobs stands.

{"format": 1, "name", "overrides": as typed, "swept": keys, "objective", "direction", "created",
 "processes", "threads",
 "jobs": {id: {"directory", "swept": {key: value}, "overrides": complete, "state", "batch",
               "attempts", "started", "ended", "value", "message", "data": its checksum,
               "asked": false if it is not}},
 "batches": {name: {"jobs": ids, "way": {...}, "died": ids that failed when its process died}}}

A job's own status.json is the truth about it; this file may lag behind by a second.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.foundation.errors import UnusableCheckpoint
from runner.foundation.files import misfits, read_json, write_json
from runner.recording import directory
from runner.reports.results import FINAL, outcome, value_of

if TYPE_CHECKING:
    from runner.sweeps.plan import Job

FORMAT = 1
SETTLED = ("finished", "diverged")  # is not run again
STATES = ("running", "pending", "finished", "diverged", "failed", "interrupted")
PAUSE, SHARE = 1.0, 0.02  # seconds between two writings; their share of the time
Entry = dict[str, Any]


class State:
    """What sweep.json holds; whoever changes it holds the sweep's lock."""

    def __init__(self, folder: Path):
        """Read the file, if there is one; raises `UnusableCheckpoint` for one of another format."""
        self.folder, self.path = folder, folder / directory.SWEEP
        self.content = read_json(self.path)
        if self.path.exists() and self.content.get("format") != FORMAT:
            found = self.content.get("format", "nothing readable")
            raise UnusableCheckpoint(f"{self.path}: expected format {FORMAT}, got {found}")
        jobs, pinned = self.content.get("jobs", {}), (None, *self.content.get("batches", {}))
        lost = [f"jobs.{key}.batch" for key, job in jobs.items() if job.get("batch") not in pinned]
        absent = [
            f"jobs.{key}.{name}" for key, job in jobs.items() for name in _NEEDED - job.keys()
        ]
        if wrong := [*misfits(self.path), *lost, *absent]:
            raise UnusableCheckpoint(f"{self.path}: {wrong[0]} is not what a sweep has there")
        self.content = {"format": FORMAT, "created": time.time(), **self.content}
        self.jobs: dict[str, Entry] = self.content.setdefault("jobs", {})
        self.batches: dict[str, Entry] = self.content.setdefault("batches", {})
        self.verified: set[tuple[str, int, str]] = set()  # data, by name, threads and checksum
        self._changed, self._due = False, 0.0

    def asked(self) -> dict[str, Entry]:
        """Return the jobs that the newest command asked for."""
        return {key: entry for key, entry in self.jobs.items() if entry.get("asked", True)}

    def counts(self) -> Counter[str]:
        """Return how many of the asked jobs are in each state."""
        return Counter(entry["state"] for entry in self.asked().values())

    def folder_of(self, key: str) -> Path:
        """Return a job's directory."""
        return self.folder / self.jobs[key]["directory"]

    def head(self, **values: Any) -> None:
        """Set what is said of the sweep as a whole."""
        self.content |= values
        self._changed = True

    def goal(self, objective: str | None, direction: str | None) -> None:
        """Note what the jobs go by, once it is known; better is max or min."""
        if objective and not self.content.get("objective"):
            self.head(objective=objective, direction=direction)

    def change(self, key: str, **values: Any) -> None:
        """Set what is said of a job; it is written with the next `save`."""
        self.jobs[key] |= values
        self._changed = True

    def save(self, now: bool = False) -> None:
        """Write what changed: at once, or once a second and less often where that takes long."""
        before = time.monotonic()
        if not self._changed or (before < self._due and not now):
            return
        head = {key: value for key, value in self.content.items() if key not in ("jobs", "batches")}
        write_json(self.path, {**head, "jobs": self.jobs, "batches": self.batches})
        after = time.monotonic()
        self._changed, self._due = False, after + max(PAUSE, (after - before) / SHARE)

    def reconcile(self) -> None:
        """Believe the jobs' own status.json, nobody being at work on them.

        A job that says it is running was cut. One that is without a status has not begun.
        """
        for key, entry in self.jobs.items():
            status = directory.status(self.folder_of(key))
            found = status.get("state")
            entry["data"] = status.get("data")
            if found is None and entry["state"] == "running":  # it was about to begin
                self.change(key, state="pending")
            elif found is None:
                if entry["state"] != "pending":  # its directory was deleted
                    self.change(key, **_fresh())
            elif found == "running":
                self.change(key, state="interrupted")
            elif found in STATES and (found != entry["state"] or entry["ended"] is None):
                self.change(key, state=found, message=_line(status.get("message")))
                self._believe(key, status)

    def _believe(self, key: str, status: Mapping[str, Any]) -> None:
        """Fill in what the summary would have said, had there been time to write it."""
        folder = self.folder_of(key)
        entry = self.jobs[key]
        entry["started"] = entry["started"] or status.get("started")
        if entry["state"] in FINAL:
            entry["ended"] = (folder / directory.STATUS).stat().st_mtime
        if entry["state"] == "finished" and entry["value"] is None:
            self.change(key, value=self.value(key))

    def merge(self, jobs: Iterable[Job]) -> None:
        """Ask for these jobs: known ones stay as they are, others are kept but not asked for."""
        before, known, asked = self.asked().keys(), dict(self.jobs), {}
        taken = {entry["directory"] for entry in known.values()}
        for job in jobs:
            entry = known.pop(job.id, None)
            if entry is None:
                name = self._free(job, taken)
                taken.add(name)
                entry = {"directory": name, **_fresh(), "attempts": 0}
            entry.pop("asked", None)
            asked[job.id] = entry | {"swept": dict(job.swept), "overrides": list(job.overrides)}
        for entry in known.values():
            entry["asked"] = False
        self.jobs = self.content["jobs"] = asked | known
        self._changed = True
        if asked.keys() != before:
            self._aim()

    def _aim(self) -> None:
        """Go by what the jobs go by that are asked for now."""
        self.head(objective=None, direction=None)
        for key, entry in self.asked().items():
            if entry["state"] == "finished":
                self.change(key, value=self.value(key))

    def value(self, key: str) -> float | None:
        """Return what a finished job came to by what the sweep goes by: the first one's goal."""
        summary = read_json(self.folder_of(key) / directory.SUMMARY)
        found = outcome(summary)
        self.goal(found["objective"], found["direction"])
        return value_of(summary, self.content.get("objective"))

    def _free(self, job: Job, taken: set[str]) -> str:
        """Return a directory's name that is no other job's."""
        names = [job.directory, f"{job.directory}-{job.id[:4]}", f"{job.directory}-{job.id}"]
        return next(
            name for name in names if name not in taken and not (self.folder / name).exists()
        )


_NEEDED = {"directory", "state", "swept", "batch", "attempts", "started", "ended", "value"}


def _fresh() -> Entry:
    return {"state": "pending", "batch": None, "started": None, "ended": None, "value": None,
            "message": None, "data": None}  # fmt: skip


def _line(text: str | None) -> str | None:
    return text.splitlines()[0] if text else None


def counted(counts: Mapping[str, int]) -> str:
    """Return `24 jobs: 20 finished, 4 failed`."""
    parts = [f"{counts[state]} {state}" for state in STATES if counts.get(state)]
    total = sum(counts.values())
    return f"{total} job{'' if total == 1 else 's'}: {', '.join(parts) or 'none'}"


def best(content: Mapping[str, Any]) -> tuple[float, Entry] | None:
    """Return the best objective of the finished jobs and the job, as far as that is known."""
    found = [(each["value"], each) for each in content.get("jobs", {}).values()
             if each.get("asked", True) and each.get("state") == "finished"
             and each.get("value") is not None]  # fmt: skip
    choose = {"max": max, "min": min}.get(content.get("direction") or "")
    return choose(found, key=lambda each: each[0]) if choose and found else None


def looked_at(folder: Path, running: bool) -> tuple[dict[str, Any], Counter[str]]:
    """Return sweep.json and the counts of its asked jobs, for those who only look.

    Where nobody is at work (`running` False), what says it runs was cut.
    """
    content = read_json(folder / directory.SWEEP)
    entries = [each for each in content.get("jobs", {}).values() if each.get("asked", True)]
    counts = Counter(str(each.get("state", "unknown")) for each in entries)
    if not running:
        counts["interrupted"] += counts.pop("running", 0)
    return content, +counts
