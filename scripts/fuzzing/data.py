"""Damaged idx and CSV files: exit code 3, or the data is what the file says."""

from __future__ import annotations

import csv
import functools
import gzip
import io
import math
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from fuzzing import command
from fuzzing.campaign import Outcome
from fuzzing.campaign import command as pasted
from fuzzing.damage import Edit, edited, edits
from runner.components.dataset.files import csv as table
from runner.components.dataset.images import mnist

IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
       "t10k-labels-idx1-ubyte")  # fmt: skip
SPLIT: dict[str, Any] = {"seed": 0, "subset": None, "balance": None, "label_noise": 0.0}
NUMBERS = st.one_of(st.floats(width=32, allow_nan=False).map(repr), st.integers().map(str))
ODD = ("", "NA", "nan", "1e39", "1,5", '"2"', '"a\nb"', "1_0", "٣", " 7 ", "0x1f", "\ufeff1", "a",
       "true", "1e-50", '"', "'3'")  # fmt: skip
CELLS = st.one_of(NUMBERS, st.sampled_from(ODD), st.text(max_size=4))


class Example(NamedTuple):
    """A file and what happened to it: one of four idx files, zipped or not, or a table."""

    file: str
    zipped: bool
    edits: list[Edit]
    rows: list[list[str]]


def prepared(home: Path) -> tuple[SearchStrategy[Example], Callable[[Example], Outcome]]:
    """Return what to try, and how."""
    command.compose_once()
    whole = _idx_files()
    longest = max(len(data) for data in whole.values())
    some = st.one_of(edits(longest), edits(longest), edits(24))
    zipped = st.sampled_from([False, False, True])
    idx = st.builds(Example, st.sampled_from(IDX), zipped, some, st.just([]))
    rows = st.tuples(st.sampled_from([NUMBERS, CELLS]), st.integers(1, 4)).flatmap(
        lambda of: st.lists(st.lists(of[0], min_size=of[1], max_size=of[1]), max_size=8)
    )
    some = st.one_of(st.just([]), edits(200))
    tables = st.builds(Example, st.just("table.csv"), st.just(False), some, rows)
    return st.one_of(idx, tables), functools.partial(attempt, whole)


def attempt(whole: dict[str, bytes], example: Example) -> Outcome:
    """Write the file, let `runner show --plot-schedule` read the data, and read it otherwise."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-data-"))
    if example.file in IDX:
        words = ["dataset=mnist", f"dataset.root={folder}", "trainer.batch_size=1"]
        for name, data in whole.items():
            packed = gzip.compress(data, mtime=0) if example.zipped else data
            if name == example.file:
                packed = edited(packed, whole[IDX[0]], example.edits)
            (folder / (f"{name}.gz" if example.zipped else name)).write_bytes(packed)
        differs = functools.partial(_idx_differs, folder)
    else:
        words = ["dataset=csv", f"dataset.path={folder / example.file}", "dataset.target=y",
                 "dataset.task=regression", "loss=mse", "trainer.batch_size=1"]  # fmt: skip
        (folder / example.file).write_bytes(_table(example))
        differs = functools.partial(_table_differs, folder / example.file)
    answer = command.run(["show", "--plot-schedule", *words], reading=True)
    fault = answer.fault() or _wrong(answer, differs)
    kind = f"exit {answer.code}" if isinstance(answer.code, int) else "raised"
    repeat = pasted("show", "--plot-schedule", *words)
    return Outcome(kind, fault, f"{repeat}  # {example}", answer.err[-1500:], folder)


def _wrong(answer: command.Answer, differs: Callable[[], str]) -> str:
    """Name what is wrong with how reading the data ended, if something is."""
    if answer.deeds:
        return f"did more than read: {answer.deeds[0]}"
    if answer.code == 0:
        return differs()
    if answer.code == 2:  # what a file holds may leave a key without meaning
        return "" if "dataset." in answer.err or "trainer." in answer.err else "exit 2"
    return "" if answer.code == 3 else f"exit {answer.code}"


# idx files


def _idx_files() -> dict[str, bytes]:
    """Return a small set of images and labels in the format of MNIST."""
    dice = np.random.default_rng(0)
    files = {}
    for part, count in (("train", 12), ("t10k", 5)):
        images = dice.integers(0, 256, (count, 3, 3), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        files[f"{part}-images-idx3-ubyte"] = _idx(images)
        files[f"{part}-labels-idx1-ubyte"] = _idx(labels)
    return files


def _idx(values: np.ndarray) -> bytes:
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return head + values.tobytes()


def _idx_differs(folder: Path) -> str:
    """Compare the data set with what the files say, read in another way."""
    data = mnist(root=str(folder), download=False, valid=0.1, test=None, **SPLIT)
    parts = []
    for name in IDX:
        path = folder / name
        content = path.read_bytes() if path.exists() else b""
        content = content or gzip.decompress((folder / f"{name}.gz").read_bytes())
        kind, dimensions = struct.unpack_from(">2xBB", content)
        if kind != 8:
            return "an idx file of another type was taken"
        shape = struct.unpack_from(f">{dimensions}I", content, 4)
        values = np.frombuffer(content, np.uint8, math.prod(shape), 4 + 4 * dimensions)
        if 4 + 4 * dimensions + values.size != len(content):
            return "bytes of an idx file were passed over"
        parts.append(values.reshape(shape))
    x = torch.from_numpy(np.concatenate(parts[0::2])[:, None].astype(np.float32) / np.float32(255))
    y = torch.from_numpy(np.concatenate(parts[1::2]).astype(np.int64))
    same = torch.equal(data.y, y) and torch.allclose(data.x, x, rtol=1e-6, atol=0)
    return "" if same else "the data is not what the idx files say"


# Tables


def _table(example: Example) -> bytes:
    """Return the bytes of a table whose last column is y."""
    width = max(map(len, example.rows), default=1)
    header = [*(f"x{at}" for at in range(width - 1)), "y"]
    text = "\n".join(",".join(row) for row in [header, *example.rows]) + "\n"
    return edited(text.encode(), b"x0,y\n1,2\n", example.edits)


def _table_differs(path: Path) -> str:
    """Compare the data set with what the file says, read in another way."""
    data = table(path=str(path), target="y", features=None, task="regression",
                 categorical="refuse", missing="refuse", delimiter="comma", encoding="utf-8",
                 valid=0.2, test=0.2, **SPLIT)  # fmt: skip
    text = path.read_bytes().decode("utf-8").removeprefix("\ufeff")
    rows = csv.DictReader(io.StringIO(text, ""), skipinitialspace=True)
    cells = [{name.strip(): cell for name, cell in row.items()} for row in rows
             if any(cell.strip() for cell in row.values())]  # fmt: skip
    names = [name for name in cells[0] if name != "y"]
    x = np.array([[float(row[name]) for name in names] for row in cells], np.float32)
    y = np.array([[float(row["y"])] for row in cells], np.float32)
    same = torch.equal(data.x, torch.from_numpy(x)) and torch.equal(data.y, torch.from_numpy(y))
    return "" if same else "the data is not what the table says"
