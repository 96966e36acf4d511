"""Files: whole or absent, whatever fails; a lock that names its holder and dies with it."""

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.foundation.errors import Interrupted, InUse, Unwritable
from runner.foundation.files import (
    clean,
    flat,
    held,
    locked,
    read_json,
    read_yaml,
    unwritable,
    write_atomic,
    write_json,
)
from runner.training.signals import raising

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
LEFT_TWICE = """
import os, signal, sys
from pathlib import Path
from runner.foundation.files import write_atomic
from runner.training.signals import deferred
def fsync(descriptor):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
os.fsync = fsync
with deferred():
    write_atomic(Path(sys.argv[1]), b"new")
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
    """F07: what stands is the old content, and the text says what is missing."""
    path = folder / "file"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[point], fail)
    with pytest.raises(Unwritable) as caught:
        write_atomic(path, b"new" * 12_345)
    found = re.fullmatch(r"disk full writing (.+) \(need 37 kB, free (.+ .B)\)", str(caught.value))
    assert found[1] == str(path)
    assert path.read_bytes() == b"old"
    assert names(folder) == ["file"]


@pytest.mark.parametrize(
    ("number", "need", "text"),
    [
        (errno.ENOSPC, 35_185, "disk full writing {path} (need 35 kB, free 0)"),
        (errno.ENOSPC, 0, "disk full writing {path} (free 0)"),
        (errno.EDQUOT, 812, "disk quota used up writing {path} (need 812 bytes)"),
        (errno.EFBIG, 2_400_000, "file size limit reached writing {path} (need 2.4 MB)"),
        (errno.EROFS, 812, "{path}: cannot write: Read-only file system"),
        (errno.ENOENT, 0, "{path}: cannot write: No such file or directory"),
    ],
)
def test_each_kind_of_no_has_its_words(folder, monkeypatch, number, need, text):
    """F07, F10: what was needed, what there is, and which file it is about."""
    there = SimpleNamespace(f_bavail=0, f_frsize=4096, f_files=9, f_favail=9)
    monkeypatch.setattr(os, "statvfs", lambda path: there)
    error = unwritable(folder / "file", OSError(number, os.strerror(number)), need)
    assert str(error) == text.format(path=folder / "file")
    assert error.exit_code == 8


def test_a_disk_with_room_but_no_file_left_says_so(folder, monkeypatch):
    there = SimpleNamespace(f_bavail=5, f_frsize=4096, f_files=9, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda path: there)
    error = unwritable(folder / "file", OSError(errno.ENOSPC, "full"), 10)
    assert str(error).endswith("(need 10 bytes, free 20 kB, no file more)")


def test_a_full_disk_leaves_the_old_content(folder):
    """F07: by a limit on the size of files, which every user may set."""
    path = folder / "file"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", LIMITED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 8, done.stderr
    text = f"file size limit reached writing {path} (need 3.0 kB, limit 1.0 kB)\n"
    assert done.stdout == text
    assert path.read_bytes() == b"old"
    assert names(folder) == ["file"]


@pytest.mark.parametrize("point", ["fsync", "replace"])
def test_a_signal_while_the_temporary_file_is_open_leaves_no_half_file(folder, monkeypatch, point):
    """F13: the old content or the new one, and nothing beside it."""
    path = folder / "file"
    path.write_bytes(b"old")
    owner = {"fsync": os, "replace": Path}[point]
    original = getattr(owner, point)

    def interrupted(*given):
        os.kill(os.getpid(), signal.SIGTERM)
        return original(*given)

    monkeypatch.setattr(owner, point, interrupted)
    with raising(), pytest.raises(Interrupted):
        write_atomic(path, b"new" * 1000)
    assert path.read_bytes() == b"old"
    assert names(folder) == ["file"]


def test_leaving_at_once_in_the_middle_of_a_write_leaves_the_old_content(folder):
    """F13, F40: the second signal asks nobody; who next holds the lock cleans up."""
    path = folder / "file"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", LEFT_TWICE, str(path)], timeout=30, check=False)
    assert done.returncode == 143
    assert path.read_bytes() == b"old"
    (left,) = [name for name in names(folder) if name != "file"]
    said = []
    clean(folder, "file", said.append)
    assert said == [f"{left}: left by a save that was cut; removed"]
    assert names(folder) == ["file"]


def test_only_temporary_files_of_our_own_are_cleaned(folder):
    """F40: foreign files stay, whatever they are called."""
    foreign = [".file.tmp", ".file.mine.tmp", "file.1.tmp", ".other.1.tmp", ".file.1.tmp~", "file"]
    for name in (*foreign, ".file.1.tmp", ".file.22.tmp"):
        (folder / name).write_bytes(b"half")
    clean(folder, "file", lambda text: None)
    assert names(folder) == sorted(foreign)


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


def test_a_path_of_bytes_that_are_no_text_can_be_written(folder):
    """F45: a file may be called so; JSON has an escape for it."""
    name = os.fsdecode(b"caf\xe9")
    write_json(folder / "json", {"a": name})
    assert read_json(folder / "json") == {"a": name}
    write_atomic(folder / "text", name)
    assert (folder / "text").read_bytes() == b"caf\\udce9"


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
    """F14: and the first is unharmed."""
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
    """F02: a lock dies with its process."""
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


def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(tmp_path):
    """F42: its name can be guessed."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path = tmp_path / "folder" / "status.json"
    path.parent.mkdir()
    (path.parent / f".{path.name}.{os.getpid()}.tmp").symlink_to(victim)
    write_atomic(path, "content")
    assert (path.read_text(), victim.read_text()) == ("content", "precious")
    assert not path.is_symlink()
    assert [each.name for each in path.parent.iterdir()] == ["status.json"]
