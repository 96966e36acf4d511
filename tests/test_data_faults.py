"""What is wrong with data, and memory that is too small, as a user of the commands meets them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runner.foundation.files import read_json
from runner.recording import directory
from runner.recording.recorder import Recorder

QUICK = ("trainer=quick", "tensorboard=false", "compile=false")
SMALL = ("trainer.batch_size=8", "architecture.hidden=[8]")
CSV = (*QUICK, "dataset=csv", "dataset.path=rows.csv", "dataset.target=y")


def table(*, rows: int = 40, width: int = 3, target: str = "two") -> str:
    """Return a table of random numbers; the column c1 does not vary."""
    draw = random.Random(0)
    kinds = {
        "two": lambda first: "low" if first < 0.5 else "high",
        "one": lambda first: "low",
        "number": lambda first: f"{2 * first + 0.1}",
        "still": lambda first: "3.5",
    }
    lines = [",".join([*(f"c{at}" for at in range(width)), "y"])]
    for _ in range(rows):
        numbers = [draw.random() for _ in range(width)]
        numbers[1] = 7.25
        lines.append(",".join([*map(repr, numbers), kinds[target](numbers[0])]))
    return "\n".join(lines) + "\n"


def refused(done, code: int, *said: str) -> None:
    """Hold that a command ended with this code and these words, and left nothing behind."""
    assert done.code == code, done.err
    assert "Traceback" not in done.err + done.out
    for each in said:
        assert each in done.err
    assert not Path("outputs").exists()


def finished(done) -> dict:
    """Hold that a command trained a run to its end with finite numbers; return its summary."""
    assert done.code == 0, done.err
    (run,) = directory.runs(Path("outputs"))
    summary = read_json(run / directory.SUMMARY)
    rows = list(directory.read_rows(run / directory.METRICS))
    assert rows
    assert all(row["train/loss"] is not None for row in rows if "train/loss" in row)
    assert summary["train"]["loss"] is not None
    return summary


def warnings(done) -> list[str]:
    return [line for line in done.out.splitlines() if line.startswith("warning: ")]


SCALED = {
    "standardize": "1 of the inputs do not vary; they are centred, not scaled",
    "min_max": "1 of the inputs do not vary; they become 0",
    "pca_whiten": "along 1 of 3 axes the inputs do not vary; they are not scaled",
    "zca": "along 1 of 3 axes the inputs do not vary; they are not scaled",
}


@pytest.mark.parametrize("preprocessing", SCALED)
def test_columns_that_do_not_vary(runner, preprocessing: str) -> None:
    """F25: whatever divides by a deviation says how many it does not divide, and trains on."""
    Path("rows.csv").write_text(table())
    done = runner(*CSV, *SMALL, f"preprocessing={preprocessing}")
    finished(done)
    assert warnings(done) == [f"warning: {SCALED[preprocessing]}"]


def test_a_target_that_does_not_vary(runner) -> None:
    """F25: the target's own scale is inverted for metrics in the data's units."""
    Path("rows.csv").write_text(table(target="still"))
    done = runner(*CSV, *SMALL, "dataset.task=regression", "loss=mse", "trainer.steps=200")
    summary = finished(done)
    assert "warning: the same target in all training rows: 'y'" in warnings(done)
    assert summary["train"]["mae"] < 0.5


def test_a_last_batch_of_one_row(runner) -> None:
    """F26: 24 training rows in batches of 23; three remedies."""
    Path("rows.csv").write_text(table())
    words = {"normalization": "batch", "trainer.batch_size": "23", "trainer.drop_last": "false"}
    done = runner(*CSV, *(f"{key}={value}" for key, value in words.items()))
    refused(done, 2, "the smallest batch has 1 sample", "trainer.batch_size >= 2",
            "trainer.drop_last=true", "normalization=layer")  # fmt: skip
    remedies = {"trainer.drop_last": "true", "normalization": "layer", "trainer.batch_size": "22"}
    for key, value in remedies.items():
        done = runner(*CSV, *(f"{key}={value}" for key, value in (words | {key: value}).items()))
        assert done.code == 0, done.err


def test_fewer_rows_than_a_batch(runner) -> None:
    """F27: ten rows."""
    Path("rows.csv").write_text(table(rows=10))
    refused(runner(*CSV, "trainer.batch_size=64"), 2, "trainer.batch_size 64 is more than the 6")
    finished(runner(*CSV, "trainer.batch_size=64", "trainer.drop_last=false"))


@pytest.mark.parametrize("split", ["valid", "test"])
def test_an_empty_split(runner, split: str) -> None:
    """F28: a hundredth of ten rows."""
    Path("rows.csv").write_text(table(rows=10))
    done = runner(*CSV, f"dataset.{split}=0.01")
    refused(done, 2, f"dataset.{split}: a share of 0.01 of 10 rows is empty")


def test_labels_of_a_single_class(runner) -> None:
    """F29: a warning, and the run runs."""
    Path("rows.csv").write_text(table(target="one"))
    done = runner(*CSV, *SMALL)
    finished(done)
    assert "warning: all training rows are of one class, 'low'" in warnings(done)


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def write_images(labels: np.ndarray) -> None:
    """Write a small MNIST with these training labels."""
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 8, 8))
    test = np.arange(10)
    parts = {"train-images": pixels, "train-labels": labels,
             "t10k-images": pixels[:10], "t10k-labels": test}  # fmt: skip
    for name, values in parts.items():
        Path(f"{name}-idx{values.ndim}-ubyte").write_bytes(idx(values))


def test_a_label_outside_the_classes(runner) -> None:
    """F30: in an idx file; the sample's index and the value."""
    labels = np.arange(40) % 10
    labels[7] = 10
    write_images(labels)
    done = runner(*QUICK, "dataset=mnist", "dataset.root=.")
    refused(done, 3, "train-labels-idx1-ubyte: row 7: label 10, expected 0 to 9")


def test_a_class_that_training_has_not(runner) -> None:
    """F30: in folders of images; the folder is named."""
    for part, name in (("train", "cat"), ("train", "dog"), ("test", "eel")):
        folder = Path("images") / part / name
        folder.mkdir(parents=True)
        for at in range(10):
            Image.new("L", (8, 8), at).save(folder / f"{at}.png")
    words = (*QUICK, "dataset=image_folder", "dataset.root=images", "dataset.test=null")
    refused(runner(*words), 3, "images/test/eel: class 'eel' has no training images")


def test_a_class_that_is_a_fraction(runner) -> None:
    """F30: in a table; the line and the value. Other labels are whatever stands there."""
    Path("rows.csv").write_text(table().replace("low", "0").replace("high", "1", 3)
                                .replace("high", "1.5"))  # fmt: skip
    done = runner(*CSV, "dataset.task=classification")
    refused(done, 2, "rows.csv: line ", "column 'y': 1.5 is no class; use dataset.task=regression")


@pytest.mark.parametrize("value", ["nan_", "inf", "-inf", "1e39"])
@pytest.mark.parametrize("column", ["c2", "y"])
def test_a_number_that_is_not_finite(runner, value: str, column: str) -> None:
    """F30: inputs and targets; the line, the column and what stands there."""
    lines = table(target="number").splitlines()
    cells = lines[5].split(",")
    cells[2 if column == "c2" else 3] = value
    lines[5] = ",".join(cells)
    Path("rows.csv").write_text("\n".join(lines))
    done = runner(*CSV, "loss=mse", "dataset.task=regression")
    refused(done, 3, f"rows.csv: line 6, column '{column}': '{value}' is no finite number")


FILES = {  # what stands there instead of a table, and what is said
    "missing": (None, "rows.csv: no such file"),
    "folder": (Path.mkdir, "rows.csv: expected a file, found a folder"),
    "html": (b"<!DOCTYPE html>", "rows.csv: expected a table, found '<!DOCTYPE html>'"),
    "truncated": (table()[:-12].encode(), "rows.csv: line 41: expected 4 cells as in the header"),
    "zip": (b"PK\x03\x04\xff\xfe", "rows.csv: expected utf-8 text, byte 4 is none"),
    "empty": (b"", "rows.csv: is empty"),
    "zero bytes": (b"c0,y\n1,\0\n", "rows.csv: expected text, found zero bytes"),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_table(runner, case: str) -> None:
    """F31: path, what was expected, what was found."""
    content, message = FILES[case]
    if isinstance(content, bytes):
        Path("rows.csv").write_bytes(content)
    elif content is not None:
        content(Path("rows.csv"))
    refused(runner(*CSV), 3, f"{Path.cwd()}/rows.csv" if content is None else "rows.csv", message)


def cut_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let a run be interrupted after a step."""
    record = Recorder.record

    def interrupted(self, state, row):
        record(self, state, row)
        if state.step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "record", interrupted)


@pytest.mark.parametrize("change", ["value", "label", "row", "name"])
def test_data_that_changed_since_the_checkpoint(runner, monkeypatch, change: str) -> None:
    """F32: a digit, a label, a row fewer, a class of another name: exit 3, and nothing is lost."""
    path = Path("rows.csv")
    path.write_text(text := table())
    with monkeypatch.context() as patch:
        cut_at(patch, 5)
        assert runner(*CSV, *SMALL, "trainer.save_every=2steps").code == 130
    lines = text.splitlines(keepends=True)
    edited = {
        "value": text.replace("7.25", "7.26", 1),
        "label": text.replace("low", "high", 1),
        "row": "".join(lines[:-1]),
        "name": text.replace("low", "lof"),
    }[change]
    path.write_text(edited)
    assert len(edited) == len(text) or change in ("row", "label")
    (run,) = directory.runs(Path("outputs"))
    saves = sorted((run / directory.CHECKPOINTS).iterdir())
    done = runner("resume", "last")
    assert done.code == 3, done.err
    assert "data hash differs: recorded " in done.err
    assert "Traceback" not in done.err
    assert sorted((run / directory.CHECKPOINTS).iterdir()) == saves
    path.write_text(text)
    assert runner("resume", "last").code == 0


STARVED = """
import resource, sys
import sklearn, torch
from runner import cli
from runner.cli import train
from runner.assemble import speed
from runner.execution import launch
size = 1024 * int(next(line for line in open("/proc/self/status") if "VmSize" in line).split()[1])
for words in sys.argv[2].split(";"):
    resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[1]), resource.RLIM_INFINITY))
    print(cli.run(words.split()), flush=True)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""


@pytest.mark.slow
def test_memory_that_does_not_suffice() -> None:
    """F37: exit 2 where the estimate says so; where memory runs out a line that says for what."""
    common = "threads=1 compile=false trainer=quick"
    asked = ["architecture.hidden=[2000000]", "architecture.hidden=[1e9]",
             "architecture.hidden=[30000000]", "dataset=moons dataset.samples=3e7"]  # fmt: skip
    commands = [f"{each} {common}" for each in asked]
    done = subprocess.run([sys.executable, "-c", STARVED, str(400 << 20), ";".join(commands)],
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert done.stdout.split() == ["1", "2", "2", "1"], done.stderr
    lines = done.stderr.splitlines()
    assert lines[0] == ("runner: cannot allocate 0.5 GB for layer "
                        "Linear(in_features=64, out_features=2000000)")  # fmt: skip
    assert "Linear(in_features=64, out_features=1000000000)" in done.stderr
    assert "Traceback" not in done.stderr
    assert lines[-1].startswith("runner: cannot allocate 0.")
    assert not list(Path().iterdir())


def test_a_model_that_no_machine_holds(runner) -> None:
    """F37: before a byte of it is filled."""
    refused(runner(*QUICK, "architecture.hidden=[1000000000]"), 2, "architecture: ",
            "Linear(in_features=64, out_features=1000000000)", "GB of memory")  # fmt: skip


OWN = """
import itertools
import torch
from runner.components.dataset.data import Data, split

@split
def breaks(*, how: str) -> Data:
    x = torch.arange(40.0)[:, None]
    for index in itertools.count():
        if index == 7 and how == "raise":
            raise IndexError(f"sample {index} is broken")
        if index == 7 and how == "refuse":
            raise ValueError(f"sample {index} is broken")
        if index == 7 and how == "exit":
            raise SystemExit(0)
        if index == 7:
            x[7] = float(how)
            return Data(x, torch.arange(40) % 2, "classification", ("a", "b"))

def hook(state, *, every: str, how: str):
    if state.step == 7 and how == "exit":
        raise SystemExit(0)
    if state.step == 7:
        raise IndexError(f"nothing at step {state.step}")
    return {}
"""
HOWS = {  # how a data set of the user's own breaks, exit code, what is said
    "raise": (1, "dataset: IndexError('sample 7 is broken') at "),
    "refuse": (2, "dataset: sample 7 is broken"),
    "exit": (1, "sys.exit(0)"),
    "nan": (3, "row 7: x[0] is nan, expected a finite number"),
    "-inf": (3, "row 7: x[0] is -inf, expected a finite number"),
}


@pytest.mark.parametrize("how", HOWS)
def test_a_data_set_of_ones_own_that_breaks(runner, how: str, monkeypatch) -> None:
    """F44: the original error with its index; nothing is left behind, and nothing hangs."""
    Path("own_faults.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("mine/dataset").mkdir(parents=True)
    shared = "seed: 0\nvalid: 0.2\ntest: 0.2\nsubset: null\nbalance: null\nlabel_noise: 0.0\n"
    Path("mine/dataset/breaks.yaml").write_text(
        f"# Breaks.\n_target_: own_faults.breaks\nhow: ???\n{shared}"
    )
    done = runner(*QUICK, "--config-dir", "mine", "--trust", "own_faults", "dataset=breaks",
                  f"dataset.how='{how}'")  # fmt: skip
    code, message = HOWS[how]
    assert done.code == code, done.err
    assert message in done.err
    assert "Traceback" not in done.err
    line = OWN[: OWN.find("raise IndexError")].count("\n") + 1
    assert (f"own_faults.py:{line}, in " in done.err) == (how == "raise")
    assert not Path("outputs").exists()
    sys.modules.pop("own_faults", None)


@pytest.mark.parametrize("how", ["raise", "exit"])
def test_a_hook_of_ones_own_that_breaks(runner, how: str, monkeypatch) -> None:
    """F44: the original error and its step; the traceback stands in the run's error.txt."""
    Path("own_faults.py").write_text(OWN)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("mine/hooks").mkdir(parents=True)
    Path("mine/hooks/breaks.yaml").write_text(
        f"# Breaks.\nbreaks:\n  _target_: own_faults.hook\n  every: 1steps\n  how: {how}\n"
    )
    done = runner(*QUICK, "--config-dir", "mine", "--trust", "own_faults", "hooks=breaks")
    message = {"raise": "hooks.breaks failed at step 7: IndexError('nothing at step 7')",
               "exit": "its code called sys.exit(0)"}[how]  # fmt: skip
    kept = {"raise": "IndexError: nothing at step 7", "exit": "SystemExit"}[how]
    assert done.code == 1, done.err
    assert message in done.err
    assert "Traceback" not in done.err
    (run,) = directory.runs(Path("outputs"))
    assert kept in (run / directory.ERROR).read_text()
    status = json.loads((run / directory.STATUS).read_text())
    assert (status["state"], status["exit_code"]) == ("failed", 1)
    sys.modules.pop("own_faults", None)
