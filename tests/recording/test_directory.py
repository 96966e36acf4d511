"""Run directories: never shared, named by what was typed, found again by a few characters."""

import json
import re
import subprocess
import sys
import time

import pytest

from runner.foundation.errors import Misconfigured, Unwritable
from runner.recording import directory

CREATE = """
import sys, time
from pathlib import Path
from runner.recording import directory
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
print(directory.create(Path(sys.argv[1]), None, None, ["optimizer=adam"]))
"""


@pytest.fixture
def root(tmp_path):
    """A root with four runs, the newest last."""
    root = tmp_path / "outputs"
    for at, name in enumerate(["1432-adam-3f2a", "1432-adam-77c0", "1501-sgd-lr0.1-a1b2"]):
        place(root / "default" / name, started=100.0 + at)
    place(root / "lecture" / "0900-baseline-dddd", started=200.0)
    return root


def place(run, **status):
    run.mkdir(parents=True)
    directory.set_status(run, state="finished", **status)
    return run


def test_four_processes_in_the_same_second(tmp_path):
    """F20: each has a directory of its own."""
    command = [sys.executable, "-c", CREATE, str(tmp_path), str(time.time() + 0.5)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    made = [process.communicate(timeout=30)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert len(set(made)) == 4
    assert sorted(str(path) for path in (tmp_path / "default").iterdir()) == sorted(made)


def test_the_same_name_is_never_given_twice(tmp_path, monkeypatch):
    """Clock and process number alike: the attempt alone tells them apart."""
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    monkeypatch.setattr(time, "strftime", lambda form: "1432")
    made = [directory.create(tmp_path, None, "name", []) for _ in range(20)]
    assert len(set(made)) == 20
    assert all(re.fullmatch(r"1432-name-[0-9a-f]{4}", path.name) for path in made)


@pytest.mark.parametrize(
    ("experiment", "name", "overrides", "parent", "label"),
    [
        (None, None, [], "default", ""),
        (None, "slower", ["optimizer=adam"], "default", "slower-"),
        (None, None, ["optimizer=adam", "optimizer.lr=0.01"], "default", "adam-lr0.01-"),
        ("lecture/first", None, ["seed=3"], "lecture-first", "seed3-"),
    ],
)
def test_create(tmp_path, experiment, name, overrides, parent, label):
    made = directory.create(tmp_path / "a" / "b", experiment, name, overrides)
    assert made.parent == tmp_path / "a" / "b" / parent
    assert re.fullmatch(rf"\d{{4}}-{re.escape(label)}[0-9a-f]{{4}}", made.name)
    assert [path.name for path in made.iterdir()] == [directory.CHECKPOINTS]


def test_a_root_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unwritable, match=r"file/default/.*: cannot write") as caught:
        directory.create(tmp_path / "file", None, None, [])
    assert caught.value.exit_code == 8


@pytest.mark.parametrize(
    ("overrides", "label"),
    [
        ([], ""),
        (["optimizer=adam", "optimizer.lr=0.01"], "adam-lr0.01"),
        (["+hooks.x.every=5%"], "every5"),
        (["~dropout", "seed=3"], "seed3"),
        (["name=x", "output_root=/tmp/x", "threads=1", "device=cpu", "dataset.root=/d"], ""),
        (["architecture.hidden=[64,32]"], "hidden64,32"),
        (["dataset.labels=../../etc/passwd"], "labels....etcpasswd"),
        (["objective='[/red]\x1b[2J\n'"], "red2J"),
        ([f"optimizer.lr={'1' * 100}"], "lr" + "1" * 58),
        (["optimizer=adam", f"optimizer.lr={'1' * 52}.5"], "adam-lr" + "1" * 52),
    ],
)
def test_shortened(overrides, label):
    assert directory.shortened(overrides) == label
    assert len(label) <= 60


@pytest.mark.parametrize(
    "overrides", [["a.b=../../x"], ["a.b=/etc"], ["a.b=.."], ["objective=.."], ["a.b=\x00"]]
)
def test_nothing_is_made_outside_the_root(tmp_path, overrides):
    made = directory.create(tmp_path / "root", "../../x", None, overrides)
    assert (tmp_path / "root") in made.resolve().parents
    assert [path.name for path in tmp_path.iterdir() if path.name != "here"] == ["root"]


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("last", "0900-baseline-dddd"),
        ("1432-adam-3f2a", "1432-adam-3f2a"),
        ("1501", "1501-sgd-lr0.1-a1b2"),
        ("1432-adam-7", "1432-adam-77c0"),
        ("baseline", "0900-baseline-dddd"),
        ("a1b2", "1501-sgd-lr0.1-a1b2"),
    ],
)
def test_find(root, word, name):
    assert directory.find(word, root).name == name


def test_find_by_path(root, tmp_path):
    elsewhere = place(tmp_path / "elsewhere", started=1.0)
    assert directory.find(str(elsewhere), root) == elsewhere
    assert directory.find(str(elsewhere), tmp_path / "nowhere") == elsewhere


def test_the_beginning_of_an_id_goes_before_a_part(root):
    place(root / "default" / "0001-after-1501", started=300.0)
    assert directory.find("1501", root).name == "1501-sgd-lr0.1-a1b2"


@pytest.mark.parametrize("word", ["1432", "adam", "14"])
def test_an_ambiguous_word_names_the_candidates(root, word):
    with pytest.raises(Misconfigured, match=r"could be any of 2 runs: ") as caught:
        directory.find(word, root)
    assert "1432-adam-77c0" in str(caught.value)
    assert "1432-adam-3f2a" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("word", "hint"), [("1432-adm-3f2a", "; did you mean '1432-adam-3f2a'?"), ("zzz", "")]
)
def test_an_unknown_word_names_the_nearest(root, word, hint):
    with pytest.raises(Misconfigured) as caught:
        directory.find(word, root)
    assert str(caught.value) == f"no run '{word}' (4 runs in {root}){hint}"


def test_without_runs(tmp_path):
    for word in ("last", "1432"):
        with pytest.raises(Misconfigured, match=f"no run '{word}' \\(no runs in "):
            directory.find(word, tmp_path / "nowhere")


def test_runs_are_listed_newest_first(root):
    assert [run.name for run in directory.runs(root)] == [
        "0900-baseline-dddd",
        "1501-sgd-lr0.1-a1b2",
        "1432-adam-77c0",
        "1432-adam-3f2a",
    ]


def test_a_folder_without_a_status_is_no_run(root):
    (root / "default" / "9999-empty-0000").mkdir()
    assert len(directory.runs(root)) == 4


def test_a_broken_status_does_not_hide_the_others(root):
    (root / "default" / "1432-adam-3f2a" / "status.json").write_text("{")
    assert len(directory.runs(root)) == 4
    assert directory.runs(root)[-1].name == "1432-adam-3f2a"


def test_status_changes_keep_the_rest(tmp_path):
    directory.set_status(tmp_path, state="running", step=0)
    directory.set_status(tmp_path, step=7)
    assert directory.status(tmp_path) == {"state": "running", "step": 7}


def test_settings_of_a_job_have_the_options_that_were_swept(tmp_path):
    jobs = {"1": {"directory": "wine", "swept": {"dataset": "wine", "optimizer.lr": 0.1}},
            "2": {"directory": "digits", "swept": {"dataset": "digits"}}}  # fmt: skip
    (tmp_path / directory.SWEEP).write_text(json.dumps({"jobs": jobs}))
    (tmp_path / directory.OVERRIDES).write_text(
        "choices: {dataset: digits, hooks: null, loss: mse}"
    )
    for name in ("wine", "digits"):
        (tmp_path / name).mkdir()
        (tmp_path / name / directory.CONFIG).write_text("optimizer: {lr: 0.1}")
        assert directory.settings(tmp_path / name) == {
            "dataset": name, "loss": "mse", "optimizer.lr": 0.1}  # fmt: skip


def test_settings_are_flat_and_without_what_is_empty(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "name: x\nseed: 0\nobjective: null\nregularizer: {}\n"
        "optimizer:\n  _target_: a.adam\n  lr: 0.1\n  betas: [0.9, 0.99]\n"
    )
    (tmp_path / "overrides.yaml").write_text("choices: {optimizer: adam, experiment: null}\n")
    assert directory.settings(tmp_path) == {
        "optimizer": "adam",
        "seed": 0,
        "optimizer.lr": 0.1,
        "optimizer.betas": [0.9, 0.99],
    }


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (None, []),
        ("", []),
        ('{"a": 1}\n{"a": 2}\n', [{"a": 1}, {"a": 2}]),
        ('{"a": 1}\n{"a": 2', [{"a": 1}]),  # the last line was not written to its end
        ('{"a": "x\u2028y"}\n', [{"a": "x\u2028y"}]),
    ],
)
def test_rows_are_read_to_the_last_complete_one(tmp_path, text, rows):
    if text is not None:
        (tmp_path / "rows").write_text(text, encoding="utf-8")
    assert list(directory.read_rows(tmp_path / "rows")) == rows
