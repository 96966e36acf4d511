"""Every idea of the curriculum is a word in a config, or the reason why not stands beside it."""

import csv
from pathlib import Path

import pytest
import yaml

from runner.foundation import options

FILE = Path(__file__).with_name("curriculum.csv")
with FILE.open(newline="") as lines:
    ROWS = list(csv.DictReader(lines))
GROUPS = options.groups([options.own_folder()])
AREAS = {"data", "split", "sampler", "labels", "model", "prep", "out", "loss", "metric", "act",
         "init", "norm", "opt", "lr", "stop", "reg", "drop", "aug", "clip", "ens", "combine", "hp",
         "grad", "diag"}  # fmt: skip

# Options that no lecture names: what the field has beside them, and presets.
BESIDE = {
    "activation": "gelu selu silu softplus softsign",
    "architecture": "vit",
    "augmentation": "crop cutmix flip_crop flip_vertical illumination mixup",
    "dataset": "cifar100 mnist moons spirals xor",
    "initializer": "identity normal uniform",
    "metrics": "calibration confusion standard top_k",
    "normalization": "rms",
    "optimizer": "adadelta lion muon nadam radam",
    "preprocessing": "min_max",
    "regularizer": "elastic",
    "sampler": "consecutive sorted_by_class",
    "schedule": "cosine cyclic linear multi_step one_cycle polynomial",
    "stopping": "target",
}
NO_IDEAS = {"trainer", "experiment", "sweep", "hooks", "probes"}


def keys_of(group: str) -> set[str]:
    """Return the keys that some option of a group has, wherever they stand in it."""
    found: set[str] = set()

    def visit(content: object) -> None:
        if isinstance(content, dict):
            found.update(content)
            for each in content.values():
                visit(each)

    for path in GROUPS[group].values():
        visit(yaml.safe_load(path.read_text()))
    return found


def test_ids_are_unique_and_cover_every_area() -> None:
    ids = [row["id"] for row in ROWS]
    assert len(set(ids)) == len(ids) >= 190
    assert {name.partition("/")[0].partition(".")[0] for name in ids} == AREAS


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_an_idea_is_a_word_or_has_a_reason(row: dict[str, str]) -> None:
    assert row["where"] or row["note"], "neither a word nor a reason"
    for word in row["where"].split():
        group, _, option = word.partition("=")
        if option:
            assert option in GROUPS[group], word
        else:
            group, _, key = word.partition(".")
            assert key in keys_of(group), word


def test_every_option_is_an_idea_of_the_lectures_or_stands_beside_them() -> None:
    named = {word for row in ROWS for word in row["where"].split() if "=" in word}
    beside = {f"{group}={name}" for group, names in BESIDE.items() for name in names.split()}
    none = {f"{group}=none" for group in GROUPS}
    there = {f"{group}={name}" for group, found in GROUPS.items() if group not in NO_IDEAS
             for name in found}  # fmt: skip
    assert there == (named | beside | none) & there, there - named - beside - none
    assert named | beside <= there
    assert not named & beside


def test_no_idea_is_called_absent_while_an_option_has_its_name() -> None:
    absent = {row["id"].rpartition("/")[2] for row in ROWS if not row["where"]}
    assert not absent & {name for found in GROUPS.values() for name in found}
