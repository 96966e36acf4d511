"""The console entry: `runner` and `python -m runner` are the same."""

import sys

from runner.training import signals


def main() -> int:
    """Run one command and return its exit code; a signal's ends the process here."""
    signals.own_process()
    with signals.leaving():
        from runner.cli import run

        code = run(sys.argv[1:])
    if code > 128:
        signals.end(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
