"""Print the configuration that a command would run, composed and checked.

runner show optimizer=adam schedule=cosine
"""

from __future__ import annotations

import argparse

from runner.cli.configure import add_configuration, configured


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the words and flags."""
    add_configuration(parser)


def run(options: argparse.Namespace) -> int:
    """Compose, check, print; nothing is read or made."""
    import yaml

    _, composition, _ = configured(options)
    print(yaml.safe_dump(composition.record, sort_keys=False, allow_unicode=True), end="")
    return 0
