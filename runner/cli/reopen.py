"""Open a recorded run again: what the user's own code may do in it is asked anew."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runner.cli.configure import here, machine, output_root, trusted
from runner.foundation import memory
from runner.foundation.errors import Misconfigured
from runner.recording import directory


def reopened(options: argparse.Namespace) -> tuple[Path, Any]:
    """Return the directory of the run that is meant, and its checked settings.

    A run that used packages of the user's own names them and needs `--trust`, or the defaults
    file, to allow them again.
    """
    given = here(options.overrides)
    folder = directory.find(options.run, output_root(given.pop("output_root", None)))
    return folder, settings_of(folder, trusted(options, machine()), given)


@memory.loading()
def settings_of(folder: Path, trust: list[str], given: Mapping[str, str]) -> Any:
    """Check a run's recorded configuration with these packages trusted, here and now.

    `given` machine keys go before the recorded ones.
    """
    from runner import compose, config
    from runner.assemble.settings import Settings

    asked = directory.asked(folder)
    if missing := [name for name in asked.get("trust", []) if name not in trust]:
        flags = " ".join(f"--trust {name}" for name in missing)
        folders = ", ".join(asked.get("config_dirs", [])) or "none"
        raise Misconfigured(
            f"{folder}: calls code of {', '.join(missing)} (option folders: {folders}); "
            f"if you trust it, add {flags}"
        )
    composition = compose.recorded(folder / directory.CONFIG)
    for key, value in given.items():
        section, _, name = key.rpartition(".")
        (composition.config[section] if section else composition.config)[name] = value
    return config.check(composition.config, Settings, trust=trust)
