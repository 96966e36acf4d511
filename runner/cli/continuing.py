"""Words that are about continuing a run, and no part of what is run.

resume=never|auto            what train does where run_dir holds a run already
run_dir=DIR                  the run's directory, instead of one that is made up
resume.allow=[optimizer.lr]  keys or sections that may change although results depend on them
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.foundation.errors import Misconfigured, did_you_mean, shown
from runner.foundation.files import locked, read_yaml, unwritable
from runner.recording import directory

WORDS = ("resume", "run_dir", "resume.allow")
ALLOW = ("resume.allow",)  # of these, where the run is given
DECIDED = ("device", "threads", "compile")  # what auto became stays
IN_SWEEPS = {
    "resume": "the same command of a sweep goes on by itself; leave it out",
    "run_dir": "a sweep is found by its name; use name=",
    "resume.allow": "jobs of a sweep go on as they were; leave it out",
}


@dataclass(frozen=True)
class About:
    """What a command says about continuing."""

    auto: bool
    run_dir: Path | None
    allow: tuple[str, ...]


def apart(words: Sequence[str], known: Sequence[str] = WORDS) -> tuple[About, list[str]]:
    """Take the words about continuing from among all; the others are configuration.

    Raises `Misconfigured` with all that is wrong with them, `known` being those the verb takes.
    """
    typed = [word.partition("=")[::2] for word in words if _is_ours(word)]
    ours = [(key, re.sub(r"^(['\"])(.*)\1$", r"\2", value)) for key, value in typed]  # unquoted
    if problems := [*_wrong(ours, known), *([] if known == ALLOW else _missing(dict(ours)))]:
        raise Misconfigured(problems)
    given = dict(ours)
    allow = [each.strip() for each in given.get("resume.allow", "").strip("[]").split(",")]
    about = About(
        auto=given.get("resume") == "auto",
        run_dir=Path(given["run_dir"]).expanduser() if "run_dir" in given else None,
        allow=tuple(filter(None, allow)),
    )
    return about, [word for word in words if not _is_ours(word)]


def refuse_in_sweeps(words: Sequence[str]) -> None:
    """Raise `Misconfigured` for words about continuing: a sweep has its own ways."""
    ours = [word.partition("=")[0] for word in words if _is_ours(word)]
    if problems := [f"{key}: {IN_SWEEPS.get(key, 'unknown key')}" for key in ours]:
        raise Misconfigured(problems)


def _is_ours(word: str) -> bool:
    key = word.partition("=")[0]
    return key == "run_dir" or key.partition(".")[0] == "resume"


def _wrong(ours: Sequence[Sequence[str]], known: Sequence[str]) -> Iterator[str]:
    for key, count in Counter(key for key, _ in ours).items():
        if count > 1:
            values = ", ".join(value for each, value in ours if each == key)
            yield f"{key}: given {count} times ({values})"
    for key, value in ours:
        if key not in WORDS:
            yield f"{key}: unknown key{did_you_mean(key, WORDS)}"
        elif key not in known:
            yield f"{key}: belongs to train, such as runner resume=auto run_dir=DIR"
        elif not value:
            yield f"{key}: missing value after '='"
        elif key == "resume" and value not in ("never", "auto"):
            yield f"resume: expected never or auto, got {shown(value)}"
        elif key == "run_dir":
            yield from _no_folder(value)


def _no_folder(value: str) -> Iterator[str]:
    from runner.assemble.settings import Folder

    try:
        Folder().check(value)
    except ValueError as error:
        yield f"run_dir: expected the path of a folder, got {shown(value)}; {error}"


def _missing(given: Mapping[str, str]) -> Iterator[str]:
    if given.get("resume") == "auto" and "run_dir" not in given:
        yield "resume=auto: needs run_dir=DIR, the directory where the run is found again"
    if "resume.allow" in given and given.get("resume") != "auto":
        yield "resume.allow: is about a run that goes on; add resume=auto run_dir=DIR"


def found(about: About) -> Path | None:
    """Return the directory of the run that is to go on, or None where one is to begin.

    Raises `Misconfigured` where neither can be, `InUse` where another process is about to.
    """
    folder = about.run_dir
    if folder is None:
        return None
    try:
        holds = _holds(folder)
    except OSError as error:
        raise unwritable(folder, error) from error
    if not holds:
        return None
    if not about.auto:
        raise Misconfigured(
            f"run_dir: {folder} holds a run already ({holds}); "
            "add resume=auto to go on with it, or give another directory"
        )
    from runner.training import checkpoints

    if holds == "finished" or checkpoints.listed(folder / directory.CHECKPOINTS):
        return folder
    with locked(folder):  # it died before its first checkpoint
        return None


def _holds(folder: Path) -> str:
    """Return the state of the run in a directory, nothing where one may begin."""
    if folder.exists() and not folder.is_dir():
        raise Misconfigured(f"run_dir: {folder} is no directory")
    for each in (folder, folder.parent):
        if directory.is_sweep(each):
            raise Misconfigured(f"run_dir: {each} is a sweep; give a directory of its own")
    if (folder / directory.STATUS).is_file():
        return str(directory.status(folder).get("state", "unknown"))
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                   if path.is_file() and path.name[0] != ".")  # fmt: skip
    if files:
        some = ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")
        raise Misconfigured(
            f"run_dir: {folder} holds {some} and no run; give a new or an empty directory"
        )
    return ""


def decided(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return what `auto` became in a run that goes on, for the keys that are left to it again."""
    recorded = read_yaml(folder / directory.CONFIG)
    return {name: recorded[name] for name in DECIDED
            if config.get(name) == "auto" and name in recorded}  # fmt: skip
