"""The forms of the files in a run's directory, which may be damaged or come from anybody.

What has not the form that the runner writes is read as if it were not there, so that a record with
a fault is one that lacks something, and never leads out of its directory. Keys that no form names
stay as they are, and null may stand for any single value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

_NAME = re.compile(r"[\w,][\w.,=+-]*", re.ASCII)
_LARGEST = 2**63


class Needed(NamedTuple):
    """The form of a value without which a mapping says nothing."""

    form: Any


def number(value: object) -> bool:
    """Tell a number."""
    return isinstance(value, float) or whole(value)


def whole(value: object) -> bool:
    """Tell a whole number that is no larger than any count."""
    return type(value) is int and abs(value) < _LARGEST


def truth(value: object) -> bool:
    """Tell true and false."""
    return isinstance(value, bool)


def text(value: object) -> bool:
    """Tell a text."""
    return isinstance(value, str)


def name(value: object) -> bool:
    """Tell a text that as a file's name stays in its folder, and as a word is no option."""
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def option(value: object) -> bool:
    """Tell the option of a group, or several."""
    return text(value) or (isinstance(value, list) and all(map(text, value)))


def answer(value: object) -> bool:
    """Tell a class, or the numbers of a target."""
    return whole(value) or (
        isinstance(value, list) and all(each is None or number(each) for each in value)
    )


KEYS, REST = object(), ...  # what all keys of a mapping are like, and the form of any other key
_METRICS = {REST: number}
_JOB = {
    "directory": Needed(name), "state": text, "swept": {}, "attempts": whole, "started": number,
    "ended": number, "value": number, "batch": name, "overrides": [text], "message": text,
    "data": text,
}  # fmt: skip
_SENT = {"to": Needed(name), "as": Needed(name)}
_WAY = {"lanes": Needed(whole), "threads": Needed(whole), "compile": Needed(text), "reason": text}
_BATCH = {"jobs": Needed([name]), "way": Needed(_WAY), "died": [name], "sent": _SENT}
_EVENT = {"job": Needed(name), "state": Needed(text), "step": whole, "total": whole,
          "metrics": _METRICS}  # fmt: skip
_VERDICT = {"name": Needed(text), "severity": Needed(text), "text": Needed(text),
            "number": number, "threshold": number, "source": text, "override": text}  # fmt: skip
_MISTAKE = {"row": Needed(whole), "target": Needed(answer), "answer": Needed(answer),
            "probability": number, "error": number, "loss": number, "image": text}  # fmt: skip
# By a file's name. A mapping has a form for each key; a list has one for all its items; a function
# tells; {} is any mapping.
FORMS: dict[str, Any] = {
    "status.json": {
        "state": text, "started": number, "step": whole, "epoch": number, "exit_code": whole,
        "message": text, "id": name, "batch": name, "data": text, "not_bit_exact": [text],
        "sizes": {REST: whole},
    },
    "summary.json": {
        "train": _METRICS, "valid": _METRICS, "test": _METRICS, "versions": {},
        "details": {REST: {"confusion": [[whole]]}},
        "best": {"objective": Needed(text), "value": number, "direction": text,
                 "step": whole, "epoch": number},
        "steps": whole, "epochs": number, "parameters": whole, "device": text, "seconds": number,
        "samples_per_second": number,
    },
    "environment.json": {
        "versions": {}, "git": {}, "device": text, "threads": whole, "decided": {REST: {}},
        "data": {"checksum": text, "source": text}, "parameters": whole,
    },
    "diagnosis.json": {
        "facts": {
            "task": text, "outputs": whole, "batch": whole, "steps": whole, "norms": whole,
            "batch_norms": whole, "floor": number, "chance": number,
            "layers": {REST: {"units": Needed(whole), "activation": text}},
            "data": {"leaks": {REST: number}, "columns": truth, REST: number},
        },
        "verdicts": [_VERDICT],
    },
    "mistakes.json": {
        "split": Needed(text), "task": text, "labels": Needed([text]), "count": whole,
        "wrong": whole, "confusion": [[whole]], "rows": Needed([_MISTAKE]),
    },
    "overrides.yaml": {
        "overrides": [text], "choices": {REST: option}, "trust": [text], "config_dirs": [text],
    },
    "sweep.json": {
        "format": whole, "created": number, "objective": text, "direction": text, "name": text,
        "overrides": [text], "swept": [text], "processes": whole, "threads": whole,
        "jobs": {KEYS: name, REST: _JOB}, "batches": {KEYS: name, REST: _BATCH},
    },
    "progress.json": {
        "state": text, "host": text, "attempt": whole, "events": {REST: _EVENT}, "said": [text],
        "way": {}, "fault": {"message": Needed(text), "exit_code": Needed(whole),
                             "text": Needed(text)},
    },
}  # fmt: skip
_ROW = {"step": Needed(whole), REST: number}
_LOOK = {"step": Needed(whole), "epoch": number, "layers": Needed({REST: {REST: number}}),
         "network": Needed({REST: number})}  # fmt: skip
ROWS = {"metrics.jsonl": _ROW, "timing.jsonl": _ROW, "probes.jsonl": _LOOK}


def fitted(file: str, content: Any) -> dict[str, Any]:
    """Return what has its form, of a mapping that stands in a file of this name."""
    if not isinstance(content, dict):
        return {}
    kept = _fitted(content, FORMS.get(file, {}), lambda at: None)
    return kept if isinstance(kept, dict) else {}


def misfits(file: str, content: Any) -> Iterator[str]:
    """Yield where a value has not its form: `jobs.4f.directory`."""
    found: list[str] = []
    _fitted(content, FORMS[file], found.append)
    yield from found


def row(file: str, content: Any) -> dict[str, Any]:
    """Return what has its form of a row of a log; nothing if it is none."""
    kept = _fitted(content, ROWS.get(file, {}), lambda at: None)
    return kept if isinstance(kept, dict) else {}


_WRONG = object()


def _fitted(value: Any, form: Any, note: Callable[[str], None], at: str = "") -> Any:
    """Return a value as far as it has its form, or `_WRONG`; note what has not."""
    if isinstance(form, dict) and isinstance(value, dict):
        return _mapping(value, form, note, at)
    if isinstance(form, list) and isinstance(value, list):
        kept = [_fitted(each, form[0], note, f"{at}[{n}]") for n, each in enumerate(value)]
        return _WRONG if _WRONG in kept else kept
    if callable(form) and form(value):
        return value
    note(at)
    return _WRONG


def _mapping(
    value: dict[str, Any], form: dict[Any, Any], note: Callable[[str], None], at: str
) -> Any:
    kept = {}
    for key, each in value.items():
        if not form.get(KEYS, text)(key):
            note(f"{at}.{key}")
            continue
        known = form.get(key, form.get(REST))
        inner = known.form if isinstance(known, Needed) else known
        if inner is None or (each is None and callable(known)):
            kept[key] = each
            continue
        fits = _fitted(each, inner, note, f"{at}.{key}" if at else str(key))
        if fits is not _WRONG:
            kept[key] = fits
    needed = [key for key, each in form.items() if isinstance(each, Needed) and key not in kept]
    if needed:
        note(f"{at}.{needed[0]}" if at else str(needed[0]))
        return _WRONG
    return kept
