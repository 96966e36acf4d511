"""Images of the user's own: one folder for each class."""

from __future__ import annotations

import difflib
import math
import os
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from runner.components.dataset.data import SPLITS, Data, locate, split
from runner.foundation import memory
from runner.foundation.errors import BadData, Misconfigured
from runner.foundation.ranges import Count

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_MODES = {1: "L", 3: "RGB"}
_DEEP = ("I", "F")  # Pillow's modes of more than 8 bits, which it would clip


@split
def image_folder(*, root: str, size: tuple[Count, Count], channels: Literal[1, 3]) -> Data:
    """Load the .png and .jpg files of `<root>/<class>/`; x is (N, channels, *size) in [0, 1].

    Where `<root>/train/` holds folders, the classes are in it, and rows of their own may be in
    `<root>/valid/` and `<root>/test/`. Each image is turned as its camera says, made grey or RGB
    (transparency is dropped) and stretched to `size`, height then width, whatever its shape.
    Classes and files come in the order of their names; hidden ones are passed over.
    """
    folder = locate(root)
    if not folder.is_dir():
        found = "found a file" if folder.exists() else "no such folder"
        raise BadData(f"{folder.absolute()}: expected a folder with one folder a class, {found}")
    parts = _parts(folder)
    labels = tuple(path.name for path in _folders(parts["train"], folder))
    paths: list[Path] = []
    classes: list[int] = []
    rows, left_out = {}, []
    for name, part in parts.items():
        start = len(paths)
        for path in _folders(part, folder):
            images, others = _images(path, folder)
            paths += images
            classes += [_class(path, labels)] * len(images)
            left_out += others
        rows[name] = torch.arange(start, len(paths))
    x = _read(paths, size, channels)
    own = rows if len(rows) > 1 else {}
    return Data(
        x, torch.tensor(classes), "classification", labels, own, str(folder), _told(left_out)
    )


def load(path: Path, size: tuple[int, int], channels: int) -> Tensor:
    """Read one image as (channels, *size) in [0, 1]; `BadData` names a file that is none."""
    from PIL import Image, UnidentifiedImageError

    try:
        values = np.array(_pixels(path, size, _MODES[channels]), dtype=np.float32)
    except BadData:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise BadData(f"{path}: too large an image: {error}") from error
    except UnidentifiedImageError as error:
        with path.open("rb") as file:
            start = file.read(16)
        raise BadData(f"{path}: expected a PNG or JPEG image, found {start!r}") from error
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:
        raise BadData(f"{path}: cannot be read: {error}") from error
    # (H, W) or (H, W, C)
    return torch.from_numpy(values).div_(255).reshape(*size, channels).permute(2, 0, 1)


def _pixels(path: Path, size: tuple[int, int], mode: str) -> Any:
    """Decode an image no larger than Pillow thinks safe, upright, in this mode and size."""
    from PIL import Image, ImageOps

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd but harmless notes in a file
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=sorted(set(FORMATS.values()))) as image:
            if image.mode.startswith(_DEEP):
                raise BadData(f"{path}: has more than 8 bits a pixel; convert it to 8")
            upright: Any = ImageOps.exif_transpose(image)
            return upright.convert(mode).resize(size[::-1])


def _read(paths: list[Path], size: tuple[int, int], channels: int) -> Tensor:
    needed = 4 * len(paths) * channels * math.prod(size)
    if needed > (there := memory.limit()):
        raise Misconfigured(
            f"dataset.size: {len(paths)} images of {size[0]} x {size[1]} need "
            f"{needed / 1e9:.3g} GB, the machine has {there / 1e9:.3g}"
        )
    x = torch.empty(len(paths), channels, *size)
    for row, path in enumerate(paths):
        x[row] = load(path, size, channels)
    return x


def _parts(folder: Path) -> dict[str, Path]:
    """Return the folder of each split there is; without a `train` of folders, all is training."""
    there = {path.name: path for path in _folders(folder, folder)}
    train = there.get("train")
    if train is None or not any(path.is_dir() for path in _visible(train, folder)):
        return {"train": folder}
    if others := [name for name in there if name not in SPLITS]:
        near = difflib.get_close_matches(others[0], SPLITS[1:], n=1, cutoff=0.5)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise BadData(f"{there[others[0]]}: beside train, expected only valid and test{hint}")
    return {name: there[name] for name in SPLITS if name in there}


def _folders(parent: Path, root: Path) -> list[Path]:
    """Return the folders in a folder that must hold folders alone."""
    found = list(_visible(parent, root))
    if images := [path for path in found if path.suffix.lower() in FORMATS and path.is_file()]:
        raise BadData(f"{images[0]}: expected a folder for each class in {parent}, found an image")
    if folders := [path for path in found if path.is_dir()]:
        return folders
    raise BadData(f"{parent}: expected a folder for each class, found none")


def _images(folder: Path, root: Path) -> tuple[list[Path], list[Path]]:
    """Return the images of a class, and the files that are none."""
    found = list(_visible(folder, root))
    if folders := [path for path in found if path.is_dir()]:
        raise BadData(f"{folders[0]}: expected images, found a folder")
    images = [path for path in found if path.suffix.lower() in FORMATS and path.is_file()]
    if not images:
        raise BadData(f"{folder}: holds no {', '.join(FORMATS)} files")
    return images, [path for path in found if path not in images]


def _visible(folder: Path, root: Path) -> Iterator[Path]:
    """Yield what a folder holds, by name; a link that leaves the root is refused."""
    inside = root.resolve()
    try:
        found = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        real = [Path(os.path.realpath(path)) for path in found]
    except OSError as error:
        raise BadData(f"{folder}: cannot be read: {error.strerror or error}") from error
    for path, end in zip(found, real, strict=True):
        if not end.is_relative_to(inside):
            raise BadData(f"{path}: a link that leaves {root}")
        yield path


def _class(folder: Path, labels: tuple[str, ...]) -> int:
    if folder.name not in labels:
        raise BadData(f"{folder}: class '{folder.name}' has no training images")
    return labels.index(folder.name)


def _told(left_out: list[Path]) -> tuple[str, ...]:
    if not left_out:
        return ()
    return (f"left out, as no .png or .jpg: {len(left_out)}, the first {left_out[0]}",)
