"""Print what the runner finds here: versions, devices, folders, the user's defaults file, and what
`auto` has decided and remembered.

runner env --forget      forget what auto decided, and delete compiled kernels

The defaults file may set machine things only: output_root, dataset.root, threads, device, trust,
config_dir.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from runner.cli.configure import defaults_file, machine
from runner.foundation import remembered


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument(
        "--forget",
        action="store_true",
        help="forget what auto decided, and delete compiled kernels",
    )


def run(options: argparse.Namespace) -> int:
    """Print a table of facts, or forget."""
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
        "defaults": f"{path}{'' if path.is_file() else ' (no such file)'}",
    }
    facts |= {f"  {key}": value for key, value in defaults.items()}
    facts["remembered"] = f"{_counted(len(remembered.listed()))} in {remembered.folder()}"
    if why := remembered.obstacle():
        facts["remembered"] += f", which cannot be used: {why}; set RUNNER_CACHE"
    for key, value in facts.items():
        print(f"{key:<14} {value}")
    for line in _decisions():
        print(f"  {line}")
    return 0


def _counted(number: int) -> str:
    return f"{number} decision{'' if number == 1 else 's'} of auto"


def _decisions() -> Iterator[str]:
    """Yield what is remembered, a line each, as it would be typed, for whom, and why."""
    for decision in remembered.listed().values():
        what, value, reason, whom = (decision[key] for key in ("what", "value", "reason", "for"))
        typed = value if isinstance(value, str) else json.dumps(value)
        yield f"{what}={typed} for {whom}: {reason}"
