"""Show what differs between two runs: settings, then final metrics, and why not all bits are equal.

runner diff 1432 1440
runner diff last 1432-adam
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from runner.cli.configure import here, output_root
from runner.foundation.files import read_json
from runner.recording import directory
from runner.recording.console import Terminal, number

IGNORED = ("name", "output_root")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words and flags."""
    parser.add_argument("first", metavar="A", help="a run: directory, id, or last")
    parser.add_argument("second", metavar="B")
    parser.add_argument("overrides", nargs="*", default=[], metavar="output_root=DIR")


def run(options: argparse.Namespace) -> int:
    """Print changed settings and the metrics of both."""
    root = output_root(here(options.overrides).get("output_root"))
    folders = [directory.find(word, root) for word in (options.first, options.second)]
    terminal = Terminal()
    settings = [directory.settings(folder) for folder in folders]
    changed = _rows(settings[0], settings[1], changed_only=True)
    names = [folder.name for folder in folders]
    terminal.table(["setting", *names], changed or [["(none differs)", "", ""]])
    terminal.line("")
    first, second = map(_metrics, folders)
    terminal.table(["metric", *names], _rows(first, second, changed_only=False))
    before, after = map(_bits, folders)
    for key, value in before.items():
        if None not in (value, after[key]) and value != after[key]:
            terminal.line(f"not bit-exact: {key} {value} -> {after[key]}")
    return 0


def _rows(a: dict[str, Any], b: dict[str, Any], *, changed_only: bool) -> list[list[str]]:
    keys = [key for key in {**a, **b} if key not in IGNORED]
    return [
        [key, number(a.get(key)), number(b.get(key))]
        for key in keys
        if not changed_only or a.get(key) != b.get(key)
    ]


def _bits(folder: Path) -> dict[str, Any]:
    """Return what the bits of a run depend on beside its settings; for a job what its batch has."""
    status, here = directory.status(folder), read_json(folder / directory.ENVIRONMENT)
    if (batch := status.get("batch")) is None:
        torch = here.get("versions", {}).get("torch")
        return {"torch": torch, "threads": here.get("threads"), "trained": "alone"}
    saves = folder.parent / directory.BATCHES / batch
    own = read_json(saves / (status.get("id") or "") / directory.FINGERPRINT)
    found = own or read_json(saves / directory.FINGERPRINT)
    return {key: found.get(key) for key in ("torch", "threads", "trained")}


def _metrics(folder: Path) -> dict[str, Any]:
    summary = read_json(folder / directory.SUMMARY)
    splits = {split: summary[split] for split in ("train", "valid", "test") if split in summary}
    flat = {f"{split}/{name}": value for split, values in splits.items()
            for name, value in values.items()}  # fmt: skip
    return {**flat, **{key: summary.get(key) for key in ("steps", "parameters", "seconds")}}
