"""What two runs that are equal have in common: everything that no clock decides."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.foundation.files import read_json
from runner.recording import directory

OF_CLOCKS = ("started", "seconds", "samples_per_second", "logs")  # timing.jsonl is one of the logs
Record = dict[str, Any]


def whole(folder: Path) -> Path:
    """Return the newest checkpoint of a folder."""
    from runner.training import checkpoints

    return checkpoints.listed(folder)[0]


def of_run(folder: Path) -> Record:
    """Return the record of a finished run."""
    status = directory.status(folder)
    return {
        **of_files(folder),
        "checkpoint": leaves(_read(whole(folder / directory.CHECKPOINTS))),
        "status": [status.get(key) for key in ("state", "step", "exit_code")],
        "timing": [row["step"] for row in directory.read_rows(folder / directory.TIMING)],
    }


def of_files(folder: Path) -> Record:
    """Return what a run, or a job of a sweep, has logged and summed up."""
    return {
        "metrics": (folder / directory.METRICS).read_bytes(),
        "probes": list(directory.read_rows(folder / directory.PROBES)),
        "points": points(folder),
        "summary": leaves(read_json(folder / directory.SUMMARY)),
    }


def of_sweep(folder: Path) -> Record:
    """Return the record of a finished sweep: its table, its jobs, what its batches kept."""
    jobs = read_json(folder / directory.SWEEP)["jobs"]
    with (folder / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = [{key: cell for key, cell in row.items() if key != "seconds"}
                for row in csv.DictReader(file)]  # fmt: skip
    record: Record = {"results": rows}
    for job in jobs.values():
        name = job["directory"]
        record |= {f"{name}: {key}": each for key, each in of_files(folder / name).items()}
        status = directory.status(folder / name)
        record[f"{name}: status"] = [status.get(key) for key in ("state", "step", "exit_code")]
    batches = folder / directory.BATCHES
    for saves in sorted({path.parent for path in batches.rglob("step-*.pt")}):
        name = saves.relative_to(folder).as_posix()
        record[f"{name}: checkpoint"] = leaves(_read(whole(saves)))
    return record


def differing(record: Record, other: Record) -> list[str]:
    """Return what differs, in a line each."""
    lines = []
    for name in dict.fromkeys([*record, *other]):
        own, others = record.get(name), other.get(name)
        if own != others:
            lines.append(f"{name} differs{_where(own, others)}")
    return lines


def leaves(content: Any, path: str = "") -> dict[str, Any]:
    """Return every leaf under its path but those of clocks; tensors as their bytes."""
    import torch

    if isinstance(content, torch.Tensor):
        return {path: (str(content.dtype), tuple(content.shape), content.numpy().tobytes())}
    if isinstance(content, dict | list | tuple):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        nested = [leaves(each, f"{path}/{key}") for key, each in pairs if key not in OF_CLOCKS]
        return {key: each for part in nested for key, each in part.items()}
    return {path: repr(content)}


def points(folder: Path) -> list[tuple[int, str, float | None]]:
    """Return every point that TensorBoard reads, in its order."""
    return list(_points(folder))


def _points(folder: Path) -> Iterator[tuple[int, str, float | None]]:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in LegacyEventFileLoader(str(path)).Load():
            for value in event.summary.value:
                scalar = value.simple_value if value.HasField("simple_value") else None
                yield event.step, value.tag, scalar


def _read(path: Path) -> dict[str, Any]:
    from runner.training import checkpoints

    return checkpoints.read(path)


def _where(own: Any, other: Any) -> str:
    """Say where two contents first differ."""
    if isinstance(own, bytes) and isinstance(other, bytes):
        own, other = own.splitlines(), other.splitlines()
    if isinstance(own, Mapping) and isinstance(other, Mapping):
        keys = [key for key in dict.fromkeys([*own, *other]) if own.get(key) != other.get(key)]
        return f" in {len(keys)} of {len(other)} leaves, such as {keys[0]}"
    if isinstance(own, list) and isinstance(other, list):
        at = next((at for at, pair in enumerate(zip(own, other, strict=False))
                   if pair[0] != pair[1]), min(len(own), len(other)))  # fmt: skip
        return f" from item {at} of {len(own)} and {len(other)} on"
    return f": {own!r:.80} instead of {other!r:.80}"
