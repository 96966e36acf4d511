"""Continue a run that was cut, in the same directory, as if it had never stopped.

runner resume last
runner resume 1432-adam
"""

from __future__ import annotations

import argparse

from runner.cli.configure import add_run
from runner.cli.reopen import reopened
from runner.recording import directory


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words and flags."""
    add_run(parser)


def run(options: argparse.Namespace) -> int:
    """Read the record, assemble as then, continue from the newest checkpoint."""
    from runner.recording.console import Terminal
    from runner.training.signals import raising

    with raising():
        folder, settings = reopened(options)
        terminal = Terminal()
        status = directory.status(folder)
        if status.get("state") == "finished":
            terminal.line(f"{folder}: already finished (step {status.get('step')})")
            return 0
        from runner.execution.launch import resume

        resume(settings, folder, terminal)
    return 0
