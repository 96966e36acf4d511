"""Reading the command line of the bench."""

from __future__ import annotations

import argparse
from typing import NoReturn

FEW = 3  # rounds; fewer have no quartiles to speak of


class Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with a message."""
        self.exit(2, f"{self.prog}: {message} (--help says more)\n")


def count(text: str) -> int:
    """Read a number that is at least 1."""
    return _at_least(1, text)


def several(text: str) -> int:
    """Read a number that is at least 2."""
    return _at_least(2, text)


def _at_least(least: int, text: str) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text}")
    return int(text)
