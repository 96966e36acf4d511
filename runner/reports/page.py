"""A single run as one HTML page that needs nothing else: verdicts, curves, layers, mistakes.

What it shows comes from the run's files, which may be anybody's: the template escapes all of it,
and the page asks the browser to load nothing and to run nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from runner.foundation import secrets
from runner.foundation.errors import printable
from runner.foundation.files import flat, held, read_json, read_yaml, write_atomic
from runner.recording import directory
from runner.recording.console import number
from runner.reports import charts, curves, drawing
from runner.reports.naming import text
from runner.reports.run import command, overrides

PAGE = "report.html"
NEEDED = ("jinja2", "matplotlib")
HIDDEN = ("_target_",)
NONE = object()
COLUMNS = 4  # of a target of many numbers that are shown
LONGEST = 20_000  # characters of a traceback


class Defaults(NamedTuple):
    """The options that are chosen where none is given, and a configuration of a run's options."""

    choices: Mapping[str, Any]
    config: Mapping[str, Any]


def missing() -> str:
    """Say what has to be installed for a page; nothing where all of it is."""
    lacking = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    names = " and ".join(lacking)
    return f"a page needs {names}: pip install 'runner[reports]'" if lacking else ""


def write(folder: Path, defaults: Defaults | None) -> Path:
    """Write the page into a run's directory and return its path; raises `Unwritable`.

    Without the defaults nothing is said of what differs from them.
    """
    import jinja2

    template = files("runner.reports").joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined,
                                     trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    environment.filters["number"] = number
    with drawing.style():
        page = environment.from_string(template).render(content(folder, defaults))
    path = folder / PAGE
    write_atomic(path, secrets.without(printable(page)))
    return path


def content(folder: Path, defaults: Defaults | None) -> dict[str, Any]:
    """Return what the template fills in."""
    summary, status = read_json(folder / directory.SUMMARY), directory.status(folder)
    environment = read_json(folder / directory.ENVIRONMENT)
    splits = {name: summary[name] for name in charts.SPLITS if summary.get(name)}
    mistakes = read_json(folder / directory.MISTAKES)
    config = flat(read_yaml(folder / directory.CONFIG))
    return {
        "name": folder.name,
        "folder": str(folder),
        "status": status,
        "step": summary.get("steps") or max(status.get("step") or 0, _last(folder)),
        "killed": status.get("state") == "running" and not held(folder),
        "command": command(folder),
        "error": _error(folder),
        "verdicts": [
            {**each, "command": command(folder, each.get("override") or "")}
            for each in read_json(folder / directory.DIAGNOSIS).get("verdicts", [])
        ],
        "judged": (folder / directory.DIAGNOSIS).is_file(),
        "metrics": list(dict.fromkeys(name for each in splits.values() for name in each)),
        "splits": splits,
        "summary": summary,
        "best": summary.get("best") or {},
        **_drawn(folder, summary),
        "confusions": _confusions(summary, mistakes),
        "labels": mistakes.get("labels", []),
        "mistakes": _mistakes(mistakes),
        "changed": _changed(folder, config, environment, defaults),
        "known": defaults is not None,
        "config": {key: text(value) for key, value in config.items() if _is_shown(key)},
        "environment": environment,
    }  # fmt: skip


def chosen(folder: Path, groups: Iterable[str]) -> dict[str, Any]:
    """Return the options of a run, by group; where there are several, as they were typed."""
    typed = dict(each.lstrip("+").partition("=")[::2] for each in overrides(folder))
    known = directory.asked(folder).get("choices", {})
    return {**known, **{group: typed[group] for group in groups if group in typed}}


def _last(folder: Path) -> int:
    """Return the last step that was logged."""
    rows = directory.read_rows(folder / directory.METRICS)
    return max((row["step"] for row in rows), default=0)


def _error(folder: Path) -> str:
    """Return the traceback of a run that failed."""
    path = folder / directory.ERROR
    content = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return content[-LONGEST:]


def _drawn(folder: Path, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Draw curves and what was seen of layers."""
    logged = curves.logged(folder)
    looks = [each for each in directory.read_rows(folder / directory.PROBES)
             if {"layers", "network"} <= each.keys()]  # fmt: skip
    best = summary.get("best") or {}
    facts = read_json(folder / directory.DIAGNOSIS).get("facts", {}).get("layers", {})
    return {
        "curves": charts.of_metrics(logged, best if best.get("value") is not None else {}),
        "others": charts.of_others(logged),
        "layers": charts.of_layers(looks),
        "networks": charts.of_network(looks),
        "colours": [(_layer(name, facts), colour) for name, colour in charts.layers(looks).items()],
    }


def _layer(name: str, facts: Mapping[str, Any]) -> str:
    """Return what a layer is called: `0 (16 units, ReLU)`."""
    known = facts.get(name) or {}
    units = known.get("units")
    said = [f"{units} unit{'s' * (units > 1)}"] if units else []
    said += [str(known["activation"])] if known.get("activation") else []
    return f"{name} ({', '.join(said)})" if said else name


def _confusions(summary: Mapping[str, Any], mistakes: Mapping[str, Any]) -> dict[str, Any]:
    """Return each split's confusion matrix, its cells with their share of the row."""
    found = {split: each["confusion"] for split, each in (summary.get("details") or {}).items()
             if each.get("confusion")}  # fmt: skip
    if not found and mistakes.get("confusion"):
        found = {mistakes["split"]: mistakes["confusion"]}
    return {
        split: [[{"count": cell, "share": min(cell / max(sum(row), 1), 1.0)} for cell in row]
                for row in found[split]]
        for split in reversed(charts.SPLITS)
        if split in found
    }  # fmt: skip


def _mistakes(mistakes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the worst rows, their classes called by their names."""
    names = mistakes.get("labels", [])

    def called(value: Any) -> str:
        if isinstance(value, int) and 0 <= value < len(names):
            return str(names[value])
        numbers = value if isinstance(value, list) else [value]
        return ", ".join(map(number, numbers[:COLUMNS])) + ", …" * (len(numbers) > COLUMNS)

    rows = [{**each, "target": called(each["target"]), "answer": called(each["answer"])}
            for each in mistakes.get("rows", [])]  # fmt: skip
    return {**mistakes, "rows": rows}


def _changed(
    folder: Path, config: Mapping[str, Any], environment: Mapping[str, Any],
    defaults: Defaults | None,
) -> dict[str, dict[str, str]]:  # fmt: skip
    """Return what is not as by default: the options chosen, the values set, what auto became."""
    if defaults is None:
        return {}
    usual, ours = flat(defaults.config), chosen(folder, defaults.choices)
    order = {key: at for at, key in enumerate(defaults.config)}
    options = {
        key: {"value": text(ours[key]), "default": text(defaults.choices.get(key)), "kind": ""}
        for key in sorted(ours, key=lambda key: order.get(key, -1))
        if ours[key] != defaults.choices.get(key)
    }
    decided = environment.get("decided", {})
    values = {
        key: {
            "value": text(value),
            "default": text(usual[key]) if key in usual else "",
            "kind": str(decided[key].get("reason") or "auto")
            if key in decided and usual.get(key) == "auto"
            else "",
        }
        for key, value in config.items()
        if _is_shown(key) and usual.get(key, NONE) != value
    }
    return options | values


def _is_shown(key: str) -> bool:
    return key.rpartition(".")[2] not in HIDDEN
