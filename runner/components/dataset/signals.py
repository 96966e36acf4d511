"""MNIST-1D: signals of 40 numbers in ten classes, made here by the package of that name.

Making them takes a second or two, so they are kept in the user's cache folder, under the version
of the package and the seed of its generator (Greydanus and Kobak 2020, 2024).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import random
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from runner.components.dataset.data import Data, split
from runner.foundation.errors import BadData, Unwritable
from runner.foundation.files import write_atomic
from runner.foundation.ranges import Seed

TRAIN, TEST, LENGTH = 4000, 1000, 40
_DIGEST = hashlib.sha256().digest_size


@split
def mnist1d(*, generator_seed: Seed) -> Data:
    """Load 5,000 signals, 1 x 40, 10 classes, 1,000 of them for the test.

    `generator_seed` is that of the package's own generator; the published results are for 42.
    Raises `BadData` when the package is not installed.
    """
    rows = torch.from_numpy(_rows(generator_seed))
    return Data(
        x=rows[:, None, :LENGTH].clone(),
        y=rows[:, LENGTH].long(),
        task="classification",
        labels=tuple("0123456789"),
        splits={"train": torch.arange(TRAIN), "test": torch.arange(TRAIN, TRAIN + TEST)},
    )


def _rows(seed: int) -> np.ndarray:
    """Return signals (5000, 40) with their class as the last column, from the cache if there."""
    try:
        version = metadata.version("mnist1d")
        path = _cache_folder() / f"mnist1d-{version}-{seed}.rows"
        if (kept := _read(path)) is not None:
            return kept
        rows = _make(seed)
    except ImportError as error:  # a PackageNotFoundError is one
        raise BadData(
            f"dataset=mnist1d is made by the package mnist1d, which cannot be imported ({error}); "
            "install it: pip install 'runner[data]'"
        ) from error
    _keep(path, rows)
    return rows


def _make(seed: int) -> np.ndarray:
    """Let the package make the signals; never its `get_dataset`, which downloads a pickle."""
    with _global_generators_kept():
        package = importlib.import_module("mnist1d.data")
        arguments = package.get_dataset_args()
        arguments.seed = seed
        made = package.make_dataset(arguments)
    x = np.concatenate([made["x"], made["x_test"]])
    y = np.concatenate([made["y"], made["y_test"]])
    return np.column_stack([x, y]).astype("<f4")


@contextlib.contextmanager
def _global_generators_kept() -> Iterator[None]:
    """Put back the states of the global generators, which the package seeds and draws from."""
    plain, of_numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(plain)
        np.random.set_state(of_numpy)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "runner"


def _read(path: Path) -> np.ndarray | None:
    """Read what `_keep` wrote, or None if it is absent or damaged: then it is made anew."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, body = content[:_DIGEST], content[_DIGEST:]
    whole = len(body) == (TRAIN + TEST) * (LENGTH + 1) * 4
    if not whole or hashlib.sha256(body).digest() != digest:
        return None
    return np.frombuffer(bytearray(body), "<f4").reshape(TRAIN + TEST, LENGTH + 1)


def _keep(path: Path, rows: np.ndarray) -> None:
    """Write the rows behind their checksum; where nothing can be written, go without a cache."""
    body = rows.tobytes()
    with contextlib.suppress(OSError, Unwritable):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, hashlib.sha256(body).digest() + body)
