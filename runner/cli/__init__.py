"""The command line: a verb, `key=value` for configuration, `--flag` about the command."""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
import traceback

from runner.foundation import options, secrets
from runner.foundation.errors import (
    Interrupted,
    Misconfigured,
    RunnerError,
    did_you_mean,
    no_exit,
    out_of_memory,
    printable,
)
from runner.foundation.files import FULL
from runner.foundation.streams import forgiving

VERBS = {
    "train": "train one configuration, or with -m many (the default verb)",
    "resume": "continue a run that was cut, bit for bit",
    "evaluate": "measure a run's best weights again",
    "runs": "list runs, newest first",
    "diff": "show what differs between two runs",
    "diagnose": "say what is wrong with a run, on what evidence, and what to type",
    "report": "print a sweep's table, finished or running, and draw its figures",
    "list": "list the groups, or the options of one",
    "show": "print the composed and checked configuration",
    "env": "print versions, devices, the user's defaults and what auto remembers",
    "completion": "print a script that completes words in bash, zsh or fish",
}


def run(arguments: list[str]) -> int:
    """Run one command; return its exit code. A user's mistake never shows a traceback.

    What reads the output may leave, and the output may be full: the command goes on.
    """
    with forgiving() as failures:
        code = _run(arguments)
    if failures and not code:
        return _complain(f"standard output: cannot write: {failures[0].strerror}", 8)
    return code


def _run(arguments: list[str]) -> int:
    try:
        verb, rest = _verb(arguments)
        module = importlib.import_module(f"runner.cli.{verb}")
        parser = _Parser(f"runner {verb}", VERBS[verb], module.__doc__ or "")
        module.configure(parser)
        asked = parser.parse_intermixed_args(rest)
        with no_exit():
            return module.run(asked) or 0
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except Interrupted as error:
        return _complain(str(error), error.exit_code)
    except Misconfigured as error:
        count = len(error.problems)
        title = f"{count} mistakes, nothing was run:" if count > 1 else "nothing was run:"
        return _complain("\n".join([title, *(f"  {line}" for line in error.problems)]), 2)
    except RunnerError as error:
        return _complain(str(error), error.exit_code)
    except Exception as error:
        if short := out_of_memory(error):
            return _complain(str(short), short.exit_code)
        if isinstance(error, OSError) and error.errno in (errno.EROFS, *FULL):
            return _complain(f"cannot write: {error}", 8)
        traceback.print_exc()
        return _complain("this is a bug in the runner; please report it with the text above", 1)


def _verb(arguments: list[str]) -> tuple[str, list[str]]:
    """Return the verb and its words; configuration or a flag in first place means `train`."""
    first = arguments[0] if arguments else ""
    if first in ("-h", "--help", "help"):
        print(usage(), end="")
        raise SystemExit(0)
    if first == "--version":
        from importlib.metadata import version

        print(f"runner {version('runner')}")
        raise SystemExit(0)
    if first in VERBS:
        return first, arguments[1:]
    if first == "sweep":
        raise Misconfigured("a sweep is runner -m key=value,value ...; see runner train --help")
    if first and "=" not in first and first[0] not in "-~+":
        if first.partition(".")[0] in options.words():
            following = arguments[1] if len(arguments) > 1 else "..."
            raise Misconfigured(f"'{first}' is configuration: write {first}={following}")
        known = ", ".join(VERBS)
        raise Misconfigured(f"unknown command '{first}'{did_you_mean(first, VERBS)} ({known})")
    return "train", arguments


def usage() -> str:
    """Return the text of `runner --help`."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {text}" for verb, text in VERBS.items())
    return f"""\
usage: runner [COMMAND] [key=value ...] [--flag ...]

Assemble, train and record a neural network from options in YAML files.

{verbs}

key=value is configuration, --flag is about the command:
  runner                                        digits, a small perceptron
  runner dataset=wine activation=tanh           choose options: runner list
  runner optimizer=adam optimizer.lr=3e-4       set a value: runner show
  runner trainer=quick                          a few steps, for a try
  runner -m optimizer.lr=0.1,0.01 seeds=3       a sweep: runner train --help
  tensorboard --logdir outputs                  look at the curves

runner COMMAND --help says more. Where a run is asked for, its directory, its id, the
beginning of its id, or `last` will do.
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are ours: one line, the nearest flag, exit 2."""

    def __init__(self, program: str, summary: str, documentation: str):
        super().__init__(
            prog=program,
            description=documentation or summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> None:  # type: ignore[override]
        """Raise instead of printing usage and leaving."""
        prefix, _, given = message.partition("unrecognized arguments: ")
        if not prefix and given:
            message = self._unknown(given.split()[0])
        raise Misconfigured(message)

    def _unknown(self, word: str) -> str:
        """Say what is wrong with a word that no verb takes."""
        key, _, value = word.lstrip("-").partition("=")
        if word in ("-m", "--multirun"):
            return f"{word} belongs to train: runner -m key=value,value"
        if not word.startswith("-"):
            return f"'{word}' is one word too many; see {self.prog} --help"
        if key.partition(".")[0] in options.words():
            return f"configuration has no dashes: write {key}={value or '...'}"
        known = [name for action in self._actions for name in action.option_strings]
        return f"unknown flag '{word}'{did_you_mean(word, known)} ({', '.join(known)})"


def _complain(text: str, code: int) -> int:
    print(f"runner: {printable(secrets.without(text))}", file=sys.stderr)
    return code
