"""The coordinator: decides how the jobs of a sweep are trained, cuts them into batches.

It never computes with torch itself, so that its workers can be forked from it at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from runner.foundation.errors import BadData
from runner.sweeps import batches
from runner.sweeps.foreman import Foreman
from runner.sweeps.state import SETTLED


class Coordinator(Foreman):
    """Bring every asked job of a sweep to an end."""

    def run(self, again: Container[str] | None = None) -> None:
        """Go on with what was cut, cut the rest into batches, train.

        What failed before is tried again: all of it, or the jobs in `again`.
        """
        self.begin(again)
        while not self._ended() and (self.queue or self.crew.busy()):
            self._hand_out()
            self._listen()
        self.state.save(now=True)

    def begin(self, again: Container[str] | None) -> None:
        """Queue the batches that there are to train, pinned; raises `BadData`."""
        self._verify_data()
        self._put_back(lambda key: again is None or key in again)
        self.queue.extend(batches.unfinished(self.state))
        self._cut_pending()
        self.state.save(now=True)
        self.view.began()

    def _put_back(self, hopeful: Callable[[str], bool]) -> None:
        """Try again what failed in an earlier command, or was cut as a run of its own."""
        unfinished = set(batches.unfinished(self.state))
        for name, batch in list(self.state.batches.items()):
            if name not in unfinished or batch.get("died"):
                batches.again(self.state, name, hopeful)
        for key, entry in self.state.asked().items():  # without a batch
            broken = entry["state"] in ("failed", "interrupted")
            if broken and entry["batch"] is None and hopeful(key):
                if entry["state"] == "interrupted":
                    self.own.add(key)
                batches.anew(self.state, key)

    def _verify_data(self) -> None:
        """Raise `BadData` if jobs that are to go on were trained on other data than there is."""
        missing = {repr(settings.dataset) for key, settings in self.settings.items()
                   if self.state.jobs[key]["state"] not in SETTLED}  # fmt: skip
        trained: dict[tuple[str, int, str], str] = {}  # a job of each data, threads, checksum
        for key, settings in self.settings.items():
            entry, name = self.state.jobs[key], repr(settings.dataset)
            if entry["data"] and entry["batch"] and name in missing:
                threads = self.state.batches[entry["batch"]]["way"]["threads"]
                trained[name, threads, entry["data"]] = key
        for known in self.state.verified & trained.keys():
            del trained[known]
        if not trained or self._ended():
            return
        found = self._asked("data", {key: threads for (_, threads, _), key in trained.items()})
        if self._fault is not None:
            raise BadData(f"{self.state.folder}: {self._fault.message}")
        for (*_, recorded), key in trained.items():
            if found and found[key] != recorded:
                job = self.state.folder_of(key)
                raise BadData(f"{job}: data hash differs: recorded {recorded}, found {found[key]}")
        self.state.verified |= trained.keys()

    # From groups to batches

    def _cut_pending(self) -> None:
        asked = self.state.asked()
        pending = {key for key, entry in asked.items()
                   if entry["state"] == "pending" and entry["batch"] is None}  # fmt: skip
        every = list(self.settings)
        groups = self.work.engine.groups(list(self.settings.values())) if pending else []
        found: list[tuple[list[str], Any]] = []
        for group in groups:
            members = [every[at] for at in group.members]
            if not (jobs := [key for key in members if key in pending]):
                continue
            way = self._pinned_way(members, len(jobs)) or self._way_of(jobs)
            if way is not None:
                found.append((jobs, way))
                self._say_mixed(members, jobs, way)
        for way in dict.fromkeys(way for _, way in found):
            self._say(sum(len(jobs) for jobs, own in found if own == way), way)
        if self.rules.automatic and found:
            threads = max(way.threads for _, way in found)
            self.processes = max(min(self.processes, self.rules.processors // threads), 1)
        self.queue.extend(self._pinned(found))
        if found:
            used = min(self.processes, len(self.queue))
            self.state.head(processes=used, threads=max(way.threads for _, way in found))

    def _pinned_way(self, jobs: Sequence[str], more: int) -> Any:
        """Return how others of a group were trained: numbers of one table come about in one way.

        None where the new ones are the greater part, or fewer lanes are asked for now.
        """
        pinned = [batch for key in jobs if (batch := self.state.jobs[key]["batch"]) is not None]
        if len(pinned) < more:
            return None
        way = self.work.engine.way(**self.state.batches[pinned[0]]["way"])
        return way if way.lanes <= (self.rules.lanes or way.lanes) else None

    def _way_of(self, jobs: Sequence[str]) -> Any:
        """Let a worker find out how a group is best trained; None if it could not or must stop.

        Where that kills the worker each job trains alone, to kill none but itself.
        """
        if self._ended():
            return None
        way = self._asked("way", list(jobs), self.processes, self.rules.lanes)
        if self._fault is not None and self._died and not self.stopping:
            reason = f"trying how to train them together: {self._fault.message}"
            way = self._asked("way", list(jobs), self.processes, 1)
            way = way and way._replace(reason=reason)
        if self._fault is not None and not self.stopping:
            for key in jobs:
                self._fail(key, self._fault)
        return way

    def _say(self, jobs: int, way: Any) -> None:
        count = f"{jobs} job{'' if jobs == 1 else 's'}"
        how = f"up to {way.lanes} as lanes" if way.lanes > 1 else "each alone"
        step = {"trace": "traced", "true": "compiled", "false": "eager"}[way.compile]
        threads = f"{way.threads} thread{'' if way.threads == 1 else 's'} a process"
        reason = f": {way.reason}" if way.reason else ""
        self.view.terminal.line(f"{count}  {how}, {step}, {threads}{reason}")

    def _say_mixed(self, members: Sequence[str], jobs: Sequence[str], way: Any) -> None:
        """Say where others of a group, or these jobs themselves, were trained in another way."""
        own = {batches.TRAINED[False] for key in jobs if key in self.own}
        others = {batches.trained(self.state, key) for key in members} - {""}
        for before in sorted(own | others):
            if before != (now := batches.TRAINED[way.lanes > 1]):
                count = f"{len(jobs)} of {len(members)} jobs"
                self.view.terminal.warn(f"not bit-exact: trained {before} -> {now}, {count}"
                                        f"{way.reason and f' ({way.reason})'}")  # fmt: skip

    def _pinned(self, found: Sequence[tuple[list[str], Any]]) -> list[str]:
        """Cut groups into batches and pin them; the largest come first."""
        most = [(len(jobs), self._most(jobs, way)) for jobs, way in found]
        sizes = batches.cut(most, self.processes)
        names = []
        for (jobs, way), counts in zip(found, sizes, strict=True):
            rest = iter(jobs)
            for count in counts:
                members = [next(rest) for _ in range(count)]
                names.append(batches.pin(self.state, members, way._asdict()))
        return sorted(names, key=lambda name: -len(self.state.batches[name]["jobs"]))

    def _most(self, jobs: Sequence[str], way: Any) -> int:
        """Return how many jobs are a batch at most."""
        return int(way.lanes)
