"""Print what the runner finds here: versions, devices, folders, the user's defaults file, and what
`auto` has decided and remembered.

runner env --forget                      forget what auto decided, and delete compiled kernels
runner env --determinism                 train 20 steps twice, each time in a new process, and
                                         compare data, weights, optimizer state and metrics bit by
                                         bit: exit 0 if they are equal, 1 if not
runner env --determinism device=cuda architecture=cnn    the same of this configuration

The defaults file may set machine things only: output_root, dataset.root, threads, device, trust,
config_dir.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.cli.configure import add_configuration, configured, defaults_file, machine
from runner.foundation import remembered
from runner.foundation.errors import Misconfigured

DATA = "data"  # where data sets that can be downloaded are looked for


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "--forget",
        action="store_true",
        help="forget what auto decided, and delete compiled kernels",
    )
    parser.add_argument(
        "--determinism",
        action="store_true",
        help="train a few steps twice in new processes, and compare them bit by bit",
    )
    add_configuration(parser)


def run(options: argparse.Namespace) -> int:
    """Print a table of facts, or forget, or try whether training is deterministic here."""
    if options.determinism:
        return _determinism(options)
    if options.overrides:
        raise Misconfigured(f"'{options.overrides[0]}': only --determinism takes configuration")
    if options.forget:
        print(f"forgot {_counted(remembered.forget())} in {remembered.folder()}")
        return 0
    import torch

    from runner.foundation.options import folders
    from runner.recording.environment import accelerators, environment

    here = environment()
    versions = "  ".join(f"{name} {found}" for name, found in here["versions"].items())
    path = defaults_file()
    defaults = machine()
    facts = {
        "python": f"{here['python']} on {here['platform']}",
        "packages": versions,
        "processors": here["processors"],
        "threads": torch.get_num_threads(),
        "gpus": ", ".join(accelerators()) or "none",
        "options": ", ".join(map(str, folders(defaults.get("config_dir", [])))),
        "defaults": _found(path),
    }
    facts |= {f"  {key}": value for key, value in defaults.items()}
    facts["data"] = _found(Path(defaults.get("dataset.root", DATA)).expanduser())
    facts["kernels"] = _size(remembered.kernels())
    facts["remembered"] = f"{_counted(len(remembered.listed()))} in {remembered.folder()}"
    if why := remembered.obstacle():
        facts["remembered"] += f", which cannot be used: {why}; set RUNNER_CACHE"
    _print(facts)
    for line in _decisions():
        print(f"  {line}")
    return 0


def _determinism(options: argparse.Namespace) -> int:
    """Train a few steps twice; say what is equal, or from which step on it differs."""
    from runner.execution.determinism import STEPS, once, parted
    from runner.training.signals import raising

    with raising():
        settings, _, request = configured(options)
        what = f"{settings.architecture.factory.__name__} by {settings.optimizer.factory.__name__}"
        print(f"{what}: {STEPS} steps at most, twice, each time in a new process")
        first, second = (once(request.config, request.trust) for _ in range(2))
    found = parted(first, second)
    said = {None: "equal", 0: "differs from the start"}
    _print({part: said.get(at, f"differs after step {at}") for part, at in found.items()})
    prints = [first["fingerprint"], second["fingerprint"]]
    for each in prints if prints[0] != prints[1] else prints[:1]:
        print(f"fingerprint    {', '.join(f'{key} {value}' for key, value in each.items())}")
    if parts := {part: at for part, at in found.items() if at is not None}:
        part, at = min(parts.items(), key=lambda each: each[1])
        print(f"not deterministic: {part} first, after step {at} of {len(first['steps']) - 1}")
        return 1
    print(f"deterministic: {len(first['steps']) - 1} steps are equal, bit by bit")
    return 0


def _print(facts: Mapping[str, Any]) -> None:
    for key, value in facts.items():
        print(f"{key:<14} {value}")


def _found(path: Path) -> str:
    return f"{path}{'' if path.exists() else ' (does not exist)'}"


def _size(folder: Path) -> str:
    """Return how much is in a folder, and where that is."""
    total = 0
    for each in folder.rglob("*"):
        with contextlib.suppress(OSError):  # another process may delete some
            total += each.stat().st_size if each.is_file() else 0
    return f"{total / 1e6:,.1f} MB in {folder}"


def _counted(number: int) -> str:
    return f"{number} decision{'' if number == 1 else 's'} of auto"


def _decisions() -> Iterator[str]:
    """Yield what is remembered, a line each, as it would be typed, for whom, and why."""
    for decision in remembered.listed().values():
        what, value, reason, whom = (decision[key] for key in ("what", "value", "reason", "for"))
        typed = value if isinstance(value, str) else json.dumps(value)
        yield f"{what}={typed} for {whom}: {reason}"
