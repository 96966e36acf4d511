"""Checkpoints: named by their content, verified before use, and data even from a stranger."""

import contextlib
import errno
import hashlib
import io
import itertools
import os
import pickle
import re
import shutil
import zipfile
from pathlib import Path

import crashing
import pytest
import torch

from runner.foundation.errors import UnusableCheckpoint, Unwritable
from runner.training import checkpoints

CONTENT = {"step": 0, "state": {"weights": torch.arange(50.0), "name": "a", "list": [1, 2.5]}}


def named(folder: Path, data: bytes, step: int) -> Path:
    """Write bytes under the name that fits them."""
    path = folder / f"step-{step}-{hashlib.sha256(data).hexdigest()[:16]}.pt"
    path.write_bytes(data)
    return path


def stored(content) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path):
    """A folder with the checkpoints of steps 9 and 10."""
    (tmp_path / "checkpoints").mkdir()
    for step in (9, 10):
        checkpoints.save(tmp_path / "checkpoints", step, {**CONTENT, "step": step})
    return tmp_path / "checkpoints"


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_what_was_saved_is_read_back(folder):
    path = checkpoints.save(folder, 11, {**CONTENT, "step": 11})
    content = checkpoints.read(path)
    assert content["format"] == checkpoints.FORMAT
    assert content["step"] == 11
    assert torch.equal(content["state"]["weights"], CONTENT["state"]["weights"])
    assert content["state"]["list"] == [1, 2.5]


def test_the_name_carries_step_and_hash(folder):
    path = checkpoints.save(folder, 120, CONTENT)
    match = re.fullmatch(r"step-120-([0-9a-f]{16})\.pt", path.name)
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(match[1])


def test_the_newest_two_are_kept_by_step_and_not_by_name(folder):
    assert [path.name.split("-")[1] for path in checkpoints.listed(folder)] == ["10", "9"]
    checkpoints.save(folder, 100, CONTENT)
    assert [path.name.split("-")[1] for path in checkpoints.listed(folder)] == ["100", "10"]
    assert len(list(folder.iterdir())) == 2


def test_the_newest_is_loaded(folder):
    assert checkpoints.load(folder, pytest.fail)["step"] == 10


def test_every_flipped_byte_is_noticed(folder):
    """F04: one bit anywhere: never loaded, and the one before it stands in."""
    path = checkpoints.listed(folder)[0]
    size = path.stat().st_size
    for at in [*range(0, size, 97), size - 1]:
        flip(path, at)
        with pytest.raises(UnusableCheckpoint, match="content hash differs"):
            checkpoints.read(path)
        flip(path, at)
    assert checkpoints.read(path)["step"] == 10


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: flip(path, 700),
        lambda path: os.truncate(path, path.stat().st_size // 2),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    ],
    ids=["flipped", "truncated", "longer"],
)
def test_a_damaged_newest_falls_back_with_a_warning(folder, damage):
    """F03, F04, F06: which one, what is wrong with it, what stands in."""
    path = checkpoints.listed(folder)[0]
    damage(path)
    warnings = []
    assert checkpoints.load(folder, warnings.append)["step"] == 9
    size = path.stat().st_size
    assert warnings == [f"{path.name}: content hash differs ({size} bytes); using step 9"]
    assert path.exists()


def other_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("readme.txt", "hello")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [b"", b"<html></html>", other_zip(), stored([1, 2]), stored(torch.zeros(3)), stored("text"),
     pickle.dumps({"format": 1})],
    ids=["empty", "html", "other zip", "list", "tensor", "text", "pickle"],
)  # fmt: skip
def test_another_file_under_a_fitting_name_is_no_checkpoint(folder, data):
    """F06: a hash that fits makes no checkpoint of it."""
    path = named(folder, data, 20)
    warnings = []
    assert checkpoints.load(folder, warnings.append)["step"] == 10
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{path.name}: not a checkpoint")
    assert warnings[0].endswith("; using step 10")


def test_when_all_are_bad_each_is_named_and_none_deleted(folder):
    """F05: exit 5 with each reason, and how to start afresh."""
    newest, older = checkpoints.listed(folder)
    flip(newest, 500)
    os.truncate(older, 10)
    third = named(folder, b"<html></html>", 3)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UnusableCheckpoint) as caught:
        checkpoints.load(folder, pytest.fail)
    assert caught.value.exit_code == 5
    first, *reasons = str(caught.value).splitlines()
    assert first == f"{folder}: no usable checkpoint; start afresh with the same command"
    listing = "\n".join(reasons)
    assert f"  {newest.name}: content hash differs" in listing
    assert f"  {older.name}: content hash differs (10 bytes)" in listing
    assert f"  {third.name}: not a checkpoint" in listing
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("make", [True, False])
def test_a_folder_without_checkpoints(tmp_path, make):
    folder = tmp_path / "none"
    if make:
        folder.mkdir()
    with pytest.raises(UnusableCheckpoint, match="no usable checkpoint"):
        checkpoints.load(folder, pytest.fail)


class Hostile:
    """Make a folder when unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_runs_nothing(tmp_path, folder, zipped):
    """F41: it is refused, and its marker is absent."""
    marker = tmp_path / "marker"
    content = {"format": checkpoints.FORMAT, **CONTENT, "evil": Hostile(marker)}
    data = stored(content) if zipped else pickle.dumps(content)
    path = named(folder, data, 20)
    with pytest.raises(UnusableCheckpoint, match="not a checkpoint"):
        checkpoints.read(path)
    assert not marker.exists()
    torch.load(io.BytesIO(stored(content)), weights_only=False)
    assert marker.exists()  # the pickle does bite where nobody looks


def test_a_newer_format_names_both_numbers(folder):
    """B55."""
    path = named(folder, stored({"format": checkpoints.FORMAT + 6, **CONTENT}), 20)
    message = rf"{path.name}: format {checkpoints.FORMAT + 6}, .* knows 1 and {checkpoints.FORMAT}$"
    with pytest.raises(UnusableCheckpoint, match=message):
        checkpoints.read(path)


def test_temporary_and_foreign_files_are_neither_used_nor_removed(folder):
    """F40."""
    foreign = [".step-99-0123456789abcdef.pt.123.tmp", "step-99.pt", "notes.txt", "best.pt",
               "step-99-0123456789abcdef.pt.bak", "step-99-XYZ.pt"]  # fmt: skip
    for name in foreign:
        (folder / name).write_bytes(b"foreign")
    assert checkpoints.load(folder, pytest.fail)["step"] == 10
    for step in (11, 12, 13):
        checkpoints.save(folder, step, CONTENT)
    names = {path.name for path in folder.iterdir()}
    assert names == {*foreign, *(path.name for path in checkpoints.listed(folder))}
    assert len(names) == len(foreign) + 2


def test_saving_the_same_step_again_keeps_the_new_content(folder):
    checkpoints.save(folder, 10, {**CONTENT, "step": 10, "state": {"weights": torch.ones(3)}})
    content = checkpoints.load(folder, pytest.fail)
    assert torch.equal(content["state"]["weights"], torch.ones(3))


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_keeps_both_earlier_checkpoints(folder, monkeypatch):
    """F07: and the next save tries again."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unwritable, match="disk full writing") as caught:
        checkpoints.save(folder, 11, CONTENT)
    assert caught.value.exit_code == 8
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    monkeypatch.undo()
    checkpoints.save(folder, 11, {**CONTENT, "step": 11})
    assert checkpoints.load(folder, pytest.fail)["step"] == 11


def test_a_disk_that_stores_something_else_is_noticed(folder, monkeypatch):
    """What was written is read back before an older checkpoint goes."""

    def broken(path, data):
        path.write_bytes(data[:-1] + b"?")

    monkeypatch.setattr(checkpoints, "write_atomic", broken)
    with pytest.raises(Unwritable, match="reads back differently"):
        checkpoints.save(folder, 11, CONTENT)
    monkeypatch.undo()
    warnings = []
    assert checkpoints.load(folder, warnings.append)["step"] == 10
    assert len(warnings) == 1


def test_a_damaged_newer_checkpoint_does_not_count_as_the_one_before(folder):
    """A run that fell back saves below the damaged one: two good ones must stand all the same."""
    flip(checkpoints.save(folder, 20, CONTENT), 700)
    assert checkpoints.load(folder, lambda text: None)["step"] == 10
    for step in (12, 14):
        newest = checkpoints.save(folder, step, {**CONTENT, "step": step})
    os.truncate(newest, 100)
    assert checkpoints.load(folder, lambda text: None)["step"] == 12


class Killed(BaseException):
    """Stand for a death in the middle of a call."""


def test_a_save_that_ends_at_any_point_leaves_whole_checkpoints(tmp_path, folder):
    """F01, F13: never half a file under the final name, and never fewer good ones than before."""

    def end():
        raise Killed

    for point in itertools.count(1):
        copy = tmp_path / f"copy{point}"
        shutil.copytree(folder, copy)
        before = {path.name for path in checkpoints.listed(copy)}
        with (
            contextlib.suppress(Killed),
            crashing.pointed(crashing.Points(0, point, thread="MainThread", end=end)),
        ):
            checkpoints.save(copy, 11, {**CONTENT, "step": 11})
            break
        newest, *older = checkpoints.listed(copy)
        assert checkpoints.read(newest)["step"] in (10, 11)
        assert len(before & {path.name for path in (newest, *older)}) == 2
        assert checkpoints.load(copy, pytest.fail)["step"] in (10, 11)
    assert point > 8
    assert [path.name.split("-")[1] for path in checkpoints.listed(copy)] == ["11", "10"]
