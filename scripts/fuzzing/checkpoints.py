"""Damaged and forged checkpoints of a real run, which `runner resume` then goes on with.

Damaged: bytes under the name of the checkpoint they were. It is never loaded; the one before it
stands in, with the very same result, or if that is damaged too the exit code is 5.

Forged: the name fits the bytes, so that they reach the loader: odd bytes, other members of the zip
archive, another pickle, other content. Refused as above, or taken as the checkpoint they are.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from sklearn import datasets

from fuzzing import command
from fuzzing.campaign import Outcome
from fuzzing.campaign import command as pasted
from fuzzing.damage import Edit, edited, edits
from runner.recording import directory, recorder
from runner.training import checkpoints

RUN = (
    "dataset=digits", "architecture.hidden=[4]", "normalization=batch", "dropout=inverted",
    "optimizer=adam", "averaging=ema", "schedule=plateau", "stopping=early", "threads=1",
    "device=cpu", "compile=false", "trainer.steps=12", "trainer.batch_size=256",
    "trainer.evaluate_every=4steps", "trainer.log_every=3steps", "trainer.save_every=4steps",
)  # fmt: skip
ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    10**12,
    10**30,
    -1.5,
    float("nan"),
    "",
    "x",
    [],
    [0],
    {},
    {"x": 1},
)
TENSORS = (
    torch.tensor(float("nan")), torch.zeros(0), torch.zeros(3), torch.zeros(2, 2, 2),
    torch.zeros((), dtype=torch.int64), torch.ones(64, 4, dtype=torch.float64),
    torch.zeros(4, dtype=torch.bool), torch.zeros(4, dtype=torch.complex64),
    torch.zeros(1).expand(4), torch.eye(4).to_sparse(),
)  # fmt: skip
NONE = st.none()
ENDS = (0, 2, 4, 5)  # exit codes a forged checkpoint may come to; 2: it has another config


class Change(NamedTuple):
    """What happens to a checkpoint: `way` says to which part of it, the rest what."""

    way: str  # bytes, damaged under its old name; forged: file, member, members, content
    edits: list[Edit]
    member: int = 0
    other: int = 0
    instead: int = 0


class Example(NamedTuple):
    """What happens to the newest checkpoint, and perhaps to the one before it."""

    newest: Change
    before: Change | None


@dataclass(frozen=True)
class Original:
    """A run that was cut some steps before its end: its checkpoints, and what it comes to."""

    folder: Path
    newest: Path
    before: Path
    result: dict[str, Any]


def prepared(home: Path) -> tuple[SearchStrategy[Example], Callable[[Example], Outcome]]:
    """Train the run whose checkpoints suffer; return what to try, and how."""
    os.fsync = lambda fd: None  # what is damaged on purpose need not survive a power cut
    recorder.here = functools.cache(recorder.here)
    datasets.load_digits = functools.cache(datasets.load_digits)
    (kept := home / "kept").mkdir()
    _run(kept)
    (folder,) = directory.runs(home / "here/outputs")
    result = _result(folder)
    (folder / directory.SUMMARY).unlink()
    status = directory.status(folder)
    (folder / directory.STATUS).write_text(json.dumps({**status, "state": "running"}))
    saves = folder / directory.CHECKPOINTS
    for path in checkpoints.listed(saves):
        path.unlink()
    _, *two = checkpoints.listed(kept)[:3]  # not the last
    newest, before = (Path(shutil.copy(path, saves)) for path in two)
    original = Original(folder, newest, before, result)
    return examples(original), functools.partial(attempt, original)


def _run(kept: Path) -> None:
    """Train a run to its end, and keep all its checkpoints."""
    save = checkpoints.save

    def keeping(folder: Path, step: int, content: dict[str, Any]) -> Path:
        path = save(folder, step, content)
        shutil.copy(path, kept)
        return path

    checkpoints.save = keeping
    answer = command.run(RUN)
    checkpoints.save = save
    assert answer.code == 0, answer.err


def examples(original: Original) -> SearchStrategy[Example]:
    """Return a strategy of what happens to the checkpoints of a run."""
    length = original.newest.stat().st_size
    members = len(zipfile.ZipFile(original.newest).namelist())
    leaves = len(list(_places(checkpoints.read(original.newest))))
    damaged = st.builds(Change, st.just("bytes"), edits(length))
    forged = st.one_of(
        st.builds(Change, st.just("file"), edits(length)),
        st.builds(Change, st.just("member"), edits(600), st.integers(0, members - 1)),
        st.builds(Change, st.just("member"), edits(20_000), st.just(0)),
        st.builds(Change, st.just("members"), st.just([]), st.integers(0, members - 1),
                  st.integers(0, members - 1), st.integers(0, 3)),
        st.builds(Change, st.just("content"), st.just([]), st.integers(0, leaves - 1),
                  st.just(0), st.integers(0, len(ODD) + len(TENSORS))),
    )  # fmt: skip
    # one_of would make one choice of all: each kind of forgery as likely as any damage
    either = st.booleans().flatmap(lambda whole: forged if whole else damaged)
    return st.builds(Example, either, st.booleans().flatmap(lambda left: either if left else NONE))


def attempt(original: Original, example: Example) -> Outcome:
    """Let a copy of the run suffer, and `runner resume` go on with it."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-run-")) / "run"
    shutil.copytree(original.folder, folder)
    newest, before = (folder / directory.CHECKPOINTS / each.name
                      for each in (original.newest, original.before))  # fmt: skip
    contents = newest.read_bytes(), before.read_bytes()
    sound = [_suffer(newest, example.newest, *contents)]
    sound.append(example.before is None or _suffer(before, example.before, *reversed(contents)))
    kept = Path(f"{folder}-as-given")
    shutil.copytree(folder, kept)
    answer = command.run(["resume", str(folder)])
    fault = answer.fault() or _wrong(answer, sound, folder, original)
    kind = f"exit {answer.code}" if isinstance(answer.code, int) else "raised"
    repeat = f"{pasted('resume', str(kept))}  # {example}"
    return Outcome(kind, fault, repeat, answer.err[-2500:], folder.parent)


def _suffer(path: Path, change: Change, data: bytes, other: bytes) -> bool | None:
    """Change a checkpoint; return whether it is to be used, None where that is open."""
    match change.way:
        case "bytes":
            found = edited(data, other, change.edits)
            path.write_bytes(found)
            return found == data
        case "file":
            found = edited(data, other, change.edits)
        case "member" | "members":
            found = _packed(_exchanged(_members(data), _members(other), change))
        case "content":
            found = _saved(_replaced(checkpoints.read(path), change))
    path.unlink()
    short = hashlib.sha256(found).hexdigest()[:16]
    path.with_name(f"{path.name.rpartition('-')[0]}-{short}.pt").write_bytes(found)
    return None


def _wrong(
    answer: command.Answer, sound: list[bool | None], folder: Path, original: Original
) -> str:
    """Name what is wrong with how a resume ended, if something is."""
    if True in sound and None not in sound[: sound.index(True)]:
        if answer.code != 0:
            return f"exit {answer.code} though a checkpoint is whole"
        if _result(folder) != original.result:
            return "another result than that of the whole run"
        return ""
    if None not in sound:
        return "" if answer.code == 5 else f"exit {answer.code} though no checkpoint is whole"
    return "" if answer.code in ENDS else f"exit {answer.code}"


def _result(folder: Path) -> dict[str, Any]:
    """Return what a run came to."""
    summary = json.loads((folder / directory.SUMMARY).read_text())
    return {"metrics": (folder / directory.METRICS).read_bytes(),
            "test": summary["test"], "best": summary["best"]}  # fmt: skip


# Zip archives


def _members(data: bytes) -> list[tuple[str, bytes]]:
    """Return names and bytes of the members of an archive, the pickle first."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    names = sorted(archive.namelist(), key=lambda name: (not name.endswith("data.pkl"), name))
    return [(name, archive.read(name)) for name in names]


def _exchanged(
    members: list[tuple[str, bytes]], others: list[tuple[str, bytes]], change: Change
) -> list[tuple[str, bytes]]:
    """Change one member's bytes, or which members there are."""
    at, other = change.member, change.other
    name, data = members[at]
    if change.way == "member":
        replacement = others[at % len(others)][1]
        return [*members[:at], (name, edited(data, replacement, change.edits)), *members[at + 1 :]]
    match change.instead:
        case 0:
            return [*members[:at], *members[at + 1 :]]
        case 1:
            return [*members, (name, members[other][1])]
        case 2:
            return [*members[:at], (f"../{name}", data), *members[at + 1 :]]
    return [*members[:at], (name, members[other][1]), *members[at + 1 :]]


def _packed(members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members:
            info = zipfile.ZipInfo(name)
            if name not in archive.namelist():  # zipfile warns of a name that is there twice
                archive.writestr(info, data)
            else:
                archive.writestr(zipfile.ZipInfo(f"{name}~"), data)
    return buffer.getvalue()


# Content


def _places(content: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything that stands in a checkpoint, but for the whole."""
    if place:
        yield place
    if isinstance(content, Mapping | list | tuple):
        pairs = content.items() if isinstance(content, Mapping) else enumerate(content)
        for key, each in pairs:
            yield from _places(each, (*place, key))


def _replaced(content: Any, change: Change) -> Any:
    """Return a checkpoint with something taken out, or something odd in its place."""
    places = list(_places(content))
    values = [*ODD, *TENSORS]
    return _put(content, places[change.member % len(places)],
                values[change.instead] if change.instead < len(values) else None,
                change.instead >= len(values))  # fmt: skip


def _put(content: Any, place: tuple[Any, ...], value: Any, gone: bool) -> Any:
    first, *rest = place
    pairs = dict(content) if isinstance(content, Mapping) else dict(enumerate(content))
    if rest:
        pairs[first] = _put(pairs[first], tuple(rest), value, gone)
    elif gone:
        del pairs[first]
    else:
        pairs[first] = value
    return pairs if isinstance(content, Mapping) else type(content)(pairs.values())


def _saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()
