"""Logs: they grow, they know their length, and they are cut back to what a checkpoint saw."""

import contextlib
import json
import math
import os
import resource
from pathlib import Path

import pytest

from runner.foundation.errors import UnusableCheckpoint, Unwritable
from runner.recording.directory import read_rows
from runner.recording.logs import Log


@pytest.fixture
def path(tmp_path):
    """Where the log is."""
    return tmp_path / "log.jsonl"


@pytest.fixture
def opened():
    """Open logs that are closed at the end."""
    logs = []

    def log(*arguments):
        logs.append(Log(*arguments))
        return logs[-1]

    yield log
    for each in logs:
        each.close()


def test_what_is_written_can_be_read_at_once(path, opened):
    log = opened(path)
    log.write(b"one")
    assert path.read_bytes() == b"one"
    log.row({"step": 1, "name": "é"})
    assert path.read_bytes() == 'one{"step": 1, "name": "é"}\n'.encode()
    assert log.length() == path.stat().st_size


def test_rows_keep_every_bit_of_a_number(path, opened):
    values = [0.1 + 0.2, 1e-320, 2.0**60, 1 / 3]
    opened(path).row({"values": values})
    assert json.loads(path.read_text())["values"] == values


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_row_is_json_whatever_was_measured(path, opened, value):
    """JSON has no nan: a strict reader must get through metrics.jsonl."""
    opened(path).row({"step": 1, "valid/r2": value})
    assert json.loads(path.read_text(), parse_constant=pytest.fail)["step"] == 1


def test_opening_without_a_length_appends(path, opened):
    path.write_bytes(b"old")
    log = opened(path)
    log.write(b"new")
    assert path.read_bytes() == b"oldnew"
    assert log.length() == 6


@pytest.mark.parametrize("length", [0, 3, 6])
def test_resuming_cuts_back_and_goes_on(path, opened, length):
    path.write_bytes(b"abcdef")
    log = opened(path, length)
    assert path.read_bytes() == b"abcdef"[:length]
    assert log.length() == length
    log.write(b"X")
    assert path.read_bytes() == b"abcdef"[:length] + b"X"


@pytest.mark.parametrize("content", [None, b"", b"abc"])
def test_a_log_shorter_than_the_checkpoint_saw_is_unusable(path, opened, content):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnusableCheckpoint, match="bytes, the checkpoint saw 5") as caught:
        opened(path, 5)
    assert caught.value.exit_code == 5
    assert str(path) in str(caught.value)
    assert (path.read_bytes() if path.exists() else None) == content


def test_the_same_steps_write_the_same_bytes(path, opened):
    log = opened(path)
    rows = [{"step": step, "loss": 1 / step} for step in range(1, 6)]
    for row in rows[:2]:
        log.row(row)
    length = log.length()
    for row in rows[2:]:
        log.row(row)
    whole = path.read_bytes()
    again = opened(path, length)
    for row in rows[2:]:
        again.row(row)
    assert path.read_bytes() == whole


def test_a_folder_that_is_gone_is_named(tmp_path):
    with pytest.raises(Unwritable, match="gone/log: cannot write: No such file"):
        Log(tmp_path / "gone" / "log")


@pytest.mark.parametrize("act", [lambda log: log.write(b"x"), lambda log: log.row({"a": 1})])
def test_a_full_disk_is_named(opened, act):
    """F09: /dev/full takes nothing."""
    log = opened(Path("/dev/full"))
    with pytest.raises(Unwritable, match=r"disk full writing /dev/full \(need .* bytes"):
        act(log)
    assert log.waiting


@contextlib.contextmanager
def limited(size):
    """Let no file grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1, 50, 99])
def test_half_a_record_is_finished_later_and_never_written_twice(path, opened, room):
    """F07: the disk takes 50 of 100 bytes; nothing is lost, cut or doubled."""
    log, records = opened(path), [bytes([65 + at]) * 100 for at in range(4)]
    log.write(records[0])
    with limited(100 + room):
        for record in records[1:3]:
            with pytest.raises(Unwritable, match="file size limit reached writing"):
                log.write(record)
            assert log.length() == path.stat().st_size == 100 + room
    log.write(records[3])
    assert path.read_bytes() == b"".join(records)
    assert log.length() == 400
    assert not log.waiting


def test_what_waits_is_written_with_nothing_new(path, opened):
    log = opened(path)
    with limited(3), pytest.raises(Unwritable):
        log.row({"step": 1})
    assert path.read_bytes() == b'{"s'
    assert bytes(log.waiting) == b'tep": 1}\n'
    assert list(read_rows(path)) == []
    assert list(read_rows(path, bytes(log.waiting))) == [{"step": 1}]
    log.write()
    assert path.read_bytes() == b'{"step": 1}\n'
    assert not log.waiting


def test_resuming_takes_up_what_waited(path, opened):
    """F07, F39: a checkpoint knows the length of the file and what the disk did not take."""
    log = opened(path)
    with limited(3), pytest.raises(Unwritable):
        log.row({"step": 1})
    length, waiting = log.length(), bytes(log.waiting)
    log.write()
    log.row({"step": 2})
    again = opened(path, length, waiting)
    again.row({"step": 2})
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'


def test_a_log_that_was_closed_is_opened_again(path, opened):
    log = opened(path)
    log.write(b"one")
    log.close()
    log.write(b"two")
    assert path.read_bytes() == b"onetwo"


def test_a_path_of_bytes_that_are_no_text_can_be_logged(path, opened):
    """F45: as an escape."""
    name = os.fsdecode(b"caf\xe9")
    opened(path).row({"name": name})
    assert json.loads(path.read_text()) == {"name": name}


def test_closing_twice_is_harmless(path):
    log = Log(path)
    log.write(b"x")
    log.close()
    log.close()
    assert path.read_bytes() == b"x"
