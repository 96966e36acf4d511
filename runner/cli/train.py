"""Train one configuration, and record it in a directory of its own; with -m many, as a sweep.

runner                                   the default: a small perceptron on digits
runner dataset=fashion_mnist architecture=cnn optimizer=adam
runner optimizer.lr=0.01 seed=3 name=slower
runner -m optimizer.lr=0.1,0.01 seeds=3  six runs
runner run_dir=runs/a resume=auto        in this directory; given again, goes on where it was cut
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner.cli import continuing
from runner.cli.configure import add_configuration, configured, warn_of_secrets
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
    parser.add_argument("--verbose", action="store_true", help="at the end, every verdict")
    for flag, text in OF_SWEEPS.items():
        parser.add_argument(flag, action="store_true", help=text)


def run(options: argparse.Namespace) -> int:
    """Check, assemble, train."""
    from runner.training.signals import leaving

    warn_of_secrets(options.overrides)
    if options.multirun:
        if options.verbose:
            raise Misconfigured("--verbose: is about a single run; runner diagnose tells of sweeps")
        from runner.cli import sweep

        continuing.refuse_in_sweeps(options.overrides)
        return sweep.run(options)
    alone = {"--dry-run": options.dry_run, "--new": options.new, "--detach": options.detach}
    if wrong := [flag for flag, given in alone.items() if given]:
        raise Misconfigured([f"{flag}: is about a sweep; add -m" for flag in wrong])
    with leaving():
        about, options.overrides = continuing.apart(options.overrides)
        settings, composition, request = configured(options)
        from runner.assemble.speed import settled
        from runner.execution.launch import announce, launch, named
        from runner.recording.console import Terminal

        terminal = Terminal(verbose=options.verbose)
        if (folder := continuing.found(about)) is not None:
            _go_on(folder, composition, request, about, terminal)
            return 0
        assembled = settled(settings, terminal.line)
        announce(assembled, named(request.choices, request.overrides), terminal)
        launch(assembled, request, terminal, about.run_dir)
    return 0


def _go_on(
    folder: Path, composition: Any, request: Any, about: continuing.About, terminal: Any
) -> None:
    """Continue the run of this very command."""
    from runner import config
    from runner.assemble.settings import Settings
    from runner.execution.launch import resume

    kept = continuing.decided(composition.config, folder)
    settings = config.check({**composition.config, **kept}, Settings, trust=request.trust)
    request = replace(request, config={**request.config, **kept})
    resume(settings, folder, terminal, request, about.allow)
