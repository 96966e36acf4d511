"""What is looked at before a run goes on: every part of a checkpoint is what its name says."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from runner.execution.examine import examined
from runner.foundation.errors import UnusableCheckpoint
from runner.foundation.files import write_json
from runner.recording import directory
from runner.training import checkpoints

CONTENT: dict[str, Any] = {"step": 3, "state": {}, "logs": {"metrics": 7}, "seconds": 0.5,
                           "config": {"seed": 0}, "fingerprint": {}, "started": 1.0}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("step", "3"),
        ("state", [1]),
        ("logs", {"metrics": -1}),
        ("logs", {"metrics": 1.5}),
        ("logs", torch.zeros(2)),
        ("seconds", math.nan),
        ("seconds", -0.5),
        ("config", {"seed": torch.zeros(0)}),
        ("fingerprint", {"torch": torch.zeros(0)}),
    ],
)
def test_a_part_of_another_kind_is_refused(tmp_path, name: str, odd: Any) -> None:
    """F41: whole and loadable, but written by nobody who knows the runner."""
    saves = tmp_path / directory.CHECKPOINTS
    saves.mkdir()
    write_json(tmp_path / directory.STATUS, {"started": 1.0})
    checkpoints.save(saves, 3, CONTENT)
    assert examined(tmp_path, None, {"seed": 0}, [], print).packed["step"] == 3
    checkpoints.save(saves, 4, CONTENT | {name: odd})
    warnings: list[str] = []
    kept = examined(tmp_path, None, {"seed": 0}, [], warnings.append)
    assert kept.packed["step"] == 3
    (warning,) = warnings
    assert f"not a checkpoint: what is under {name}; using step 3" in warning
    for path in checkpoints.listed(saves)[1:]:
        path.unlink()
    with pytest.raises(UnusableCheckpoint, match=name):
        examined(tmp_path, None, {"seed": 0}, [], print)
