"""What is recorded of a configuration: as composed, what auto became, and changes since."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from runner.assemble.fingerprint import fingerprint
from runner.assemble.run import Run
from runner.execution.changes import Asked, plain, recordable
from runner.foundation.files import read_yaml, write_atomic
from runner.recording import directory


def known(config: Mapping[str, Any], run: Run) -> str:
    """Return a configuration as YAML; what was left to `auto` is known, the reason a comment."""
    lines = {name: yaml_of({name: value}) for name, value in config.items()}
    for name in config.keys() & run.decided.keys():
        if getattr(run.settings, name, None) != "auto":
            continue
        value, reason = run.decided[name]
        words = "".join(letter if letter.isprintable() else " " for letter in reason).split()
        lines[name] = f"{yaml_of({name: value}).rstrip()} # auto: {' '.join(words)}\n"
    return "".join(lines.values())


def yaml_of(content: Mapping[str, Any]) -> str:
    """Return a mapping as YAML, its keys in their order."""
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)


def origin(run: Run, folder: Path) -> dict[str, Any]:
    """Return what a checkpoint holds of its run beside the state: since when, of what, made how."""
    return {"started": directory.status(folder).get("started"),
            "config": plain(read_yaml(folder / directory.CONFIG)),
            "fingerprint": fingerprint(run)}  # fmt: skip


def take_over(
    folder: Path, run: Run, asked: Asked, config: Mapping[str, Any], choices: Mapping[str, Any]
) -> None:
    """Record what is changed from here on: the new values, and which they were until this step."""
    path = folder / directory.CONFIG
    if plain(read_yaml(path)) != plain(config):
        write_atomic(path, _rewritten(path, config, run))
    if asked.changes:
        recorded = read_yaml(folder / directory.OVERRIDES)
        changed = {"step": asked.packed["step"], "changed": recordable(asked.changes)}
        recorded |= {"choices": dict(choices), "resumed": [*recorded.get("resumed", []), changed]}
        write_atomic(folder / directory.OVERRIDES, yaml_of(recorded))


def _rewritten(path: Path, config: Mapping[str, Any], run: Run) -> str:
    """Return config.yaml with these values; what has the same one keeps its comments."""
    parts = re.split(r"(?m)^(?=\w)", path.read_text(encoding="utf-8", errors="replace"))
    blocks = {part.partition(":")[0]: part for part in parts}
    before = read_yaml(path)
    new = {name: value for name, value in config.items()
           if name not in blocks or before.get(name) != value}  # fmt: skip
    return "".join(
        known({name: value}, run) if name in new else blocks[name] for name, value in config.items()
    )
