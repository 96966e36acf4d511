"""Where a run happened: versions, commit, machine, and what `auto` became."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.foundation.files import flat, read_json, write_json

PACKAGES = ("torch", "torchvision", "hydra-core", "omegaconf", "numpy", "scikit-learn",
            "tensorboard", "rich")  # fmt: skip


def environment() -> dict[str, Any]:
    """Return versions, machine and commit; nothing from environment variables."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "versions": {"runner": version("runner"), **{name: version(name) for name in PACKAGES}},
        "git": commit(Path(__file__).parent),
    }


def keep(path: Path) -> list[str]:
    """Record where something happens that may go on elsewhere; say what differs from before.

    The first record stays. Under `later` is added, with its time, what differs from what was known.
    """
    now, first = environment(), read_json(path)
    if not first:
        write_json(path, now)
        return []
    later = first.pop("later", [])
    known = dict(first)
    for each in later:
        known |= each
    changed = {key: value for key, value in now.items() if known.get(key) != value}
    if not changed:
        return []
    write_json(path, {**first, "later": [*later, {"time": time.time(), **changed}]})
    before, after = flat(known), flat({key: changed[key] for key in changed if key != "git"})
    return [f"{key} {before.get(key)} -> {value}" for key, value in after.items()
            if before.get(key) != value]  # fmt: skip


def version(package: str) -> str | None:
    """Return the installed version of a package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit(folder: Path) -> dict[str, Any] | None:
    """Return the commit of the checkout, and whether it has changes; None outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def accelerators() -> list[str]:
    """Return the names of the GPUs that torch sees."""
    if "torch" not in sys.modules:
        return []
    import torch

    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def decided(values: Mapping[str, tuple[Any, str]]) -> dict[str, dict[str, Any]]:
    """Return what `auto` became, with the reasons, for the record."""
    return {key: {"value": value, "reason": reason} for key, (value, reason) in values.items()}
