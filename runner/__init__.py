"""A command-line experiment runner for people who study how neural networks train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runner.assemble.finished import Finished

__all__ = ["load"]


def load(run: str | Path, *, trust: Sequence[str] = ()) -> Finished:
    """Return a recorded run: `.model`, `.data`, `.config`, `.metrics`, `.summary`.

    `run` is its directory, its id, or `last`. `trust` names packages of your own that its
    configuration calls.
    """
    from runner.assemble.finished import finished
    from runner.cli.configure import output_root
    from runner.cli.reopen import settings_of
    from runner.recording import directory

    folder = directory.find(str(run), output_root())
    return finished(settings_of(folder, list(trust)), folder)
