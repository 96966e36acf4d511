"""Print what the runner finds here: versions, devices, folders, and the user's defaults file.

The defaults file may set machine things only: output_root, dataset.root, threads, device, trust,
config_dir.
"""

from __future__ import annotations

import argparse

from runner.cli.configure import defaults_file, machine


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare no words and no flags."""


def run(options: argparse.Namespace) -> int:
    """Print a table of facts."""
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
    for key, value in facts.items():
        print(f"{key:<14} {value}")
    return 0
