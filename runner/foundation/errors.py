"""What can go wrong, and the exit code each kind has.

    RunnerError (1)           a bug in the runner itself
      Misconfigured (2)       the configuration or the command line is wrong
      BadData (3)             a data set is missing or corrupt
      Diverged (4)            the loss became nan or infinite
      UnusableCheckpoint (5)  no checkpoint can be resumed from
      InUse (7)               another process holds the run directory
      Unwritable (8)          a file could not be written
    Interrupted (130, 143)    SIGINT or SIGTERM; no Exception, so that nothing takes it for a fault

Every message says where, what was expected, what came and what is near.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence


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


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the word that the user most likely meant, or None if nothing is near.

    A dotted key is near when its last part is (`lr` -> `optimizer.lr`), else by edit distance.
    """
    candidates = sorted(set(words), key=lambda each: (each.count("."), each))
    last_parts = {candidate.rsplit(".", 1)[-1]: candidate for candidate in reversed(candidates)}
    tail = word.rsplit(".", 1)[-1]
    if tail in last_parts:
        return last_parts[tail]
    if match := difflib.get_close_matches(tail, list(last_parts), n=1, cutoff=0.6):
        return last_parts[match[0]]
    if match := difflib.get_close_matches(word, candidates, n=1, cutoff=0.8):
        return match[0]
    return None


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return `; did you mean 'x'?`, or nothing when no word is near."""
    near = nearest(word, words)
    return f"; did you mean '{near}'?" if near else ""


@contextlib.contextmanager
def naming(group: str) -> Iterator[None]:
    """Turn what a component says against its configuration into a mistake of this group."""
    try:
        yield
    except RunnerError:
        raise
    except (RuntimeError, ValueError) as error:
        reason = out_of_memory(error) or str(error).splitlines()[0]
        raise Misconfigured(f"{group}: {reason}") from error


def out_of_memory(error: Exception) -> str:
    """Say in words how much memory was asked for in vain; nothing for other errors."""
    wanted = re.search(r"can't allocate memory: you tried to allocate (\d+) bytes", str(error))
    return f"more memory is needed than there is: {int(wanted[1]) / 1e9:,.1f} GB" if wanted else ""
