"""What jobs and sweeps are called: ids that say what is computed, names that say what is swept."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from runner.recording.directory import shortened

LONGEST = 60  # characters of a job's directory, before what makes it unique
TAKEN = ("batches", "cluster", "figures", "mean")  # by the sweep itself

# What is no part of a result: what a run is called, where it is put, what is written beside it, and
# where it is computed, which may change between two commands that continue each other.
WITHOUT_EFFECT = ("name", "output_root", "tensorboard", "summary", "trainer.save_every", "device",
                  "threads")  # fmt: skip
PLACE = ("dataset.root", "dataset.download")
UNNAMED = {*WITHOUT_EFFECT, *PLACE}  # what a sweep is not called by


def identity(config: Mapping[str, Any], swept: Iterable[str]) -> str:
    """Return a job's id: 12 hex digits of its resolved configuration's hash.

    Left out is what is no part of the result (`WITHOUT_EFFECT`); `device` and `threads` change the
    last bits, as moving to another machine does, whose defaults they are. So is the place of a data
    set that is the same everywhere, one that can be downloaded: an image folder's `root` is the
    data. What is swept always counts. Kept are `precision` and `compile`, as written, and how
    often a run is looked at, which decides what is best. 1 and 1.0 are the same.
    """
    reduced = _plain(config)
    dataset = config.get("dataset")
    everywhere = isinstance(dataset, dict) and "download" in dataset
    for key in (*WITHOUT_EFFECT, *(PLACE if everywhere else ())):
        if key not in swept:
            section, _, name = key.rpartition(".")
            inside = reduced.get(section) if section else reduced
            if isinstance(inside, dict):
                inside.pop(name, None)
    return _hash(reduced)[:12]


def _plain(value: Any) -> Any:
    """Return a copy in which numbers that are equal are written alike."""
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sweep_name(fixed: Sequence[str], keys: Sequence[str]) -> str:
    """Return `adam-by-lr-seed-1f2e`: what all jobs share, the keys that are swept, and their hash.

    Values of swept keys do not enter, so that a sweep is found again after one was added.
    """
    shared = sorted(word for word in fixed if _key(word) not in UNNAMED)
    leaves = [key.rpartition(".")[2].replace("/", "_") for key in keys]
    begin = f"{shortened(shared)}-by-" if shortened(shared) else ""
    label = f"{begin}{'-'.join(leaves)}"[:LONGEST].rstrip("-.")
    return f"{label}-{_hash([shared, sorted(keys)])[:4]}"


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0]


def directories(jobs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a directory's name for each job, given its id and the values of swept keys.

    Where two are equal, or one had to be cut, the beginning of the id makes them unique.
    """
    labels = ["-".join(filter(None, map(_label, swept, swept.values()))) for swept in jobs.values()]
    often = Counter(label[:LONGEST] for label in labels)
    return [
        label
        if label and len(label) <= LONGEST and often[label] == 1 and label not in TAKEN
        else "-".join(filter(None, (label[:LONGEST].rstrip("-."), job[:4])))
        for label, job in zip(labels, jobs, strict=True)
    ]


def _label(key: str, value: Any) -> str:
    """Return `lr0.1`, or `adam`: an option stands for its group, anything else behind its key."""
    option = isinstance(value, str) and "." not in key
    text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    text = f"{value:.6g}" if isinstance(value, float) else text
    leaf = "" if option else key.rpartition(".")[2]
    return re.sub(r"[^A-Za-z0-9.,_-]+", "", f"{leaf}{text}").strip("-.")
