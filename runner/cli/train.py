"""Train one configuration, and record it in a directory of its own; with -m many, as a sweep.

runner                                   the default: a small perceptron on digits
runner dataset=fashion_mnist architecture=cnn optimizer=adam
runner optimizer.lr=0.01 seed=3 name=slower
runner -m optimizer.lr=0.1,0.01 seeds=3  six runs
"""

from __future__ import annotations

import argparse

from runner.cli.configure import add_configuration, configured
from runner.foundation.errors import Misconfigured

OF_SWEEPS = {"--dry-run": "print the jobs of a sweep and what they would take; record nothing",
             "--new": "begin a sweep anew, beside an earlier one of its name",
             "--detach": "leave a sweep to its cluster once it is sent"}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words and flags."""
    from runner.cli import sweep

    parser.epilog = sweep.__doc__
    add_configuration(parser)
    parser.add_argument(
        "-m", "--multirun", action="store_true", help="a sweep: run every combination of values"
    )
    for flag, text in OF_SWEEPS.items():
        parser.add_argument(flag, action="store_true", help=text)


def run(options: argparse.Namespace) -> int:
    """Check, assemble, train."""
    from runner.training.signals import raising

    if options.multirun:
        from runner.cli import sweep

        return sweep.run(options)
    alone = {"--dry-run": options.dry_run, "--new": options.new, "--detach": options.detach}
    if wrong := [flag for flag, given in alone.items() if given]:
        raise Misconfigured([f"{flag}: is about a sweep; add -m" for flag in wrong])
    with raising():
        settings, _, request = configured(options)
        from runner.assemble.speed import settled
        from runner.execution.launch import announce, launch, named
        from runner.recording.console import Terminal

        terminal = Terminal()
        assembled = settled(settings, terminal.line)
        announce(assembled, named(request.choices, request.overrides), terminal)
        launch(assembled, request, terminal)
    return 0
