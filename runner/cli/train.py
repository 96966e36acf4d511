"""Train one configuration, and record it in a directory of its own.

runner                                   the default: a small perceptron on digits
runner dataset=fashion_mnist architecture=cnn optimizer=adam
runner optimizer.lr=0.01 seed=3 name=slower
"""

from __future__ import annotations

import argparse

from runner.cli.configure import add_configuration, configured


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words and flags."""
    add_configuration(parser)


def run(options: argparse.Namespace) -> int:
    """Check, assemble, train."""
    from runner.training.signals import raising

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
