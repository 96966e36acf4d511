"""Logs: they grow, they know their length, and they are cut back to what a checkpoint saw."""

import json
import math
from pathlib import Path

import pytest

from runner.foundation.errors import UnusableCheckpoint, Unwritable
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
    with pytest.raises(Unwritable, match=r"/dev/full: cannot write: No space left on device"):
        act(log)


def test_closing_twice_is_harmless(path):
    log = Log(path)
    log.write(b"x")
    log.close()
    log.close()
    assert path.read_bytes() == b"x"
