"""Run directories: made exclusively, found again by a few characters, listed newest first.

outputs/<experiment>/<id>/            id: time, name or shortened overrides, short hash
                                      (1432-adam-lr0.01-3f2a), so that TensorBoard's legend reads
outputs/<experiment>/<sweep>/<job>/   a job of a sweep, named by its swept values; the sweep's own
                                      directory has no status but a sweep.json
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.foundation import forms
from runner.foundation.errors import Misconfigured, Unwritable, did_you_mean, shown
from runner.foundation.files import flat, held, read_json, read_yaml, unwritable, write_json

STATUS, CONFIG, OVERRIDES = "status.json", "config.yaml", "overrides.yaml"
BATCHES = "batches"  # of a sweep, with the checkpoints of its jobs
FINGERPRINT = "fingerprint.json"  # of a batch: what its bits depend on
METRICS, TIMING, SUMMARY = "metrics.jsonl", "timing.jsonl", "summary.json"
PROBES, DIAGNOSIS = "probes.jsonl", "diagnosis.json"
MISTAKES = "mistakes.json"
LOGS = (METRICS, TIMING, PROBES, "events.out.tfevents.*")  # what only grows
ENVIRONMENT, CHECKPOINTS, LOG, ERROR = "environment.json", "checkpoints", "run.log", "error.txt"
SWEEP = "sweep.json"
_LONGEST = 60
_NOT_SHOWN = ("name", "output_root", "threads", "device", "dataset.root", "experiment")


def create(root: Path, experiment: str | None, name: str | None, overrides: list[str]) -> Path:
    """Make a new run directory, which no other process can have made too."""
    parent = root / (experiment or "default").replace("/", "-")
    label = name or shortened(overrides)
    for attempt in range(1000):
        unique = f"{time.time_ns()}/{os.getpid()}/{attempt}"
        short = hashlib.sha256(unique.encode()).hexdigest()[:4]
        parts = [time.strftime("%H%M"), label, short]
        directory = parent / "-".join(part for part in parts if part)
        try:
            parent.mkdir(parents=True, exist_ok=True)
            directory.mkdir()
            (directory / CHECKPOINTS).mkdir()
        except FileExistsError:
            continue
        except OSError as error:
            raise unwritable(directory, error) from error
        return directory
    raise Unwritable(f"{parent}: no free directory name for '{label}'")


def shortened(overrides: list[str]) -> str:
    """Return what was overridden in a few characters: `optimizer=adam optimizer.lr=0.01` gives
    `adam-lr0.01`."""
    parts = []
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key.startswith("~") or key in _NOT_SHOWN:
            continue
        leaf = key.rpartition(".")[2] if "." in key or key == "seed" else ""
        parts.append(re.sub(r"[^A-Za-z0-9.,_-]+|-(?!\d)", "", f"{leaf}{value}"))
    return "-".join(filter(None, parts))[:_LONGEST].rstrip("-.")


def runs(root: Path) -> list[Path]:
    """Return the directories of runs and of sweeps under a root, newest first."""
    found = [path.parent for name in (STATUS, SWEEP) for path in root.glob(f"*/*/{name}")]
    return sorted(found, key=lambda run: (started(run), run.name), reverse=True)


def jobs(sweep: Path) -> list[Path]:
    """Return the directories of a sweep's jobs that have begun, by name."""
    return sorted(path.parent for path in sweep.glob(f"*/{STATUS}"))


def is_sweep(folder: Path) -> bool:
    """Tell a sweep's directory from a run's."""
    return os.path.isfile(folder / SWEEP)  # Path.is_file raises for names that are too long


def at_work(sweep: Path) -> bool:
    """Tell whether a process trains jobs of a sweep, here or on a cluster that locks for all."""
    return any(held(each) for each in (sweep, *sweep.glob("cluster/*")))


def started(run: Path) -> float:
    """Return when a run or a sweep began, in seconds since 1970."""
    if is_sweep(run):
        return float(read_json(run / SWEEP).get("created") or 0.0)
    return float(read_json(run / STATUS).get("started") or 0.0)


def find(word: str, root: Path, *, sweeps: bool = False) -> Path:
    """Return the run directory that a path, `last` or a unique part of an id means.

    The beginning of an id goes before a part of it, a run or sweep before a job of a sweep, which
    is called `<sweep>/<job>` or by its own name. A sweep is for those who ask for `sweeps`.
    """
    folder = _meant(word, root)
    if sweeps or not is_sweep(folder):
        return folder
    begun = jobs(folder)
    example = f", such as {folder.name}/{begun[0].name}" if begun else ""
    raise Misconfigured(f"{folder} is a sweep: name one of its {len(begun)} jobs{example}")


def _meant(word: str, root: Path) -> Path:
    path = Path(word)
    if os.path.isfile(path / STATUS) or is_sweep(path):
        return path
    known = runs(root)
    if word == "last" and known:
        return known[0]
    names = [(run.name, run) for run in known]
    inside: list[tuple[str, Path]] = []
    if not (matches := _matches(word, names)):
        inside = [(_called(job, "/" in word), job) for sweep in known for job in jobs(sweep)]
        matches = _matches(word, inside)
    if len(matches) == 1:
        return matches[0][1]
    if matches:
        candidates = ", ".join(_called(run, is_sweep(run.parent)) for _, run in matches[:5])
        raise Misconfigured(f"'{word}' could be any of {len(matches)} runs: {candidates}")
    hint = did_you_mean(word, [name for name, _ in (*names, *inside)])
    where = f"{len(known)} runs in {root}" if known else f"no runs in {root}"
    raise Misconfigured(f"no run {shown(word)} ({where}){hint}")


def _called(run: Path, in_full: bool) -> str:
    """Return a run's name; in full with that of its sweep."""
    return f"{run.parent.name}/{run.name}" if in_full else run.name


def _matches(word: str, named: list[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """Return what is called so; else what begins so; else what has it in its name."""
    return (
        [each for each in named if each[0] == word]
        or [each for each in named if each[0].startswith(word)]
        or [each for each in named if word in each[0]]
    )


def asked(run: Path) -> dict[str, Any]:
    """Return what the user typed for a run; for a job of a sweep, for that."""
    own = run / OVERRIDES
    return read_yaml(own if own.is_file() or not is_sweep(run.parent) else run.parent / OVERRIDES)


def settings(run: Path) -> dict[str, Any]:
    """Return a run's settings, flat: the chosen option of each group, and every value."""
    chosen = {group: option for group, option in _choices(run).items() if option is not None}
    values = flat(read_yaml(run / CONFIG))
    hidden = ("_target_", "name")
    plain = {
        key: value
        for key, value in values.items()
        if value not in (None, {}) and key.rpartition(".")[2] not in hidden
    }
    return {**chosen, **plain}


def _choices(run: Path) -> dict[str, Any]:
    """Return the chosen option of each group; for a job, its sweep's with what was swept."""
    if (run / OVERRIDES).exists():
        return dict(read_yaml(run / OVERRIDES).get("choices", {}))
    choices: dict[str, Any] = read_yaml(run.parent / OVERRIDES).get("choices", {})
    jobs = read_json(run.parent / SWEEP).get("jobs", {}).values()
    swept = {job["directory"]: job.get("swept", {}) for job in jobs}.get(run.name, {})
    return choices | {group: swept[group] for group in choices if group in swept}


def status(run: Path) -> dict[str, Any]:
    """Return status.json."""
    return read_json(run / STATUS)


def set_status(run: Path, **changes: Any) -> None:
    """Update status.json, whole or not at all; what is set to None goes."""
    updated = {**read_json(run / STATUS), **changes}
    write_json(run / STATUS, {key: value for key, value in updated.items() if value is not None})


def read_rows(path: Path, waiting: bytes = b"") -> Iterator[dict[str, Any]]:
    """Yield the complete rows of a JSON-lines file, if there is one, and of what it lacks yet."""
    written = path.read_bytes() if path.is_file() else b""
    for line in (written + waiting).decode(errors="replace").split("\n")[:-1]:
        try:
            row = forms.row(path.name, json.loads(line))
        except (ValueError, RecursionError):
            continue
        if row:
            yield row
