"""Files: whole or absent, whatever fails; a lock that names its holder and dies with it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from runner.foundation.errors import InUse, Unwritable
from runner.foundation.files import (
    flat,
    held,
    locked,
    read_json,
    read_yaml,
    write_atomic,
    write_json,
)

LIMITED = """
import resource, signal, sys
from pathlib import Path
from runner.foundation.errors import Unwritable
from runner.foundation.files import write_atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomic(Path(sys.argv[1]), b"new" * 1000)
except Unwritable as error:
    print(error)
    sys.exit(error.exit_code)
"""
HOLDER = """
import sys, time
from pathlib import Path
from runner.foundation.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def folder(tmp_path):
    """An empty folder."""
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


@pytest.mark.parametrize(
    ("content", "stored"),
    [(b"\x00\xff", b"\x00\xff"), ("naïve", "naïve".encode()), (b"", b"")],
)
def test_write_replaces_the_old_content(folder, content, stored):
    path = folder / "file"
    path.write_bytes(b"old")
    write_atomic(path, content)
    assert path.read_bytes() == stored
    assert names(folder) == ["file"]


@pytest.mark.parametrize("point", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_content_and_no_temporary_file(folder, monkeypatch, point):
    path = folder / "file"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[point], fail)
    with pytest.raises(Unwritable, match=r"file: cannot write: No space left on device"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(folder) == ["file"]


def test_a_full_disk_leaves_the_old_content(folder):
    path = folder / "file"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", LIMITED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 8, done.stderr
    assert str(path) in done.stdout
    assert path.read_bytes() == b"old"
    assert names(folder) == ["file"]


def test_a_missing_folder_is_named(folder):
    with pytest.raises(Unwritable, match="gone/file: cannot write: No such file or directory"):
        write_atomic(folder / "gone" / "file", "x")


def test_readers_see_the_old_file_or_the_new(folder, monkeypatch):
    """What stands under the name while a write is under way is the whole old content."""
    path = folder / "file"
    path.write_bytes(b"old")
    seen = []
    replace = Path.replace
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (seen.append(path.read_bytes()), replace(self, to))
    )
    write_atomic(path, b"new")
    assert seen == [b"old"]
    assert path.read_bytes() == b"new"


def test_json_has_no_nan(folder):
    path = folder / "file.json"
    content = {"a": float("nan"), "b": [float("inf"), 1.5, (-float("inf"),)], "c": {"d": True}}
    write_json(path, content)
    expected = {"a": None, "b": [None, 1.5, [None]], "c": {"d": True}}
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == expected
    assert read_json(path) == expected


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "3", b"\xff\xfe{"])
@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_a_missing_or_broken_file_reads_as_empty(folder, text, read):
    path = folder / "file"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert read(path) == {}


def test_yaml_runs_no_code(folder):
    (folder / "file").write_text("a: !!python/object/apply:os.mkdir [made]")
    assert read_yaml(folder / "file") == {}
    assert not Path("made").exists()


def test_flat():
    nested = {"a": {"b": {"c": 1}, "d": []}, "e": {}, "f": None}
    assert flat(nested) == {"a.b.c": 1, "a.d": [], "e": {}, "f": None}


@pytest.fixture
def holder(folder):
    """Start another process that holds the lock of `folder`."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_learns_who_holds_the_folder(folder, holder):
    assert held(folder)
    with pytest.raises(InUse) as caught, locked(folder):
        pytest.fail("the lock was given twice")
    assert caught.value.exit_code == 7
    pattern = r"(.+): in use by pid (\d+) on host (.+), started \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.fullmatch(pattern, str(caught.value)).groups() == (
        str(folder),
        str(holder.pid),
        socket.gethostname(),
    )
    assert holder.poll() is None


def test_a_killed_holder_leaves_the_folder_free(folder, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    assert not held(folder)
    with locked(folder):
        assert held(folder)
    text = (folder / ".lock").read_text()
    assert text.startswith(f"pid {os.getpid()} on host")
    assert str(holder.pid) not in text.replace(str(os.getpid()), "")


def test_a_lock_ends_with_its_block(folder):
    with pytest.raises(RuntimeError, match="inside"), locked(folder):
        raise RuntimeError("inside")
    assert not held(folder)
    with locked(folder):
        assert held(folder)


def test_asking_whether_a_folder_is_held_makes_no_file(folder):
    assert not held(folder)
    assert names(folder) == []


def test_a_lock_in_a_missing_folder_cannot_be_written(folder):
    with pytest.raises(Unwritable, match=r"gone/\.lock: cannot write"), locked(folder / "gone"):
        pytest.fail("there is no such folder")
