"""What can go wrong, and the exit code each kind has.

    RunnerError (1)           a bug in the runner itself
      Misconfigured (2)       the configuration or the command line is wrong
      BadData (3)             a data set is missing or corrupt
      Diverged (4)            the loss became nan or infinite
      UnusableCheckpoint (5)  no checkpoint can be resumed from
      OutOfMemory (1)         memory is not to be had
      InUse (7)               another process holds the run directory
      Unwritable (8)          a file could not be written
        Unrecorded              the run came to its end, but not all of its record is written
    Interrupted (130, 143)    SIGINT or SIGTERM; no Exception, so that nothing takes it for a fault

Every message says where, what was expected, what came and what is near.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from runner.foundation import memory

# What torch says, for the processor and for a GPU, and NumPy.
_ASKED = re.compile(
    r"you tried to allocate (\d+) bytes|(?:Tried|Unable) to allocate ([\d.]+) ([KMGTPE]?)iB"
)


_LONGEST = 120  # characters of a value that a message shows


class RunnerError(Exception):
    """Anything that ends a command; `exit_code` is what the shell sees."""

    exit_code = 1


class Misconfigured(RunnerError, ValueError):
    """Hold every mistake of a configuration, one line each."""

    exit_code = 2

    def __init__(self, problems: str | Sequence[str]):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class BadData(RunnerError, ValueError):
    """A data set is missing, truncated or not what it claims to be."""

    exit_code = 3


class Diverged(RunnerError):
    """The training loss became nan or infinite."""

    exit_code = 4


class UnusableCheckpoint(RunnerError):
    """No checkpoint can be loaded, or it belongs to another configuration."""

    exit_code = 5


class InUse(RunnerError):
    """Another process holds the lock of a run directory."""

    exit_code = 7


class Unwritable(RunnerError):
    """A file could not be written: the disk is full or read-only, or the folder is gone."""

    exit_code = 8


class Unrecorded(Unwritable):
    """A run came to its end; its `summary` stands, but not all of the record could be written."""

    def __init__(self, reasons: Sequence[str], summary: Mapping[str, Any]):
        self.reasons, self.summary = list(reasons), summary
        title = "the run came to its end, but not all of its record could be written:"
        super().__init__("\n".join([title, *(f"  {reason}" for reason in reasons)]))

    def __reduce__(self) -> tuple[type[Unrecorded], tuple[list[str], Mapping[str, Any]]]:
        """Cross from one process to another."""
        return Unrecorded, (self.reasons, self.summary)


class OutOfMemory(RunnerError):
    """Memory was asked for that is not to be had, though there is as much."""


class Interrupted(BaseException):
    """A signal asked the command to end; the exit code is 128 + its number.

    Like KeyboardInterrupt it passes through whatever handles exceptions, in a compiler or a hook of
    the user's.
    """

    def __init__(self, signal_number: int, message: str):
        self.exit_code = 128 + signal_number
        super().__init__(message)

    def __reduce__(self) -> tuple[type[Interrupted], tuple[int, str]]:
        """Cross from one process to another."""
        return Interrupted, (self.exit_code - 128, str(self))


@contextlib.contextmanager
def no_exit() -> Iterator[None]:
    """Turn sys.exit, called by code that is no command, into a fault of that code."""
    try:
        yield
    except SystemExit as error:
        raise RunnerError(f"its code called sys.exit({error.code!r})") from error


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the word that the user most likely meant, or None if nothing is near.

    A dotted key is near when its last part is (`lr` -> `optimizer.lr`), else by edit distance, in
    which capitals are the same as small letters.
    """
    candidates = sorted(set(words), key=lambda each: (each.count("."), each))
    last_parts = {each.rsplit(".", 1)[-1].lower(): each for each in reversed(candidates)}
    tail = word.rsplit(".", 1)[-1].lower()[:_LONGEST]
    if tail in last_parts:
        return last_parts[tail]
    if match := difflib.get_close_matches(tail, list(last_parts), n=1, cutoff=0.6):
        return last_parts[match[0]]
    if match := difflib.get_close_matches(word[:_LONGEST], candidates, n=1, cutoff=0.8):
        return match[0]
    return None


def shown(value: Any) -> str:
    """Return a value as a message shows it: as YAML has true and null, and not without end."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    if len(text) <= _LONGEST:
        return text
    whole = f"{len(value):,} characters" if isinstance(value, str) else f"{len(text):,} characters"
    return f"{text[:_LONGEST]}... ({whole})"


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return `; did you mean 'x'?`, or nothing when no word is near."""
    near = nearest(word, words)
    return f"; did you mean '{near}'?" if near else ""


def printable(text: str) -> str:
    """Return text with what a terminal would obey written out (`\\x1b`), but for line ends."""
    return "".join(each if each == "\n" or each.isprintable() else repr(each)[1:-1]
                   for each in text)  # fmt: skip


@contextlib.contextmanager
def naming(group: str) -> Iterator[None]:
    """Turn what a component says against its configuration into a mistake of this group."""
    try:
        yield
    except RunnerError:
        raise
    except (RuntimeError, ValueError, MemoryError, OverflowError) as error:
        large = "a number of it, or what follows from it, is too large"
        reason = large if isinstance(error, OverflowError) else str(error).partition("\n")[0]
        raise out_of_memory(error, group) or Misconfigured(f"{group}: {reason}") from error


def failed_in(module: str, error: Exception, key: str) -> RunnerError | None:
    """Return what to raise for an error in a factory of this module, which `key` has chosen.

    None for a bug of ours; one in code of the user's own is told with its place there.
    """
    if short := out_of_memory(error, key):
        return short
    if isinstance(error, ValueError):
        return Misconfigured(f"{key}: {error}")
    package = module.partition(".")[0]
    if package in ("runner", "torch"):
        return None
    places = [
        f" at {frame.f_code.co_filename}:{line}, in {frame.f_code.co_name}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").partition(".")[0] == package
    ]
    return RunnerError(f"{key}: {error!r}{''.join(places[-1:])}")


def out_of_memory(error: BaseException, group: str = "") -> RunnerError | None:
    """Return what to raise where memory was asked for in vain, None for another error.

    What no memory here holds is a mistake of the `group` that asked for it.
    """
    match = _ASKED.search(str(error))
    if match is None and not isinstance(error, MemoryError):
        return None
    prefix = f"{group}: " if group else ""
    if match is None:
        return Misconfigured(f"{prefix}{error}") if str(error) else OutOfMemory("out of memory")
    scale = 1024 ** " KMGTPE".index(match[3] or " ")
    wanted = float(match[1] or match[2]) * scale
    layer = memory.layer_of(error)
    amount = f"{wanted / 1e9:,.1f} GB{' for layer ' if layer else ''}{layer}"
    if wanted > (most := memory.limit()):
        return Misconfigured(f"{prefix}{amount}, and there are {most / 1e9:,.1f} GB of memory")
    return OutOfMemory(f"cannot allocate {amount}")
