"""Image sets kept in files, with test rows of their own: MNIST, Fashion-MNIST and both CIFARs.

The idx files are read as bytes, gzipped or not, from wherever the user or a system package put
them; of the CIFAR files, which are pickles, nothing is run. torchvision is asked only where files
come from and what their checksums are. Pixels are float32 in [0, 1].
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runner.components.dataset import fetch, pickles
from runner.components.dataset.data import Data, locate, split
from runner.foundation import memory
from runner.foundation.errors import BadData

# Where Debian's package dataset-fashion-mnist puts its files.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
FASHION_LABELS = "T-shirt/top Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Ankle-boot"
CIFAR10_LABELS = "airplane automobile bird cat deer dog frog horse ship truck"
MOST_DIMENSIONS = 8  # of an idx file: images have three
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
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as file:
            shape = _shape(path, file.read(4), file)
            # No more than the header promises: a few bytes may unpack to any number.
            content = file.read((count := math.prod(shape)) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(f"{path}: cannot be read: {error}") from error
    if len(content) != count:
        found = f"{len(content)}{' or more' if len(content) > count else ''}"
        raise BadData(f"{path}: expected {count} values of shape {shape}, found {found}")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8).reshape(shape)


def _shape(path: Path, magic: bytes, file: Any) -> tuple[int, ...]:
    """Read the rest of an idx file's header."""
    if len(magic) < 4 or magic[:3] != b"\x00\x00\x08" or magic[3] > MOST_DIMENSIONS:
        start = magic + file.read(12)
        raise BadData(f"{path}: expected an idx file of bytes, found {start!r}")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise BadData(f"{path}: the file ends in its header")
    shape = tuple(int.from_bytes(sizes[at : at + 4], "big") for at in range(0, len(sizes), 4))
    if not math.prod(shape):
        raise BadData(f"{path}: holds no values, its shape is {shape}")
    if math.prod(shape) > memory.limit():
        raise BadData(f"{path}: claims {math.prod(shape):.3g} values of shape {shape}, which no "
                      "memory here holds")  # fmt: skip
    return shape


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
        known = _published(name)
        for file, checksum in known.resources:
            fetch.fetch([base + file for base in known.mirrors], checksum, folders[1] / file)
        found = _find(folders[1:2])
    if found is None:
        raise _missing(name, folders, package)
    train_x, train_y, test_x, test_y = map(read_idx, found)
    for path, images, labels_of in ((found[0], train_x, train_y), (found[2], test_x, test_y)):
        _go_together(path, images, labels_of, train_x)
    for path, classes in ((found[1], train_y), (found[3], test_y)):
        _within(path, classes, len(labels))
    images = torch.cat([train_x, test_x])[:, None]
    data = _with_test(images, torch.cat([train_y, test_y]).long(), len(train_x), labels)
    return replace(data, source=str(found[0].parent))


def _cifar(
    name: str, subfolder: str, root: str, download: bool, labels: tuple[str, ...] = ()
) -> Data:
    """Read the files in `subfolder`; they name the classes where none are given."""
    folder = locate(root)
    if not download and not os.path.isdir(folder / subfolder):
        raise _missing(name, [folder / subfolder])
    known = _published(name)
    meta = folder / subfolder / known.meta["filename"]
    checksums = {
        folder / subfolder / file: checksum
        for file, checksum in [*known.train_list, *known.test_list]
    }
    if download:
        _download_cifar(known, folder, {**checksums, meta: known.meta["md5"]})
    if not labels:
        found = _verified(meta, known.meta["md5"])
        labels = tuple(pickles.items(meta, found, known.meta["key"], str))
    parts = [_rows(path, checksum, len(labels)) for path, checksum in checksums.items()]
    images = torch.cat([images for images, _ in parts])
    train = sum(len(images) for images, _ in parts[: len(known.train_list)])
    data = _with_test(images, torch.cat([classes for _, classes in parts]), train, labels)
    return replace(data, source=str(folder / subfolder))


def _download_cifar(known: Any, folder: Path, checksums: Mapping[Path, str]) -> None:
    """Bring the files out of the published archive, unless all are there and whole."""
    if all(path.is_file() and fetch.digest(path.read_bytes()) == checksum
           for path, checksum in checksums.items()):  # fmt: skip
        return
    path = folder / known.filename
    archive = fetch.fetch([known.url], known.tgz_md5, path)
    fetch.unpack(path, archive, {f"{known.base_folder}/{each.name}": each for each in checksums})


def _rows(path: Path, checksum: str, classes: int) -> tuple[Tensor, Tensor]:
    """Return the images of a CIFAR file, (N, 3, 32, 32), and the class of each."""
    found = _verified(path, checksum)
    images = torch.frombuffer(bytearray(pickles.rows(path, found, "data", 3072)), dtype=torch.uint8)
    images = images.reshape(-1, 3, 32, 32)
    listed = pickles.items(path, found, "labels" if "labels" in found else "fine_labels", int)
    if len(listed) != len(images):
        raise BadData(f"{path}: expected {len(images)} labels, one an image, found {len(listed)}")
    labels = torch.tensor(listed)
    _within(path, labels, classes)
    return images, labels


def _verified(path: Path, checksum: str) -> Mapping[str, Any]:
    """Read a pickle whose content is the published one; raises `BadData`."""
    hint = "pass dataset.download=true to have it brought"
    if not path.is_file():
        raise BadData(f"{path}: {'expected a file' if path.exists() else 'no such file'}; {hint}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    if (found := fetch.digest(content)) != checksum:
        raise BadData(
            f"{path}: expected the published file, of MD5 {checksum}, found "
            f"{len(content):,} bytes of {found}; {hint}"
        )
    return pickles.load(path, content)


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


def _within(path: Path, labels: Tensor, classes: int) -> None:
    """Raise `BadData` for a label that is none of the classes."""
    wrong = ((labels < 0) | (labels >= classes)).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise BadData(f"{path}: row {row}: label {int(labels[row])}, expected 0 to {classes - 1}")


def _find(folders: list[Path]) -> list[Path] | None:
    """Return the paths of the four idx files in the first folder that holds them all."""
    for folder in folders:
        paths = [[folder / f"{part}-ubyte{end}" for end in ("", ".gz")] for part in _PARTS]
        # os.path.isfile, as Path.is_file raises where a folder may not be entered
        found = [next(filter(os.path.isfile, pair), None) for pair in paths]
        if all(found):
            return [path for path in found if path]
    return None


def _published(name: str) -> Any:
    """Return what torchvision knows of a data set: addresses, names and checksums of its files."""
    from runner.foundation.vision import torchvision

    return getattr(torchvision().datasets, name)


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
