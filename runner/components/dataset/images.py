"""Image sets kept in files, with test rows of their own: MNIST, Fashion-MNIST and both CIFARs.

The idx files are read as bytes, gzipped or not, from wherever the user or a system package put
them; torchvision is asked only to download. Pixels are float32 in [0, 1].
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from runner.components.dataset.data import Data, locate, split
from runner.foundation.errors import BadData

# Where Debian's package dataset-fashion-mnist puts its files.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
FASHION_LABELS = "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle-boot"
CIFAR10_LABELS = "airplane automobile bird cat deer dog frog horse ship truck"
_PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")


@split
def mnist(*, root: str, download: bool) -> Data:
    """Load 70,000 images of handwritten digits, 1 x 28 x 28, 10 classes, 10,000 for the test."""
    return _idx("MNIST", locate(root), download, tuple("0123456789"))


@split
def fashion_mnist(*, root: str, download: bool) -> Data:
    """Load 70,000 images of clothes, 1 x 28 x 28, 10 classes, 10,000 of them for the test."""
    labels, package = tuple(FASHION_LABELS.split()), "dataset-fashion-mnist"
    folder = locate(root)
    return _idx("FashionMNIST", folder, download, labels, DEBIAN_FASHION_MNIST, package)


@split
def cifar10(*, root: str, download: bool) -> Data:
    """Load 60,000 colour images, 3 x 32 x 32, 10 classes, 10,000 of them for the test."""
    return _cifar("CIFAR10", "cifar-10-batches-py", root, download, tuple(CIFAR10_LABELS.split()))


@split
def cifar100(*, root: str, download: bool) -> Data:
    """Load 60,000 colour images, 3 x 32 x 32, 100 fine classes, 10,000 of them for the test."""
    return _cifar("CIFAR100", "cifar-100-python", root, download)


def read_idx(path: Path) -> Tensor:
    """Read an idx file of bytes, gzipped or plain.

    The format: two zero bytes, the type (8: unsigned byte), the number of dimensions, each
    dimension as four big-endian bytes, the values. Raises `BadData` with what was found.
    """
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(f"{path}: cannot be read: {error}") from error
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise BadData(f"{path}: expected an idx file of bytes, found {content[:16]!r}")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise BadData(f"{path}: the file ends in its header")
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, start, 4)]
    if len(content) - start != math.prod(shape):
        raise BadData(
            f"{path}: expected {math.prod(shape)} values of shape {tuple(shape)}, "
            f"found {max(len(content) - start, 0)}"
        )
    if not math.prod(shape):
        raise BadData(f"{path}: holds no values, its shape is {tuple(shape)}")
    return torch.frombuffer(bytearray(content[start:]), dtype=torch.uint8).reshape(shape)


def _idx(
    name: str,
    root: Path,
    download: bool,
    labels: tuple[str, ...],
    packaged: Path | None = None,
    package: str = "",
) -> Data:
    """Read the four files from the first folder that has them all, downloading if asked to.

    `name` is torchvision's; `packaged` is the folder where the system's `package` puts the files.
    """
    folders = [root, root / name / "raw", *([packaged] if packaged else [])]
    if (found := _find(folders)) is None and download:
        _torchvision(name, root, train=True, download=True)
        found = _find(folders)
    if found is None:
        raise _missing(name, folders, package)
    train_x, train_y, test_x, test_y = map(read_idx, found)
    for path, images, labels_of in ((found[0], train_x, train_y), (found[2], test_x, test_y)):
        _go_together(path, images, labels_of, train_x)
    images = torch.cat([train_x, test_x])[:, None]
    data = _with_test(images, torch.cat([train_y, test_y]).long(), len(train_x), labels)
    return replace(data, source=str(found[0].parent))


def _cifar(
    name: str, subfolder: str, root: str, download: bool, labels: tuple[str, ...] = ()
) -> Data:
    """Read what torchvision keeps in `subfolder`; the files name the classes where none are."""
    folder = locate(root)
    if not download and not os.path.isdir(folder / subfolder):
        raise _missing(name, [folder / subfolder])
    parts = [_torchvision(name, folder, train, download) for train in (True, False)]
    images = np.concatenate([part.data for part in parts]).transpose(0, 3, 1, 2)
    targets = torch.tensor([target for part in parts for target in part.targets])
    labels = labels or tuple(parts[0].classes)
    data = _with_test(torch.from_numpy(images), targets, len(parts[0].data), labels)
    return replace(data, source=str(folder / subfolder))


def _go_together(path: Path, images: Tensor, labels: Tensor, alike: Tensor) -> None:
    """Raise `BadData` unless there is one label for each image, all images of one size."""
    if images.dim() != 3 or labels.dim() != 1 or len(images) != len(labels):
        raise BadData(
            f"{path}: expected images and as many labels, "
            f"found shapes {tuple(images.shape)} and {tuple(labels.shape)}"
        )
    if images.shape[1:] != alike.shape[1:]:
        sizes = f"{tuple(alike.shape[1:])}, got {tuple(images.shape[1:])}"
        raise BadData(f"{path}: expected images of the size of the training images, {sizes}")


def _find(folders: list[Path]) -> list[Path] | None:
    """Return the paths of the four idx files in the first folder that holds them all."""
    for folder in folders:
        paths = [[folder / f"{part}-ubyte{end}" for end in ("", ".gz")] for part in _PARTS]
        # os.path.isfile, as Path.is_file raises where a folder may not be entered
        found = [next(filter(os.path.isfile, pair), None) for pair in paths]
        if all(found):
            return [path for path in found if path]
    return None


def _torchvision(name: str, root: Path, train: bool, download: bool) -> Any:
    """Let torchvision find, verify or download a data set."""
    from runner.foundation.vision import torchvision

    try:
        return getattr(torchvision().datasets, name)(root, train, download=download)
    except (RuntimeError, OSError) as error:
        raise BadData(f"{name} in {root}: {error}") from error


def _missing(name: str, folders: list[Path], package: str = "") -> BadData:
    ways = ["set dataset.root to the folder that has them", "pass dataset.download=true"]
    ways += [f"install Debian's package {package}"] if package else []
    looked = ", ".join(str(folder) for folder in folders)
    return BadData(f"{name}: no data files in {looked}; {', or '.join(ways)}")


def _with_test(images: Tensor, targets: Tensor, train: int, labels: tuple[str, ...]) -> Data:
    """Return images scaled to [0, 1], the rows from `train` on being the test set."""
    rows = torch.arange(len(images))
    splits = {"train": rows[:train], "test": rows[train:]}
    return Data(images.float().div_(255), targets, "classification", labels, splits)
