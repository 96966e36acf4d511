"""Checkpoints are written beside training, in order, and a save that fails is tried again."""

from __future__ import annotations

import errno
import os
import shutil
import threading

import pytest
import torch

from runner.execution.saving import Saving
from runner.foundation.errors import Unwritable
from runner.training import checkpoints


def content(step):
    return {"step": step, "state": {"weights": torch.full((3,), float(step))}}


def steps(folder):
    return [int(each.name.split("-")[1]) for each in checkpoints.listed(folder)]


def test_a_save_returns_before_it_is_written(tmp_path):
    go, warned = threading.Event(), []
    with Saving(tmp_path, warned.append) as saving:
        saving.save(content(1), before=go.wait)
        assert steps(tmp_path) == []
        go.set()
        saving.wait()
        assert steps(tmp_path) == [1]
    assert not warned


def test_leaving_waits_for_what_was_begun(tmp_path):
    with Saving(tmp_path, pytest.fail) as saving:
        saving.save(content(1))
        saving.save(content(2))
    assert steps(tmp_path) == [2, 1]


def test_logs_come_before_the_checkpoint_that_knows_their_length(tmp_path):
    order = []
    with Saving(tmp_path, pytest.fail) as saving:
        saving.save(
            content(1),
            before=lambda: order.append(("before", steps(tmp_path))),
            after=lambda: order.append(("after", steps(tmp_path))),
        )
    assert order == [("before", []), ("after", [1])]


def test_a_failed_save_is_told_and_tried_again(tmp_path, monkeypatch):
    """F07: once for each failure; those before it stay."""
    warned, original = [], checkpoints.save

    def full(folder, step, content):
        if step == 2:
            raise Unwritable("disk full")
        return original(folder, step, content)

    monkeypatch.setattr(checkpoints, "save", full)
    with Saving(tmp_path, warned.append) as saving:
        saving.save(content(1))
        saving.save(content(2))
        saving.save(content(3))
        saving.wait()
    assert steps(tmp_path) == [3, 1]
    assert warned == ["disk full; training goes on, and tries again with the next checkpoint"]


def test_who_waits_learns_that_it_failed(tmp_path):
    """F08: so that nothing is trained."""
    with Saving(tmp_path / "absent", pytest.fail) as saving:
        saving.save(content(5))
        with pytest.raises(Unwritable, match="absent"):
            saving.wait()
        assert saving.step == -1  # so that the same step is saved again
        saving.wait()


def test_what_could_not_be_saved_is_said_in_words(tmp_path):
    with Saving(tmp_path, pytest.fail) as saving:
        saving.save(content(1))
        assert saving.unsaved() == []
        saving.save(content(2), before=lambda: refuse(errno.EROFS))
        assert saving.unsaved() == [f"{tmp_path}: cannot write: Read-only file system"]
        assert saving.unsaved() == []
    assert steps(tmp_path) == [1]


def refuse(number):
    raise OSError(number, os.strerror(number))


def test_once_the_folder_is_gone_no_further_save_is_tried(tmp_path):
    """F10: nothing could be kept any more; who trains is to know."""
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    with Saving(folder, pytest.fail) as saving:
        saving.save(content(1))
        saving.wait()
        shutil.rmtree(folder)
        saving.save(content(2))
        with pytest.raises(Unwritable, match=r"checkpoints/step-2-.*: cannot write: No such file"):
            saving.save(content(3))
    assert not folder.exists()


def test_a_checkpoint_can_hold_what_a_log_has_not_taken(tmp_path):
    """F07: bytes, which are read back without running code."""
    logs = {"metrics": 5, "unwritten": {"metrics": bytes(range(256))}}
    with Saving(tmp_path, pytest.fail) as saving:
        saving.save({**content(1), "logs": logs})
    assert checkpoints.read(checkpoints.listed(tmp_path)[0])["logs"] == logs
