"""The diagnosis of a run by what its directory holds: settings, facts, looks and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from runner.diagnosis.verdicts import judge
from runner.diagnosis.verdicts.kind import Evidence, Verdict
from runner.foundation.files import read_json, write_json
from runner.recording import directory

MOST = 3  # lines at the end of a run


def evidence(
    folder: Path,
    state: str | None = None,
    facts: Mapping[str, Any] | None = None,
    looks: Sequence[Mapping[str, Any]] = (),
) -> Evidence:
    """Read the evidence; what the directory has not may be given.

    state  what the run is about to be, where that is not written yet
    facts, looks  of a run that was not looked at while it trained
    """
    status = directory.status(folder)
    return Evidence(
        settings=directory.settings(folder),
        facts=facts or read_json(folder / directory.DIAGNOSIS).get("facts", {}),
        probes=[_known(look) for look in looks or directory.read_rows(folder / directory.PROBES)],
        rows=list(directory.read_rows(folder / directory.METRICS)),
        status={**status, "state": state} if state else status,
    )


def _known(look: Mapping[str, Any]) -> dict[str, Any]:
    """Return a look without numbers that are none: nan and infinity stand as null in a file."""

    def finite(numbers: Mapping[str, Any]) -> dict[str, float]:
        return {key: each for key, each in numbers.items() if each is not None and isfinite(each)}

    layers = {name: finite(numbers) for name, numbers in look["layers"].items()}
    return {**look, "layers": layers, "network": finite(look["network"])}


def judged(folder: Path, state: str | None = None) -> list[Verdict]:
    """Judge a run and write diagnosis.json; one that was not looked at has no verdicts."""
    path = folder / directory.DIAGNOSIS
    if not (known := read_json(path)):
        return []
    verdicts = judge(evidence(folder, state))
    write_json(path, {**known, "verdicts": [each._asdict() for each in verdicts]}, sync=False)
    return verdicts


def line(verdict: Verdict) -> str:
    """Return a verdict in a line: what is wrong, and what to type."""
    remedy = f"; try {verdict.override}" if verdict.override else ""
    return f"{verdict.name}: {verdict.text}{remedy}"


def lines(verdicts: Sequence[Verdict], folder: Path, every: bool = False) -> list[str]:
    """Return a line for each verdict; unless `every`, three at most, and where the others are."""
    if every or len(verdicts) <= MOST:
        return [f"diagnosis: {line(each)}" for each in verdicts]
    rest = len(verdicts) - MOST + 1
    more = f"diagnosis: {rest} more: runner diagnose {folder}"
    return [*lines(verdicts[: MOST - 1], folder), more]
