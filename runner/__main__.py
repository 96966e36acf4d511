"""The console entry: `runner` and `python -m runner` are the same."""

import sys


def main() -> int:
    """Run one command and return its exit code."""
    from runner.cli import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
