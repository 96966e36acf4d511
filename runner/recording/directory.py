"""Run directories: made exclusively, found again by a few characters, listed newest first.

outputs/<experiment>/<id>/    id: time, name or shortened overrides, short hash
                              (1432-adam-lr0.01-3f2a), so that TensorBoard's legend reads
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

from runner.foundation.errors import Misconfigured, Unwritable, did_you_mean
from runner.foundation.files import flat, read_json, read_yaml, unwritable, write_json

STATUS, CONFIG, OVERRIDES = "status.json", "config.yaml", "overrides.yaml"
METRICS, TIMING, SUMMARY = "metrics.jsonl", "timing.jsonl", "summary.json"
ENVIRONMENT, CHECKPOINTS, LOG, ERROR = "environment.json", "checkpoints", "run.log", "error.txt"
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
        parts.append(re.sub(r"[^A-Za-z0-9.,_]+", "", f"{leaf}{value}"))
    return "-".join(filter(None, parts))[:_LONGEST].rstrip("-.")


def runs(root: Path) -> list[Path]:
    """Return the run directories under a root, newest first."""
    found = [path.parent for path in root.glob(f"*/*/{STATUS}")]
    return sorted(found, key=lambda run: (started(run), run.name), reverse=True)


def started(run: Path) -> float:
    """Return when a run began, in seconds since 1970."""
    return float(read_json(run / STATUS).get("started") or 0.0)


def find(word: str, root: Path) -> Path:
    """Return the run directory that a path, `last` or a unique part of an id means.

    The beginning of an id goes before a part of it.
    """
    path = Path(word)
    if (path / STATUS).is_file():
        return path
    known = runs(root)
    if word == "last" and known:
        return known[0]
    matches = (
        [run for run in known if run.name == word]
        or [run for run in known if run.name.startswith(word)]
        or [run for run in known if word in run.name]
    )
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(run.name for run in matches[:5])
        raise Misconfigured(f"'{word}' could be any of {len(matches)} runs: {names}")
    hint = did_you_mean(word, [run.name for run in known])
    where = f"{len(known)} runs in {root}" if known else f"no runs in {root}"
    raise Misconfigured(f"no run '{word}' ({where}){hint}")


def settings(run: Path) -> dict[str, Any]:
    """Return a run's settings, flat: the chosen option of each group, and every value."""
    choices = read_yaml(run / OVERRIDES).get("choices", {})
    chosen = {group: option for group, option in choices.items() if option is not None}
    values = flat(read_yaml(run / CONFIG))
    hidden = ("_target_", "name")
    plain = {
        key: value
        for key, value in values.items()
        if value not in (None, {}) and key.rpartition(".")[2] not in hidden
    }
    return {**chosen, **plain}


def status(run: Path) -> dict[str, Any]:
    """Return status.json."""
    return read_json(run / STATUS)


def set_status(run: Path, **changes: Any) -> None:
    """Update status.json, whole or not at all; what is set to None goes."""
    updated = {**read_json(run / STATUS), **changes}
    write_json(run / STATUS, {key: value for key, value in updated.items() if value is not None})


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the complete rows of a JSON-lines file; none if there is no such file."""
    if path.is_file():
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            yield json.loads(line)
