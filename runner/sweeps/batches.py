"""Batches: the jobs that one process trains at once, cut evenly and pinned in sweep.json."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from runner.foundation.errors import BadData, Unwritable
from runner.recording import directory
from runner.sweeps.state import FINAL, State

NOT_ITS_OWN = (BadData.exit_code, Unwritable.exit_code)  # faults that are no job's own


TRAINED = {True: "as lanes", False: "alone"}


def cut(groups: Sequence[tuple[int, int]], processes: int) -> list[list[int]]:
    """Return the sizes of the batches of each group, given its (jobs, lanes at most).

    As few batches as the lanes allow, then more until every process has as many: the largest
    are cut finer, so that (9, 8) for two processes gives 5 + 4.
    """
    counts = [math.ceil(jobs / lanes) for jobs, lanes in groups]
    while sum(counts) % processes:
        size, at = max((groups[at][0] / counts[at], -at) for at in range(len(groups)))
        if size <= 1:
            break
        counts[-at] += 1
    return [
        [jobs // count + (at < jobs % count) for at in range(count)]
        for (jobs, _), count in zip(groups, counts, strict=True)
    ]


def pin(state: State, jobs: Sequence[str], way: dict[str, Any]) -> str:
    """Write down that these jobs are trained together, and how; return the batch's name."""
    name = f"b{len(state.batches):03d}"
    state.batches[name] = {"jobs": list(jobs), "way": way}
    for key in jobs:
        state.change(key, batch=name)
    return name


def members(state: State, name: str) -> list[str]:
    """Return the jobs a batch was pinned with, less those no longer asked for or tried anew."""
    asked = state.asked()
    return [key for key in state.batches[name]["jobs"]
            if key in asked and asked[key]["batch"] == name]  # fmt: skip


def trained(state: State, key: str) -> str:
    """Return how a job was or is to be trained: as lanes or alone; nothing where that is open."""
    entry = state.jobs[key]
    if entry["batch"] is not None:
        return TRAINED[state.batches[entry["batch"]]["way"]["lanes"] > 1]
    return "" if entry["state"] in ("pending", "failed") else TRAINED[False]  # a run of its own


def unfinished(state: State) -> list[str]:
    """Return the batches that have been begun or pinned, and not brought to an end.

    One of which no job began and some are no longer asked for is undone, to be cut anew, unless it
    was sent to a cluster, which may be at it.
    """
    names = []
    for name, batch in state.batches.items():
        found = members(state, name)
        states = {state.jobs[key]["state"] for key in found}
        if states == {"pending"} and found != batch["jobs"] and "sent" not in batch:
            for key in found:
                state.change(key, batch=None)
        elif states - set(FINAL):
            names.append(name)
            for key in batch["jobs"]:  # what goes on without them keeps nothing of them
                entry = state.jobs[key]
                if key not in found and entry["batch"] == name and entry["state"] not in FINAL:
                    anew(state, key)
    return names


def again(state: State, name: str, hopeful: Callable[[str], bool]) -> list[str]:
    """Let those failed jobs of a batch that is over be tried again for which there is hope.

    Returns them. Those whose process died, whose data could not be read or whose files could not
    be written go on, together, where the batch was saved last. One of several whose process died
    before anything was saved begins anew in a batch of its own, to kill none but itself. A job that
    failed by itself begins anew, in another batch.
    """
    batch = state.batches[name]
    failed = [key for key in members(state, name)
              if state.jobs[key]["state"] == "failed" and hopeful(key)]  # fmt: skip
    died = batch.get("died", [])
    for key in failed:
        code = directory.status(state.folder_of(key)).get("exit_code")
        killed = key in died
        if killed:
            died.remove(key)
        if killed and len(batch["jobs"]) > 1 and not _saved(state, name, key):
            anew(state, key)
            pin(state, [key], batch["way"])
        elif killed or code in NOT_ITS_OWN:
            state.change(key, state="interrupted", ended=None, message=None)
            folder = state.folder_of(key)
            directory.set_status(folder, state="interrupted", exit_code=None, message=None)
        else:
            anew(state, key)
    return failed


def _saved(state: State, name: str, key: str) -> bool:
    """Tell whether a batch's folder has something of a job: of all together, or its own."""
    folder = state.folder / directory.BATCHES / name
    return any(each.is_file() for part in (folder, folder / key) for each in part.glob("[!.]*"))


def anew(state: State, key: str) -> None:
    """Let a job begin from its start, in a batch yet to be pinned."""
    folder = state.folder_of(key)
    if (folder / directory.CHECKPOINTS).is_dir():  # it was a run of its own
        shutil.rmtree(folder)
    for name in (directory.STATUS, directory.ERROR):
        (folder / name).unlink(missing_ok=True)
    state.change(key, state="pending", batch=None, ended=None, message=None, data=None)
