"""A sweep's directory made by hand: the plan, and the files of jobs in every state."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MESSAGES = {"diverged": "step 4: the training loss is nan", "failed": "RuntimeError: no\nmore"}


def logged(value: float, rows: int) -> list[dict[str, Any]]:
    """Return rows of metrics that fall and rise to this accuracy."""
    return [
        {"step": 2 * at, "epoch": float(at), "train/loss": 4 * (1 - value) * 0.5**at + 0.01,
         "lr": 0.1, "valid/loss": 1 / at, "valid/accuracy": value * at / rows}
        for at in range(1, rows + 1)
    ]  # fmt: skip


def make_job(folder: Path, state: str, value: float, rows: int = 3) -> None:
    """Write what a job in this state has written."""
    folder.mkdir(parents=True)
    if state == "pending":
        return
    (folder / "config.yaml").write_text("seed: 7\n")
    status = {"state": state, "started": 1.0, "step": 2 * rows}
    if state in MESSAGES:
        status["message"] = MESSAGES[state]
    (folder / "status.json").write_text(json.dumps(status))
    lines = [json.dumps(row) + "\n" for row in logged(value, rows)]
    if state == "running":
        lines.append('{"step": 8, "epoch": 4.0, "valid/acc')  # is being written
    (folder / "metrics.jsonl").write_text("".join(lines))
    if state == "finished":
        summary = {
            "train": {"loss": 0.1, "accuracy": 1.0},
            "valid": {"loss": 1 - value, "accuracy": value},
            "test": {"loss": 1.1 - value, "accuracy": value - 0.01, "r2": None},
            "best": {"objective": "valid/accuracy", "value": value, "step": 4, "epoch": 2.0},
            "steps": 2 * rows,
            "seconds": 1.5,
        }
        (folder / "summary.json").write_text(json.dumps(summary))


@pytest.fixture
def make_sweep(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a sweep of a grid of axes.

    `value(swept)` is a job's accuracy, `state(swept)` how far it is.
    """

    def make(
        axes: dict[str, list[Any]],
        value: Callable[[dict[str, Any]], float],
        state: Callable[[dict[str, Any]], str] = lambda swept: "finished",
        rows: int = 3,
        **head: Any,
    ) -> Path:
        folder = tmp_path / "outputs/default/rates"
        jobs = {}
        for at, values in enumerate(itertools.product(*axes.values())):
            swept = dict(zip(axes, values, strict=True))
            label = "-".join(f"{key.rpartition('.')[2]}{each}" for key, each in swept.items())
            name = re.sub(r"[^A-Za-z0-9.,_-]+", "", label)
            make_job(folder / name, state(swept), value(swept), rows)
            jobs[f"{at:012x}"] = {"directory": name, "swept": swept, "overrides": [],
                                  "state": "pending", "batch": None, "attempts": 0,
                                  "started": None, "ended": None, "value": None,
                                  "message": None, "data": None}  # fmt: skip
        goal = {"objective": "valid/accuracy", "direction": "max"}
        plan = {"format": 1, "name": "rates", "swept": list(axes), "created": 1.0, "jobs": jobs,
                "batches": {}, **goal, **head}  # fmt: skip
        (folder / "sweep.json").write_text(json.dumps(plan))
        return folder

    return make
