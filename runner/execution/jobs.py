"""What is written and told of a job while its batch trains: that it runs, how far, how it ended."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.assemble.run import Run
from runner.assemble.settings import Settings
from runner.execution.launch import Request
from runner.execution.probing import diagnosed
from runner.execution.record import known
from runner.foundation import secrets
from runner.foundation.errors import BadData, Diverged, Interrupted, RunnerError
from runner.foundation.files import read_json, write_atomic, write_json
from runner.recording import directory
from runner.recording.console import Silent
from runner.reports.results import FINAL, outcome
from runner.training.loop import Row

Report = Callable[[dict[str, Any]], None]
TOLD = 0.5  # seconds between two words on how far a job is


@dataclass(frozen=True)
class Member:
    """A job of a batch: what to train, for whom, where its record goes, what tells it apart."""

    id: str
    settings: Settings
    request: Request
    folder: Path
    swept: Mapping[str, Any]


def is_done(member: Member, folder: Path) -> bool:
    """Tell whether a job has come to its end in this batch; in another it may have failed."""
    status = directory.status(member.folder)
    return status.get("state") in FINAL and status.get("batch") == folder.name


@dataclass(frozen=True)
class Record:
    """The records of a batch's jobs, and whom to tell of them.

    `folder` is the batch's, by whose name its jobs are known to belong to it.
    """

    folder: Path
    report: Report

    def open(self, member: Member, run: Run, afresh: bool) -> None:
        """Make a job's directory say what it is and that it runs.

        Raises `BadData` where it is to go on with other data than it began with.
        """
        secrets.keep(*member.request.environment)
        folder = member.folder
        folder.mkdir(parents=True, exist_ok=True)
        old, data = directory.status(folder), run.data.checksum()
        if not afresh and (recorded := old.get("data", data)) != data:
            raise BadData(f"{folder}: data hash differs: recorded {recorded}, found {data}")
        if afresh:
            for left in (*directory.LOGS, directory.SUMMARY, directory.DIAGNOSIS):
                for path in folder.glob(left):
                    path.unlink()
        (folder / directory.ERROR).unlink(missing_ok=True)
        write_atomic(folder / directory.CONFIG, known(member.request.config, run), sync=False)
        status = {"state": "running", "started": old.get("started") or time.time(), "step": 0,
                  "id": member.id, "batch": self.folder.name, "data": data}  # fmt: skip
        if not afresh and "not_bit_exact" in old:
            status["not_bit_exact"] = old["not_bit_exact"]
        write_json(folder / directory.STATUS, status, sync=False)
        for warning in run.warnings:
            self.warn(member, warning)

    def warn(self, member: Member, text: str) -> None:
        """Pass on what the user should know; who listens says it once for all jobs."""
        self.report({"job": member.id, "state": "running", "warning": text})

    def inexact(self, members: Iterable[Member], lines: list[str]) -> None:
        """Say and write down that jobs do not go on bit for bit, and what differs."""
        for each in members:
            for line in lines:
                self.warn(each, f"not bit-exact: {line}")
            before = directory.status(each.folder).get("not_bit_exact", [])
            directory.set_status(each.folder, not_bit_exact=[*before, *lines])

    def told(self, member: Member, step: int, total: int, row: Row) -> None:
        self.report({"job": member.id, "state": "running", "step": step, "total": total,
                     "metrics": dict(row)})  # fmt: skip

    def recall(self, member: Member, result: dict[str, Any]) -> None:
        """Tell again what a checkpoint knows of a job that had ended."""
        failure, summary = result["failure"], read_json(member.folder / directory.SUMMARY)
        kind = Diverged if result["diverged"] else RunnerError
        self.ended(member, kind(failure) if failure else summary, step=result["step"])

    def ended(
        self,
        member: Member,
        result: Mapping[str, Any] | BaseException,
        step: int | None = None,
    ) -> None:
        """Write down and tell how a job ended: its summary, or what went wrong, at which step."""
        old = directory.status(member.folder)
        error = result if isinstance(result, BaseException) else None
        if is_done(member, self.folder):
            return
        states = {Diverged: "diverged", Interrupted: "interrupted", type(None): "finished"}
        state = states.get(type(error), "failed")
        code = error.exit_code if isinstance(error, RunnerError | Interrupted) else int(bool(error))
        member.folder.mkdir(parents=True, exist_ok=True)
        if state == "failed":
            text = secrets.without("".join(traceback.format_exception(error)))
            write_atomic(member.folder / directory.ERROR, text)
        summary = result if isinstance(result, Mapping) else {}
        step = summary.get("steps", old.get("step") if step is None else step)
        status = {**old, "id": member.id, "batch": self.folder.name, "state": state, "step": step,
                  "exit_code": code, **({"message": str(error)} if error else {})}  # fmt: skip
        write_json(member.folder / directory.STATUS, status, sync=False)
        diagnosed(member.folder, lambda text: self.warn(member, text))
        self.report({"job": member.id, "state": state, "step": step, "message": str(error or ""),
                     **outcome(summary)})  # fmt: skip


class Listening(Silent):
    """Pass on warnings, and `rows`, twice a second at most."""

    def __init__(self, record: Record, member: Member, total: int, rows: bool):
        super().__init__()
        self.rows = rows
        self.record, self.member, self.total, self.due = record, member, total, 0.0

    def warn(self, text: str) -> None:
        """Pass a warning on."""
        self.record.warn(self.member, text)

    def row(self, row: Mapping[str, float], rate: float) -> None:
        """Pass a row on."""
        if self.rows and time.monotonic() >= self.due:
            self.record.told(self.member, int(row["step"]), self.total, dict(row))
            self.due = time.monotonic() + TOLD
