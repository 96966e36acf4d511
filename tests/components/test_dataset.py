"""Data sets: shapes, classes, splits, the idx reader and its complaints, for `conf/dataset`."""

import gzip
import hashlib
import pickle
from dataclasses import make_dataclass, replace
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn import datasets as sklearn_datasets

from runner.components.dataset import images, tables
from runner.components.dataset.data import Data, split
from runner.components.dataset.images import read_idx
from runner.config import Node, build, check
from runner.foundation.errors import BadData, Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "dataset"
MODULES = {  # where the factories of a test file stand
    "test_dataset": ("tables", "images"),
    "test_dataset_files": ("files", "folders", "weather"),
    "test_dataset_toys": ("toys",),
    "test_dataset_synthetic": ("synthetic",),
    "test_dataset_signals": ("signals",),
}
MADE_BY = {
    path.stem: OmegaConf.load(path)["_target_"].split(".")[-2] for path in FOLDER.glob("*.yaml")
}
OPTIONS = sorted(name for name, made_by in MADE_BY.items() if made_by in MODULES["test_dataset"])
SCHEMA = make_dataclass("Schema", [("dataset", Node)], kw_only=True)
TRAIN, TEST = 40, 20  # rows of the image sets made here, four and two of each class
NAMES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")

# What a data set must give: raw rows from a second source, and its share of test rows.
TABLES = {
    "digits": (sklearn_datasets.load_digits, (1, 8, 8), 1797, 10),
    "wine": (sklearn_datasets.load_wine, (13,), 178, 3),
    "breast_cancer": (sklearn_datasets.load_breast_cancer, (30,), 569, 2),
    "diabetes": (lambda: sklearn_datasets.load_diabetes(scaled=False), (10,), 442, None),
}
FILES = {  # the shape of an image, and the classes
    "mnist": ((1, 28, 28), 10),
    "fashion_mnist": ((1, 28, 28), 10),
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
}
FOLDERS = {"mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw"}


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"dataset": content | changes}, SCHEMA).dataset


def idx(values):
    """Return an array of bytes in the idx format."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def raw(shape):
    """Return images and classes of a small image set, test rows behind."""
    pixels = np.random.default_rng(0).integers(0, 256, (TRAIN + TEST, *shape), dtype=np.uint8)
    return pixels, np.arange(TRAIN + TEST) % 10


def write_idx(folder, ending="", replaced=MappingProxyType({})):
    """Write the four files of MNIST, gzipped for the ending `.gz`, some of them replaced."""
    pixels, classes = raw((28, 28))
    parts = [pixels[:TRAIN], classes[:TRAIN], pixels[TRAIN:], classes[TRAIN:]]
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in zip(NAMES, parts, strict=True):
        content = replaced.get(name, idx(part))
        content = gzip.compress(content) if ending else content
        (folder / f"{name}-ubyte{ending}").write_bytes(content)
    return folder


def write_cifar(root, monkeypatch, option="cifar10"):
    """Write the pickled batches of a small CIFAR, and tell torchvision their checksums."""
    from runner.foundation.vision import torchvision

    pixels, classes = raw((3, 32, 32))
    kind = getattr(torchvision().datasets, option.upper())
    labels, names = {
        "cifar10": ("labels", "label_names"),
        "cifar100": ("fine_labels", "fine_label_names"),
    }[option]
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    rows = {"train_list": slice(0, TRAIN), "test_list": slice(TRAIN, None)}
    contents = {
        name: {"data": pixels[at].reshape(-1, 3072), labels: classes[at].tolist()}
        for name, at in rows.items()
    }
    contents["meta"] = {names: [f"class {number}" for number in range(FILES[option][1])]}
    for name, content in contents.items():
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        digest = hashlib.md5(data).hexdigest()
        entry = {"filename": name, "key": names, "md5": digest}
        monkeypatch.setattr(kind, name, entry if name == "meta" else [[name, digest]])


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return a function that loads any option, image sets from small files made for it."""
    monkeypatch.setattr(images, "DEBIAN_FASHION_MNIST", tmp_path / "no package")
    root = tmp_path / "data"

    def factory(option, **changes):
        if option not in FILES:
            return build(node(option, **changes))
        if not root.exists():
            if option.startswith("cifar"):
                write_cifar(root, monkeypatch, option)
            else:
                write_idx(root / FOLDERS[option])
        return build(node(option, root=str(root), **changes))

    return factory


def test_every_option_has_a_reference():
    assert OPTIONS
    assert {*TABLES, *FILES} == set(OPTIONS)
    assert set(MADE_BY.values()) <= {name for names in MODULES.values() for name in names}
    assert not {*TABLES} & {*FILES}


@pytest.mark.parametrize("option", TABLES)
def test_tables_are_those_of_scikit_learn(option, load):
    data, (loaded, shape, rows, classes) = load(option), TABLES[option]
    bunch = loaded()
    assert data.inputs == shape
    assert len(data.x) == len(data.y) == rows
    np.testing.assert_allclose(data.x.flatten(1).numpy(), bunch.data, rtol=1e-6)
    np.testing.assert_allclose(data.y.flatten().numpy(), bunch.target, rtol=1e-6)
    assert data.task == ("classification" if classes else "regression")
    assert data.outputs == len(data.labels) == (classes or 1)
    if classes:
        assert data.y.dtype == torch.int64
        assert data.y.bincount().tolist() == np.bincount(bunch.target).tolist()
        assert len(data.y.bincount()) == classes
        assert list(data.labels) == [str(name) for name in bunch.target_names]
    else:
        assert data.y.shape == (rows, 1)
        assert data.y.dtype == data.x.dtype == torch.float32


@pytest.mark.parametrize("option", TABLES)
def test_a_table_that_is_not_there_is_named(option, load, tmp_path, monkeypatch):
    package = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    for found in (None, package):
        monkeypatch.setattr(tables, "find_spec", {"sklearn": found}.get)
        with pytest.raises(BadData, match=r"csv(\.gz)?: no such file; is scikit-learn installed"):
            load(option)


DAMAGE = {  # what is done to a file, and what is said
    "cut": (lambda data: data[: len(data) // 2], "cannot be read|expected .* rows|of 65 num"),
    "html": (lambda data: b"<!DOCTYPE html>\n<html></html>\n", "cannot be read as a table of num"),
    "empty": (lambda data: b"", "cannot be read as a table of numbers"),
    "zip": (lambda data: b"PK\x03\x04\x14\0\x06\0\xff\xff", "cannot be read as a table of numb"),
}


@pytest.mark.parametrize("case", DAMAGE)
@pytest.mark.parametrize("option", TABLES)
def test_a_damaged_table_is_bad_data(option, case, load, tmp_path, monkeypatch):
    """F31: the files of a package may be damaged too."""
    original = tables._file
    damage, message = DAMAGE[case]

    def damaged(name):
        copy = tmp_path / name
        copy.write_bytes(damage(original(name).read_bytes()))
        return copy

    monkeypatch.setattr(tables, "_file", damaged)
    with pytest.raises(BadData, match=rf"{tmp_path}/\w+\.csv.*: .*({message})") as caught:
        load(option)
    assert caught.value.exit_code == 3


def test_a_table_of_other_columns_is_bad_data(load, tmp_path, monkeypatch):
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(gzip.compress(b"1,2,3\n4,5,6\n"))
    monkeypatch.setattr(tables, "_file", lambda name: path)
    with pytest.raises(BadData, match=r"csv.gz: expected rows of 65 numbers, found 3"):
        load("digits")


@pytest.mark.parametrize("option", FILES)
def test_image_sets_are_what_their_files_hold(option, load):
    data = load(option)
    shape, number = FILES[option]
    pixels, classes = raw(shape if shape[0] > 1 else shape[1:])
    assert data.inputs == shape
    assert data.task == "classification"
    assert data.outputs == len(data.labels) == len(set(data.labels)) == number
    expected = pixels.reshape(-1, *shape) / 255.0
    np.testing.assert_allclose(data.x.numpy(), expected, rtol=1e-6)
    assert data.y.dtype == torch.int64
    assert data.y.tolist() == classes.tolist()
    assert data.splits["test"].tolist() == list(range(TRAIN, TRAIN + TEST))
    assert len(data.splits["valid"]) == 0.1 * TRAIN


@pytest.mark.parametrize("option", OPTIONS)
def test_splits_are_disjoint_and_cover_every_row(option, load):
    data = load(option)
    assert list(data.splits) == ["train", "valid", "test"]
    together = torch.cat(list(data.splits.values()))
    assert together.sort().values.tolist() == list(range(len(data.y)))
    if option in TABLES:
        for name in ("valid", "test"):
            assert len(data.splits[name]) == round(0.2 * len(data.y))
    for rows in data.splits.values():
        assert rows.tolist() == sorted(rows.tolist())


@pytest.mark.parametrize("option", OPTIONS)
def test_split_depends_on_its_seed_alone(option, load):
    torch.manual_seed(1)
    first = load(option, seed=3)
    torch.manual_seed(2)
    globally = torch.get_rng_state()
    again, other = load(option, seed=3), load(option, seed=4)
    assert torch.equal(torch.get_rng_state(), globally)
    for name, rows in first.splits.items():
        assert torch.equal(rows, again.splits[name])
    assert not torch.equal(first.splits["train"], other.splits["train"])
    assert torch.equal(first.x, other.x)  # rows stay where they are
    assert first.checksum() == again.checksum() != other.checksum()


@pytest.mark.parametrize("option", TABLES)
def test_shares_are_those_asked_for_and_may_be_nothing(option, load):
    data = load(option, valid=0.0, test=0.5)
    rows = len(data.y)
    assert [len(each) for each in data.splits.values()] == [
        rows - round(rows / 2),
        0,
        round(rows / 2),
    ]


@pytest.mark.parametrize(
    ("option", "changes", "message"),
    [
        ("digits", {"valid": None}, "dataset.valid: expected a share of the rows, as .* no valid"),
        ("digits", {"test": None}, "dataset.test: expected a share of the rows"),
        ("mnist", {"test": 0.2}, "dataset.test: expected null, as this data set has test rows"),
        ("wine", {"valid": 0.5, "test": 0.5}, r"expected less than 1, got 0.5 \+ 0.5 = 1"),
        ("wine", {"valid": 0.001}, "dataset.valid: a share of 0.001 of 178 rows is empty"),
        ("wine", {"valid": 1.0}, r"dataset\.valid: expected a number in \[0, 1\) or null, got 1.0"),
        (
            "mnist",
            {"valid": "much"},
            r"dataset\.valid: expected a number in .* or null, got 'much'",
        ),
        ("diabetes", {"test": "none"}, r"dataset\.test: expected a number in \[0, 1\) or null"),
        ("digits", {"seed": -1}, r"dataset\.seed: expected a whole number in \[0, 4294967295\]"),
    ],
)
def test_shares_that_cannot_be_are_refused(option, changes, message, load):
    with pytest.raises(Misconfigured, match=message):
        load(option, **changes)


CHANGES = {
    "a value": lambda data: {"x": data.x.index_fill(0, torch.tensor([5]), 0.25)},
    "the shape": lambda data: {"x": data.x.reshape(len(data.x), -1, 1)},
    "a target": lambda data: {"y": (data.y + 1) % 3},
    "a name": lambda data: {"labels": ("a", *data.labels[1:])},
    "a row moved on": lambda data: {"splits": _moved(data.splits)},
}


def _moved(splits):
    """Move the last training row to the front of the validation rows."""
    train, valid = splits["train"], splits["valid"]
    return splits | {"train": train[:-1], "valid": torch.cat([train[-1:], valid])}


@pytest.mark.parametrize("case", CHANGES)
def test_checksum_tells_data_apart(case, load):
    data = load("wine")
    assert replace(data, x=data.x.clone()).checksum() == data.checksum()
    assert replace(data, **CHANGES[case](data)).checksum() != data.checksum()


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("place", ["", "MNIST/raw"])
def test_idx_files_may_be_plain_or_gzipped_in_either_folder(tmp_path, ending, place):
    write_idx(tmp_path / place, ending)
    data = build(node("mnist", root=str(tmp_path)))
    np.testing.assert_allclose(data.x[:, 0].numpy() * 255, raw((28, 28))[0], rtol=1e-6)


def test_home_is_where_a_tilde_points(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_idx(tmp_path / "pictures")
    assert len(build(node("mnist", root="~/pictures")).y) == TRAIN + TEST


def test_fashion_mnist_is_found_where_the_system_package_puts_it(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "DEBIAN_FASHION_MNIST", write_idx(tmp_path / "package", ".gz"))
    data = build(node("fashion_mnist", root=str(tmp_path / "nowhere")))
    assert len(data.y) == TRAIN + TEST


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (2, 1, 3, 2)])
@pytest.mark.parametrize("packed", [False, True])
def test_read_idx_gives_back_what_was_written(tmp_path, shape, packed):
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path / "values"
    path.write_bytes(gzip.compress(idx(values)) if packed else idx(values))
    np.testing.assert_array_equal(read_idx(path).numpy(), values)


WHOLE = idx(np.arange(60).reshape(3, 4, 5))
PACKED = gzip.compress(WHOLE)
BROKEN = {
    "truncated": (WHOLE[:-7], r"expected 60 values of shape \(3, 4, 5\), found 53"),
    "too long": (WHOLE + b"xy", "expected 60 values .* found 61 or more"),
    "header cut": (WHOLE[:9], "values|header"),
    "gzip truncated": (PACKED[:-20], "cannot be read"),
    "gzip header alone": (PACKED[:5], "cannot be read"),
    "gzip damaged": (PACKED[:10] + b"\xff" + PACKED[11:], "cannot be read"),  # no such block
    "gzip with a bit flipped": (PACKED[:-6] + bytes([PACKED[-6] ^ 1]) + PACKED[-5:], "cannot be"),
    "wrong magic": (b"\x00\x00\x0d" + WHOLE[3:], "expected an idx file of bytes, found"),
    "html": (b"<!DOCTYPE html><html>", r"expected an idx file of bytes, found b'<!DOCTYPE html>"),
    "gzipped html": (gzip.compress(b"<html></html>"), "expected an idx file of bytes, found"),
    "empty": (b"", "expected an idx file of bytes, found b''"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_read_idx_says_what_it_found_instead(tmp_path, case):
    """F31: truncated, another format, html, empty: the path, what was expected, what was found."""
    path = tmp_path / "train-images-idx3-ubyte"
    content, message = BROKEN[case]
    path.write_bytes(content)
    with pytest.raises(BadData, match=f"train-images-idx3-ubyte: .*{message}") as caught:
        read_idx(path)
    assert caught.value.exit_code == 3


def test_read_idx_of_what_is_no_file(tmp_path):
    """F31: a folder, or nothing, instead of a file."""
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(BadData, match="cannot be read"):
            read_idx(path)


@pytest.mark.parametrize("option", FILES)
def test_missing_files_are_named_with_what_to_do(option, tmp_path, monkeypatch):
    """F31: missing."""
    monkeypatch.setattr(images, "DEBIAN_FASHION_MNIST", tmp_path / "no package")
    with pytest.raises(BadData) as caught:
        build(node(option, root=str(tmp_path / "nowhere")))
    message = str(caught.value)
    assert caught.value.exit_code == 3
    assert str(tmp_path / "nowhere") in message
    assert "dataset.root" in message
    assert "dataset.download=true" in message
    assert ("dataset-fashion-mnist" in message) == (option == "fashion_mnist")


@pytest.mark.parametrize("option", FILES)
@pytest.mark.parametrize("root", ["x" * 300, "~nobody_at_all"])
def test_a_root_that_cannot_be_is_bad_data(option, root):
    with pytest.raises(BadData, match=f"{root}: cannot be read: .*(long|home)"):
        build(node(option, root=root))


def test_a_folder_with_three_of_the_four_files_does_not_count(tmp_path):
    (write_idx(tmp_path) / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(BadData, match="MNIST: no data files in"):
        build(node("mnist", root=str(tmp_path)))


PIXELS, CLASSES = raw((28, 28))
OUTSIDE = CLASSES[:TRAIN] + 9 * (np.arange(TRAIN) == 7)
MISMATCHED = {  # what stands in the files instead, and what the message must name
    "label out of range": ({NAMES[1]: OUTSIDE}, "row 7: label 16, expected 0 to 9"),
    "a label too few": ({NAMES[1]: CLASSES[: TRAIN - 1]}, "59|39"),
    "a label on the wrong side": (
        {NAMES[1]: CLASSES[: TRAIN - 1], NAMES[3]: CLASSES[TRAIN - 1 :]},
        "39|21",
    ),
    "labels for images": ({NAMES[0]: CLASSES[:TRAIN]}, "train-images|shape"),
    "images for labels": ({NAMES[1]: PIXELS[:TRAIN]}, "train-labels|shape"),
    "test images of another size": ({NAMES[2]: PIXELS[TRAIN:, :20, :20]}, "t10k-images|shape"),
    "no rows": ({NAMES[0]: PIXELS[:0], NAMES[1]: CLASSES[:0]}, "rows|values|empty"),
}


@pytest.mark.parametrize("case", MISMATCHED)
def test_files_that_do_not_go_together_are_bad_data(case, tmp_path):
    """F30, F31: a label outside the classes, by its row; labels and images of other numbers."""
    replaced, message = MISMATCHED[case]
    write_idx(tmp_path, replaced={name: idx(each) for name, each in replaced.items()})
    with pytest.raises(BadData, match=message):
        build(node("mnist", root=str(tmp_path)))


def classes(x, y):
    return Data(x, y, "classification", ("no", "yes"))


def numbers(value):
    return Data(SOUND.x, torch.full((10, 1), value), "regression", ("y",))


SOUND = classes(torch.ones(10, 3), torch.arange(10) % 2)
UNSOUND = {
    "nan": (classes(SOUND.x.clone(), SOUND.y), r"row 4: x\[1\] is nan, expected a finite number"),
    "negative label": (classes(SOUND.x, SOUND.y - 1), "row 0: label -1, expected 0 to"),
    "label too large": (classes(SOUND.x, SOUND.y + 1), "row 1: label 2, expected 0 to 1"),
    "rows": (classes(SOUND.x[:9], SOUND.y), "as many rows of x as of y, got 9 and 10"),
    "nothing": (classes(SOUND.x[:0], SOUND.y[:0]), "got 0 and 0"),
    "nan target": (numbers(torch.nan), r"row 0: y\[0\] is nan"),
    "infinite target": (numbers(torch.inf), r"row 0: y\[0\] is inf"),
}
UNSOUND["nan"][0].x[4, 1] = torch.nan
LARGE = classes(torch.full((10, 3), 3e38), SOUND.y)  # whose sum is infinite in float32
SHARED = {"seed": 0, "valid": 0.2, "test": 0.2}
SHARED |= {"subset": None, "balance": None, "label_noise": 0.0}


@pytest.mark.parametrize("case", UNSOUND)
def test_values_that_no_training_could_use_are_bad_data(case):
    """F30: also what is not finite, by its row and place."""
    data, message = UNSOUND[case]
    with pytest.raises(BadData, match=message) as caught:
        split(lambda: data)(**SHARED)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("sound", [SOUND, LARGE])
def test_sound_values_pass(sound):
    data = split(lambda: sound)(**SHARED)
    assert [len(rows) for rows in data.splits.values()] == [6, 2, 2]
    assert data.warnings == ()
