"""Measure a finished or interrupted run's best weights again, on every split.

runner evaluate last
"""

from __future__ import annotations

import argparse

from runner.cli.configure import add_run
from runner.cli.reopen import reopened


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words and flags."""
    add_run(parser)


def run(options: argparse.Namespace) -> int:
    """Rebuild the model and the data, load the best weights, print the table."""
    from runner.execution.finished import finished
    from runner.recording.console import Terminal
    from runner.training.signals import raising

    with raising():
        folder, settings = reopened(options)
        terminal = Terminal()
        loaded = finished(settings, folder, terminal.warn)
        terminal.line(f"{folder}: {loaded.which} weights, step {loaded.step}")
        terminal.results(loaded.evaluate())
    return 0
