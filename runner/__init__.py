"""A command-line experiment runner for people who study how neural networks train."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.execution.finished import Finished

__all__ = ["load"]

# Where Hydra finds our launcher and sweeper: in a checkout, an editable install, a wheel.
_PLUGINS = str(Path(__file__).parent / "plugins")
if _PLUGINS not in sys.path:
    sys.path.append(_PLUGINS)


def load(
    run: str | Path, *, trust: Sequence[str] = (), output_root: str | None = None, **machine: str
) -> Finished:
    """Return a recorded run: `.model`, `.data`, `.config`, `.metrics`, `.summary`.

    `run` is its directory, its id, or `last`. `trust` names packages of your own that its
    configuration calls; `device="cpu"` and the like say what differs on this machine.
    """
    from runner.cli import configure
    from runner.cli.reopen import settings_of
    from runner.execution.finished import finished
    from runner.recording import directory

    given = configure.here([f"{key}={value}" for key, value in machine.items()])
    folder = directory.find(str(run), configure.output_root(output_root))
    return finished(settings_of(folder, list(trust), given), folder, warnings.warn)
