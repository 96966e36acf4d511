"""What auto decided: the first to decide stands, in all processes; trouble with files is none."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from runner.foundation import remembered
from runner.foundation.errors import Unwritable

RACER = """
import json, sys, time
from pathlib import Path
from runner.foundation import remembered
own, start = sys.argv[1], Path(sys.argv[2])
print("ready", flush=True)
while not start.exists():
    time.sleep(0.001)
words = {"what": "threads", "reason": "quick", "for": "mlp"}
stands = [remembered.remember(f"key {n}", {"value": own, **words}) for n in range(30)]
print(json.dumps([each["value"] for each in stands]))
"""


def decision(value=1, reason="1 thread was 1.32 times as fast as 2"):
    return {"what": "threads", "value": value, "reason": reason, "for": "mlp, batches of 64"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a cache folder that is not there yet."""
    monkeypatch.setenv("RUNNER_CACHE", str(tmp_path / "some/cache"))
    return tmp_path / "some/cache"


def test_the_first_decision_stands(folder):
    assert remembered.recall("a") is None
    assert not folder.exists()
    assert remembered.remember("a", decision(1)) == decision(1)
    assert remembered.remember("a", decision(2)) == decision(1)
    assert remembered.remember("b", decision("trace")) == decision("trace")
    assert remembered.recall("a") == decision(1)
    assert remembered.listed() == {"a": decision(1), "b": decision("trace")}
    assert list(json.loads((folder / "decisions.json").read_text())) == ["a", "b"]


def test_what_was_forgotten_can_be_decided_anew(folder):
    assert remembered.forget() == 0
    assert not folder.exists()
    for key in "abc":
        remembered.remember(key, decision())
    compiled = remembered.kernels() / "of/torch"
    compiled.mkdir(parents=True)
    (compiled / "kernel.so").touch()
    (folder / "others.rows").touch()
    assert remembered.forget() == 3
    assert remembered.listed() == {}
    assert not remembered.kernels().exists()
    assert (folder / "others.rows").exists()
    assert remembered.remember("a", decision(2)) == decision(2)


def test_of_racing_processes_one_is_the_first(folder, tmp_path):
    start = tmp_path / "start"
    command = [sys.executable, "-c", RACER]
    racers = [
        subprocess.Popen([*command, own, str(start)], stdout=subprocess.PIPE, text=True)
        for own in ("one", "two", "three")
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    start.touch()
    told = [json.loads(racer.communicate(timeout=60)[0]) for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert told[0] == told[1] == told[2]
    assert told[0] == [remembered.recall(f"key {n}")["value"] for n in range(30)]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[1]", '{"a": 3, "b": {"value": 1}}', b"\xff\xfe{", '{"a": {"what": "threads"}}'],
)
def test_a_broken_or_foreign_file_is_empty_and_replaced(folder, content):
    folder.mkdir(parents=True)
    path = folder / "decisions.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert remembered.listed() == {}
    assert remembered.recall("a") is None
    assert remembered.remember("a", decision()) == decision()
    assert json.loads(path.read_text()) == {"a": decision()}


def blocked(path: Path) -> None:
    """Put what cannot be written in the place of a file or a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir() if path.suffix or path.name == ".lock" else path.touch()


@pytest.mark.parametrize("what", ["", ".lock", "decisions.json"])
def test_where_nothing_can_be_written_nothing_is_remembered(folder, what):
    blocked(folder / what if what else folder)
    assert remembered.remember("a", decision(1)) == decision(1)
    assert remembered.remember("a", decision(2)) == decision(2)
    assert remembered.listed() == {}


def test_what_stands_is_told_where_nothing_more_can_be_written(folder):
    remembered.remember("a", decision(1))
    (folder / ".lock").unlink()
    blocked(folder / ".lock")
    assert remembered.remember("a", decision(2)) == decision(1)
    assert remembered.remember("b", decision(2)) == decision(2)
    assert remembered.recall("b") is None


def test_what_cannot_be_forgotten_is_said(folder):
    remembered.remember("a", decision())
    (folder / ".lock").unlink()
    blocked(folder / ".lock")
    with pytest.raises(Unwritable, match=r"\.lock: cannot write: "):
        remembered.forget()
    assert remembered.recall("a") == decision()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"RUNNER_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"RUNNER_CACHE": "~/a"}, "/home/me/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/runner"),
        ({"RUNNER_CACHE": "", "XDG_CACHE_HOME": ""}, "/home/me/.cache/runner"),
        ({}, "/home/me/.cache/runner"),
    ],
)
def test_where_the_folder_is(monkeypatch, given, expected):
    for name in ("RUNNER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert remembered.folder() == Path(expected)
    assert remembered.kernels() == Path(expected) / "inductor"


PROCESSORS = {
    "x86": (
        "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel\t\t: 17\ncpu family\t: 25\n"
        "flags\t\t: fpu avx avx2 avx512f\n\nprocessor\t: 1\nmodel name\t: Other\n",
        "Some CPU @ 2 GHz 25 17 avx512f, ",
    ),
    "arm": (
        "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n"
        "CPU part\t: 0xd0c\n",
        "0x41 0xd0c asimd, ",
    ),
}


@pytest.mark.parametrize("case", PROCESSORS)
def test_a_machine_is_told_by_its_processor(monkeypatch, case):
    text, expected = PROCESSORS[case]
    monkeypatch.setattr(Path, "read_text", lambda path, encoding: text)
    assert remembered.machine().startswith(expected)


def test_a_machine_is_what_bits_and_speed_depend_on(monkeypatch):
    here = remembered.machine()
    assert re.search(r", [1-9]\d* usable, torch \d+\.\d+\S*, \S+$", here)
    assert socket.gethostname() not in here
    assert here == remembered.machine()
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(77)))
    assert ", 77 usable, " in remembered.machine()


def test_a_machine_is_told_without_torch():
    script = (
        "import sys; from runner.foundation import remembered; remembered.machine();"
        "remembered.recall('a'); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_key_tells_texts_apart():
    texts = [(), ("",), ("a", "b"), ("b", "a"), ("ab",), ("a", "b", ""), ("a,b",), ("ä",)]
    keys = [remembered.key(*each) for each in texts]
    assert len(set(keys)) == len(texts)
    assert all(re.fullmatch(r"[0-9a-f]{16}", each) for each in keys)
    assert remembered.key("a", "b") == keys[2]
