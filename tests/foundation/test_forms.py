"""Records that are damaged or made by somebody else: what has its form is kept, the rest is not."""

from __future__ import annotations

import json

import pytest

from runner.foundation import forms
from runner.foundation.files import MOST_VALUES, misfits, read_json, read_yaml

JOB = {"directory": "lr0.1", "state": "finished", "swept": {"optimizer.lr": 0.1}, "value": 0.5}
BATCH = {"jobs": ["4f"], "way": {"lanes": 1, "threads": 1, "compile": "trace", "reason": ""}}
CASES = {  # the file, what stands in it, what is kept, where it has not its form
    "sound": ("status.json", {"state": "running", "step": 3}, {"state": "running", "step": 3}, []),
    "another kind": ("status.json", {"state": 3, "step": 3}, {"step": 3}, ["state"]),
    "a boolean": ("status.json", {"step": True}, {}, ["step"]),
    "too large": ("status.json", {"step": 2**63}, {}, ["step"]),
    "null": ("status.json", {"step": None, "epoch": None}, {"step": None, "epoch": None}, []),
    "null for a list": ("status.json", {"not_bit_exact": None}, {}, ["not_bit_exact"]),
    "unknown keys": ("status.json", {"mine": [1]}, {"mine": [1]}, []),
    "a path": ("status.json", {"batch": "../x", "id": "/etc"}, {}, ["batch", "id"]),
    "items": ("overrides.yaml", {"overrides": ["a", 1]}, {}, ["overrides[1]"]),
    "inside": ("summary.json", {"test": {"loss": "x", "error": 1}}, {"test": {"error": 1}},
               ["test.loss"]),
    "what is needed": ("summary.json", {"best": {"value": 1.0}}, {}, ["best.objective"]),
    "a job": ("sweep.json", {"jobs": {"4f": JOB, "5f": {}}}, {"jobs": {"4f": JOB}},
              ["jobs.5f.directory"]),
    "a job elsewhere": ("sweep.json", {"jobs": {"4f": {**JOB, "directory": ".."}}}, {"jobs": {}},
                        ["jobs.4f.directory", "jobs.4f.directory"]),
    "a batch": ("sweep.json", {"batches": {"b000": BATCH, "../b": BATCH}},
                {"batches": {"b000": BATCH}}, ["batches.../b"]),
    "an option": ("sweep.json", {"batches": {"b": {**BATCH, "sent": {"to": "slurm", "as": "-x"}}}},
                  {"batches": {"b": BATCH}}, ["batches.b.sent.as", "batches.b.sent.as"]),
    "no form": ("task.json", {"a": 1}, {"a": 1}, []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_has_its_form_is_kept(case, tmp_path):
    file, content, kept, wrong = CASES[case]
    assert forms.fitted(file, content) == kept
    path = tmp_path / file
    path.write_text(json.dumps(content))
    assert (read_yaml if path.suffix == ".yaml" else read_json)(path) == kept
    if file in forms.FORMS:
        assert misfits(path) == wrong


@pytest.mark.parametrize("content", [None, [], 5, "x", [{}]])
def test_what_is_no_mapping_is_an_empty_one(content):
    assert forms.fitted("status.json", content) == {}
    assert forms.row("metrics.jsonl", content) == {}


def test_a_row_has_a_step_and_numbers():
    assert forms.row("metrics.jsonl", {"step": 3, "a": 1.5, "b": "x"}) == {"step": 3, "a": 1.5}
    assert forms.row("metrics.jsonl", {"a": 1.5}) == {}
    assert forms.row("metrics.jsonl", {"step": "3"}) == {}
    assert forms.row("others.jsonl", {"a": "x"}) == {"a": "x"}


NAMES = {"lr0.1-seed0": True, "b000": True, "job,1": True, "a=b+c": True, ".": False, "..": False,
         "": False, "a/b": False, "-rf": False, "a b": False, "a\n": False, ".ssh": False,
         "\xe9": False, "a\0": False}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_stay_in_their_folder(name):
    assert forms.name(name) == NAMES[name]


BOMBS = {
    "references": "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"{key}: &{key} [{','.join([f'*{before}'] * 10)}]\n"
        for before, key in zip("abcdefghij", "bcdefghijk", strict=True)),
    "merges": "a: &a {x: 1}\nb: {<<: [*a, *a]}\n",
    "itself": "a: &a [*a]\n",
    "depth": "[" * 100_000,
    "depth of mappings": "{a: " * 100_000,
    "depth in a line": "- " * 100_000 + "a",
    "depth of keys": "? " * 100_000 + "a",
    "depth of both": "- ? " * 50_000 + "a",
    "depth by lines": "\n".join(" " * at + "-" for at in range(1500)),
    "many": f"a: [{'1,' * MOST_VALUES}]",
    "a tag": "a: !!python/object/apply:os.getcwd []\n",
    "no text": "a: \x00\n",
}  # fmt: skip


@pytest.mark.parametrize("case", BOMBS)
def test_endless_yaml_is_a_broken_file(case, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(BOMBS[case])
    assert read_yaml(path) == {}


def test_what_is_repeated_a_little_is_read(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("a: &a [1, 2]\nb: [*a, *a]\n")
    assert read_yaml(path) == {"a": [1, 2], "b": [[1, 2], [1, 2]]}


def test_deep_json_is_a_broken_file(tmp_path):
    path = tmp_path / "status.json"
    path.write_text("[" * 100_000)
    assert read_json(path) == {}
    assert misfits(path) == []
