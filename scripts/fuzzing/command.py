"""A command run in this process, with an eye on all it does: code, output, files, time."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from runner import cli
from runner.compose import composer
from runner.compose.chosen import Chosen

LIMIT = 20.0  # seconds that a command may take; the machine may be busy
# What a command that changes nothing must not do, as the interpreter reports it.
FORBIDDEN = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink",
             "os.truncate", "os.system", "os.exec", "os.posix_spawn", "os.fork",
             "subprocess.Popen", "socket.connect", "shutil.rmtree")  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ROOT = Path(cli.__file__).parents[2]
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass
class Answer:
    """How a command ended.

    code   its exit code, or what it raised
    deeds  what it did to files, processes and the network
    """

    code: int | str
    out: str
    err: str
    deeds: list[str] = field(default_factory=list)

    def fault(self) -> str:
        """Name what no command may do, whatever it is given; nothing if it did none of it."""
        if isinstance(self.code, str):
            return f"raised {self.code}"
        if "Traceback (most recent call last)" in self.err + self.out:
            return f"exit {self.code}, {_origin(self.err)}"
        if "this is a bug" in self.err:
            return f"exit {self.code}, called a bug"
        if _CONTROL.search(self.err + self.out):
            return "a control character reaches the terminal"
        if self.code and not self.err.startswith("runner: "):
            return f"exit {self.code} without a message"
        return ""


class TookTooLong(BaseException):
    """A command ran for longer than it may; no Exception, so that nothing takes it for a fault."""


class _Watch:
    """What the audit hook, which cannot be taken away again, notes while it is wanted."""

    deeds: list[str] | None = None
    hooked = False


def run(words: Sequence[str], *, reading: bool = False) -> Answer:
    """Run a command; with `reading` note whatever it does but to read."""
    # As a terminal has them: what cannot be encoded is an error on stdout alone.
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="strict")
    err = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace")
    code: int | str
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _limited():
        try:
            with _watched(reading) as deeds:
                code = cli.run(list(words))
                out.flush()
        except TookTooLong:
            code = f"nothing in {LIMIT:.0f} s"
        except BaseException as error:
            code = f"{type(error).__name__}, {_last_frame(error)}"
    return Answer(code, _text(out), _text(err), deeds)


def compose_once() -> None:
    """Let Hydra compose the same options once only: it takes most of a command's time."""
    compose = composer.choose
    kept: dict[tuple[str, ...], Chosen] = {}

    def choose(words: Sequence[str], folders: Sequence[Path], problems: Sequence[str]) -> Chosen:
        key = tuple(words)
        if key not in kept:
            kept[key] = compose(words, folders, problems)
        return kept[key]

    composer.choose = choose


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def expire(number: int, frame: FrameType | None) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, LIMIT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _watched(wanted: bool) -> Iterator[list[str]]:
    deeds: list[str] = []
    if wanted and not _Watch.hooked:
        sys.addaudithook(_note)
        _Watch.hooked = True
    _Watch.deeds = deeds if wanted else None
    try:
        yield deeds
    finally:
        _Watch.deeds = None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _Watch.deeds is None:
        return
    if event == "open":
        path, _, flags = arguments
        if isinstance(flags, int) and flags & _WRITING and path != os.devnull:
            _Watch.deeds.append(f"open {path!r} for writing")
    elif event in FORBIDDEN:
        _Watch.deeds.append(f"{event} {arguments[:2]!r:.100}")


def _text(stream: io.TextIOWrapper) -> str:
    with contextlib.suppress(UnicodeEncodeError):
        stream.flush()
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue().decode("utf-8")


def _origin(text: str) -> str:
    """Name the error of a printed traceback, and the last line of ours that it came through."""
    frames = re.findall(rf'File "{re.escape(str(_ROOT))}/(runner/\S+)", line (\d+)', text)
    kinds = re.findall(r"^(\w[\w.]*(?:Error|Exception))\b", text, re.MULTILINE)
    kind = kinds[-1] if kinds else "an error"
    return f"{kind} at {':'.join(frames[-1]) if frames else 'an unknown place'}"


def _last_frame(error: BaseException) -> str:
    trace, place = error.__traceback__, ""
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if path.is_relative_to(_ROOT / "runner"):
            place = f"{path.relative_to(_ROOT)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return f"at {place}"
