"""Names of jobs' directories: short, readable, unique."""

from __future__ import annotations

from typing import Any

import pytest

from runner.sweeps.identity import LONGEST, directories


@pytest.mark.parametrize(
    ("swept", "name"),
    [
        ({"optimizer": "adam", "optimizer.lr": 0.1, "seed": 0}, "adam-lr0.1-seed0"),
        ({"optimizer.lr": 1e-5}, "lr1e-05"),
        ({"optimizer.lr": 1.0}, "lr1"),
        ({"optimizer.lr": 0.000316227766017}, "lr0.000316228"),
        ({"x.shift": -2}, "shift-2"),
        ({"architecture.hidden": [64, 64]}, "hidden64,64"),
        ({"threads": 2, "tensorboard": True}, "threads2-tensorboardtrue"),
        ({"dataset.root": "/a b/../c"}, "rootab..c"),
        ({"trainer.steps": None}, "stepsnull"),
        ({"hooks": ["a", "b"]}, "hooksa,b"),
    ],
)
def test_names(swept: dict[str, Any], name: str) -> None:
    assert directories({"0123456789ab": swept}) == [name]


@pytest.mark.parametrize(
    "jobs",
    [
        {"aaaa1": {"x": "a/b"}, "bbbb2": {"x": "ab"}, "cccc3": {"x": "c"}},
        {"aaaa1": {"dataset.root": "r" * 90 + "1"}, "bbbb2": {"dataset.root": "r" * 90 + "2"}},
        {"aaaa1": {"o.lr": 0.12345671}, "bbbb2": {"o.lr": 0.12345672}},
        {"aaaa1": {"x": "batches"}, "bbbb2": {}},
    ],
)
def test_names_are_unique_by_the_beginning_of_the_id(jobs: dict[str, dict[str, Any]]) -> None:
    names = directories(jobs)
    assert len(set(names)) == len(jobs)
    assert names[0].endswith("aaaa")
    assert names[1].endswith("bbbb")
    assert max(map(len, names)) <= LONGEST + 5
    assert all("/" not in name and name not in ("", "batches", ".", "..") for name in names)
