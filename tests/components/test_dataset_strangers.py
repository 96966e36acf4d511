"""Image files of a stranger's: pickles that would run code, archives that would leave their folder,
downloads that are something else, headers that lie.
"""

import gzip
import io
import os
import pickle
import tarfile
import tracemalloc
import urllib.request

import numpy as np
import pytest
from test_dataset import NAMES, TEST, TRAIN, idx, node, raw, write_cifar, write_idx

from runner.components.dataset import fetch, pickles
from runner.components.dataset.images import read_idx
from runner.config import build
from runner.foundation.errors import BadData, Unwritable
from runner.foundation.vision import torchvision

CIFARS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}


class Hostile:
    """Make a folder when unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def published(monkeypatch, option, name, content):
    """Make these bytes the published content of a CIFAR file."""
    kind = getattr(torchvision().datasets, option.upper())
    checksum = fetch.digest(content)
    if name == "meta":
        monkeypatch.setattr(kind, name, {**kind.meta, "md5": checksum})
    else:
        monkeypatch.setattr(kind, name, [[name, checksum]])


@pytest.mark.parametrize("option", CIFARS)
@pytest.mark.parametrize("name", ["train_list", "test_list", "meta"])
def test_a_hostile_pickle_runs_nothing(option, name, tmp_path, monkeypatch):
    """F31, F41: not when its checksum differs, and not when it is the published one either."""
    write_cifar(tmp_path, monkeypatch, option)
    path, marker = tmp_path / CIFARS[option] / name, tmp_path / "marker"
    content = pickle.dumps({**pickle.loads(path.read_bytes()), "further": Hostile(marker)})
    path.write_bytes(content)
    if (option, name) != ("cifar10", "meta"):  # of which nothing is needed
        with pytest.raises(BadData, match=f"{name}: expected the published file, of MD5 .*found"):
            build(node(option, root=str(tmp_path)))
        published(monkeypatch, option, name, content)
        message = f"{name}: expected a pickle of plain data: it names (posix|nt).mkdir"
        with pytest.raises(BadData, match=message) as caught:
            build(node(option, root=str(tmp_path)))
        assert caught.value.exit_code == 3
    else:
        build(node(option, root=str(tmp_path)))
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists()  # the pickle does bite where nobody looks


def write(tmp_path, monkeypatch, **changes):
    """Write a CIFAR-10 whose training file says something else; return its path."""
    write_cifar(tmp_path, monkeypatch)
    path = tmp_path / CIFARS["cifar10"] / "train_list"
    content = pickle.dumps({**pickle.loads(path.read_bytes()), **changes})
    path.write_bytes(content)
    published(monkeypatch, "cifar10", "train_list", content)
    return path


PIXELS, CLASSES = raw((3, 32, 32))
ROWS = PIXELS[:TRAIN].reshape(TRAIN, -1)
CONTENTS = {  # what the training file holds instead, and what is said of it
    "label": ({"labels": [*[0] * 7, 10, *[0] * 32]}, "row 7: label 10, expected 0 to 9"),
    "negative": ({"labels": [-1] * TRAIN}, "row 0: label -1, expected 0 to 9"),
    "huge": ({"labels": [10**30] * TRAIN}, "item 0 of 'labels': expected a plain int, found int"),
    "fraction": ({"labels": [0.5] * TRAIN}, "item 0 of 'labels': expected a plain int, found flo"),
    "few": ({"labels": [1, 2]}, "expected 40 labels, one an image, found 2"),
    "no list": ({"labels": "abc"}, "expected a list 'labels', found str"),
    "no array": ({"data": [1, 2]}, "expected an array 'data', found list"),
    "narrow": ({"data": ROWS[:, :100]}, r"to be rows of 3072 bytes, found shape \(40, 100\)"),
    "flat": ({"data": ROWS.reshape(-1)}, r"to be rows of 3072 bytes, found shape \(122880,\)"),
    "wide": ({"data": ROWS.astype(np.float32)}, "'data' to be an array of bytes, row by row"),
    "turned": ({"data": np.asfortranarray(ROWS)}, "'data' to be an array of bytes, row by row"),
    "none": ({"data": ROWS[:0]}, "to be rows of 3072 bytes"),
    "objects": ({"data": np.array([{}])}, "'data' to be an array of bytes, row by row"),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_a_pickle_that_holds_something_else_is_bad_data(case, tmp_path, monkeypatch):
    """F30, F31: labels by their row, arrays by their shape."""
    changes, message = CONTENTS[case]
    path = write(tmp_path, monkeypatch, **changes)
    with pytest.raises(BadData, match=f"{path}: .*{message}"):
        build(node("cifar10", root=str(tmp_path)))


BYTES = {
    "html": b"<!DOCTYPE html>",
    "empty": b"",
    "cut": pickle.dumps({"data": ROWS, "labels": [0]})[:-2000],
    "a list": pickle.dumps([1, 2]),
    "an endless text": b"\x80\x04\x8d" + (2**50).to_bytes(8, "little"),
    "state for a class": b"\x80\x04cnumpy\nndarray\n(K\x01tb.",
    "a persistent id": b"\x80\x04\x8c\x01aQ.",
    "an extension": b"\x80\x04\x82\x01.",
    "a builtin": b"cbuiltins\neval\n(S'1'\ntR.",
    "another of numpy's": b"cnumpy\nload\n(S'/etc/passwd'\ntR.",
    "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
}


@pytest.mark.parametrize("case", BYTES)
def test_bytes_that_are_no_pickle_of_data_are_bad_data(case, tmp_path):
    """F31: truncated, html, empty; and whatever else a pickle may ask for."""
    with pytest.raises(BadData, match="file: expected a "):
        pickles.load(tmp_path / "file", BYTES[case])


def test_a_damaged_pickle_is_bad_data_or_harmless(tmp_path):
    sound = pickle.dumps({"data": ROWS[:2, :40], "labels": [0, 1]})
    choice = np.random.default_rng(0)
    refused = 0
    for _ in range(2000):
        content = bytearray(sound)
        for at in choice.integers(0, len(sound), choice.integers(1, 4)):
            content[at] = choice.integers(256)
        try:
            found = pickles.load(tmp_path, bytes(content))
            pickles.rows(tmp_path, found, "data", 40)
            pickles.items(tmp_path, found, "labels", int)
        except BadData:
            refused += 1
    assert refused > 1000


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_are_read_whatever_the_protocol_but_for_those_that_encode(protocol, tmp_path):
    """NumPy writes the bytes of an array as text below protocol 3, by a function."""
    content = pickle.dumps({"data": ROWS}, protocol=protocol)
    if protocol in (3, 4):
        assert pickles.rows(tmp_path, pickles.load(tmp_path, content), "data", 3072) == (
            ROWS.tobytes()
        )
    else:
        with pytest.raises(BadData):
            pickles.load(tmp_path, content)


def test_a_pickle_of_python_2_is_read(tmp_path):
    """As the published files are: the names of an older NumPy, bytes as a text."""
    data = ROWS[:2].tobytes()
    content = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\n"
        b"q\x04K\x00\x85U\x01b\x87Rq\x05(K\x01K\x02M\x00\x0c\x86cnumpy\ndtype\nq\x06U\x02u1K\x00"
        b"K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + len(data).to_bytes(4, "little") + data + b"tbU\x06labelsq\x08]q\x09(K\x03K\x05eu."
    )  # fmt: skip
    np.testing.assert_array_equal(pickle.loads(content, encoding="latin1")["data"], ROWS[:2])
    found = pickles.load(tmp_path, content)
    assert pickles.rows(tmp_path, found, "data", 3072) == data
    assert pickles.items(tmp_path, found, "labels", int) == [3, 5]


INSTEAD = {
    "missing": (lambda path: path.unlink(), "no such file; pass dataset.download=true"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "expected a file; pass "),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "expected a file; pass "),
    "truncated": (lambda path: os.truncate(path, 100), "of MD5 .*, found 100 bytes of"),
    "html": (lambda path: path.write_bytes(b"<html>"), "of MD5 .*, found 6 bytes of"),
    "a bit": (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"), "of MD5 .*, found"),
}  # fmt: skip


@pytest.mark.parametrize("case", INSTEAD)
@pytest.mark.parametrize("option", CIFARS)
def test_a_file_that_is_another_is_named(option, case, tmp_path, monkeypatch):
    """F31: what was expected in its place, and what was found."""
    write_cifar(tmp_path, monkeypatch, option)
    change, message = INSTEAD[case]
    change(path := tmp_path / CIFARS[option] / "test_list")
    with pytest.raises(BadData, match=f"{path}: .*{message}") as caught:
        build(node(option, root=str(tmp_path)))
    assert caught.value.exit_code == 3


def test_a_file_that_may_not_be_read_is_bad_data(tmp_path, monkeypatch):
    """F31: unreadable."""
    write_cifar(tmp_path, monkeypatch)

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "read_bytes", refuse)
    with pytest.raises(BadData, match="train_list: cannot be read: Permission denied"):
        build(node("cifar10", root=str(tmp_path)))


# idx files


@pytest.mark.parametrize("packed", [False, True])
def test_a_label_outside_the_classes_is_named_by_file_and_row(packed, tmp_path):
    """F30: the sample's index and the value."""
    labels = np.zeros(TRAIN)
    labels[7] = 10
    write_idx(tmp_path, ".gz" if packed else "", {NAMES[1]: idx(labels)})
    message = f"{tmp_path}/train-labels-idx1-ubyte.*: row 7: label 10, expected 0 to 9"
    with pytest.raises(BadData, match=message) as caught:
        build(node("mnist", root=str(tmp_path)))
    assert caught.value.exit_code == 3


def test_a_header_that_promises_too_much_is_refused(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(b"\0\0\x08\x03" + b"\xff" * 12)
    with pytest.raises(BadData, match=r"claims 7.92e\+28 values of shape .* no memory here holds"):
        read_idx(path)
    path.write_bytes(b"\0\0\x08\xff" + b"\xff" * 1020)
    with pytest.raises(BadData, match=r"expected an idx file of bytes, found b'.x00.x00.x08.xff"):
        read_idx(path)


def test_a_bomb_is_unpacked_no_further_than_its_header_says(tmp_path):
    """30 kB that unpack to 30 MB."""
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros((2, 3, 4))) + bytes(30_000_000)))
    tracemalloc.start()
    with pytest.raises(BadData, match=r"expected 24 values of shape .*, found 25 or more"):
        read_idx(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1_000_000


# Downloads


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Make the published files of MNIST such as stand in a folder, at two addresses."""
    there = tmp_path / "server"
    write_idx(there, ".gz")
    kind = torchvision().datasets.MNIST
    files = [f"{name}-ubyte.gz" for name in NAMES]
    known = [(file, fetch.digest((there / file).read_bytes())) for file in files]
    monkeypatch.setattr(kind, "resources", known)
    monkeypatch.setattr(kind, "mirrors", [f"file://{tmp_path}/mirror/", f"file://{there}/"])
    return there


def load_mnist(tmp_path):
    return build(node("mnist", root=str(tmp_path / "data"), download=True))


def test_a_download_is_what_was_published(served, tmp_path, capsys):
    data = load_mnist(tmp_path)
    assert len(data.y) == TRAIN + TEST
    assert data.source == str(tmp_path / "data/MNIST/raw")
    assert capsys.readouterr().err.count("downloading file://") == 8  # each from the second address
    load_mnist(tmp_path)
    assert capsys.readouterr().err == ""
    assert sorted(os.listdir(data.source)) == sorted(path.name for path in served.iterdir())


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x1f\x8b half of"])
def test_a_download_that_is_another_file_is_not_kept(content, served, tmp_path):
    """F31: nothing half, and nothing else, under the name of the file."""
    (served / f"{NAMES[1]}-ubyte.gz").write_bytes(content)
    message = f"{NAMES[1]}.*could not be downloaded\n.*No such file.*\n.*expected a file of MD5"
    with pytest.raises(BadData, match=message) as caught:
        load_mnist(tmp_path)
    assert caught.value.exit_code == 3
    assert os.listdir(tmp_path / "data/MNIST/raw") == [f"{NAMES[0]}-ubyte.gz"]
    write_idx(served, ".gz")  # compressed at another second: another file
    kind = torchvision().datasets.MNIST
    kind.resources[:] = [(file, fetch.digest((served / file).read_bytes()))
                         for file, _ in kind.resources]  # fmt: skip
    assert len(load_mnist(tmp_path).y) == TRAIN + TEST


def test_a_half_file_of_another_is_replaced(served, tmp_path):
    folder = tmp_path / "data/MNIST/raw"
    folder.mkdir(parents=True)
    (folder / f"{NAMES[0]}-ubyte.gz").write_bytes(b"half")
    assert len(load_mnist(tmp_path).y) == TRAIN + TEST


def test_a_connection_that_ends_early_is_told(monkeypatch, tmp_path):
    answer = io.BytesIO(b"half")
    answer.headers = {"Content-Length": "100"}
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **given: answer)
    with pytest.raises(BadData, match="http://x/y: ended after 4 of 100 bytes"):
        fetch.fetch(["http://x/y"], "0" * 32, tmp_path / "y")
    answer = io.BytesIO(b"much")
    monkeypatch.setattr(fetch, "LARGEST", 3)
    with pytest.raises(BadData, match="http://x/y: more than 3 bytes"):
        fetch.fetch(["http://x/y"], "0" * 32, tmp_path / "y")
    assert list(tmp_path.iterdir()) == [tmp_path / "here"]


def test_a_folder_that_cannot_be_written_is_no_bad_data(served, tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(Unwritable, match=r"train-images-idx3-ubyte.gz: cannot write"):
        load_mnist(tmp_path)


# Archives


def tar(members):
    """Return a gzipped tar of (TarInfo or name, content)."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """Return a function that publishes an archive of a small CIFAR-10, with further members."""
    write_cifar(tmp_path / "server", monkeypatch)
    folder = tmp_path / "server" / CIFARS["cifar10"]
    kind = torchvision().datasets.CIFAR10
    path = tmp_path / "server" / "archive.tar.gz"

    def publish(*further, leave=()):
        files = [(f"{folder.name}/{each.name}", each.read_bytes())
                 for each in sorted(folder.iterdir()) if each.name not in leave]  # fmt: skip
        path.write_bytes(tar([*further, *files]))
        monkeypatch.setattr(kind, "url", path.as_uri())
        monkeypatch.setattr(kind, "tgz_md5", fetch.digest(path.read_bytes()))
        return path

    return publish


def load_cifar(tmp_path):
    return build(node("cifar10", root=str(tmp_path / "data"), download=True))


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


FILES = [f"{CIFARS['cifar10']}/{name}" for name in ("meta", "test_list", "train_list")]


def test_an_archive_is_unpacked_once(cifar, tmp_path, capsys):
    cifar()
    data = load_cifar(tmp_path)
    np.testing.assert_allclose(data.x[:TRAIN].numpy() * 255, PIXELS[:TRAIN], rtol=1e-6)
    assert data.y.tolist() == CLASSES.tolist()
    assert everything(tmp_path / "data") == [
        *FILES[:0],
        *sorted([*FILES, "cifar-10-python.tar.gz"]),
    ]
    assert "downloading" in capsys.readouterr().err
    load_cifar(tmp_path)
    os.truncate(tmp_path / "data" / FILES[2], 10)
    load_cifar(tmp_path)  # out of the archive again
    assert capsys.readouterr().err == ""


OUTSIDE = {
    "above": ("../../escaped", b"x"),
    "absolute": ("/tmp/escaped-by-a-test-of-archives", b"x"),
    "through itself": (f"{CIFARS['cifar10']}/../../../escaped", b"x"),
    "link": (special("link", tarfile.SYMTYPE, "/etc"), b""),
    "through a link": (special(CIFARS["cifar10"], tarfile.SYMTYPE, "../../escaped"), b""),
    "link for a file": (special(FILES[1], tarfile.SYMTYPE, "/etc/passwd"), b""),
    "hard link": (special(FILES[1], tarfile.LNKTYPE, "/etc/passwd"), b""),
    "device": (special("device", tarfile.CHRTYPE), b""),
    "pipe": (special(FILES[1], tarfile.FIFOTYPE), b""),
    "another": ("evil.py", b"x"),
}


@pytest.mark.parametrize("case", OUTSIDE)
def test_an_archive_cannot_leave_its_folder(case, cifar, tmp_path):
    """What is not asked for is not unpacked, whatever it is and wherever it points."""
    cifar(OUTSIDE[case])
    before = everything(tmp_path)
    assert len(load_cifar(tmp_path).y) == TRAIN + TEST
    new = set(everything(tmp_path)) - set(before)
    assert new == {f"data/{name}" for name in (*FILES, "cifar-10-python.tar.gz")}
    assert not os.path.exists(OUTSIDE["absolute"][0])
    assert not any(path.is_symlink() for path in (tmp_path / "data").rglob("*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_an_archive_that_lacks_a_file_is_bad_data(kind, cifar, tmp_path):
    """A link in its place is none."""
    cifar((special(FILES[1], kind, "/etc/passwd"), b""), leave=["test_list"])
    with pytest.raises(BadData, match=f"tar.gz: expected a file {FILES[1]} in the archive"):
        load_cifar(tmp_path)
    assert everything(tmp_path / "data") == ["cifar-10-python.tar.gz"]


def test_an_archive_that_is_another_is_not_unpacked(cifar, tmp_path):
    """F31: its checksum is looked at before anything of it is read."""
    path = cifar()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadData, match=r"expected a file of MD5 .*, found .* bytes of"):
        load_cifar(tmp_path)
    assert not (tmp_path / "data").exists()


ARCHIVES = {
    "bomb": (gzip.compress(bytes(100_000)), "unpacks to more than 50,000 bytes"),
    "html": (b"<html>", "expected a gzipped tar archive: Not a gzipped file"),
    "cut": (tar([(FILES[0], b"x" * 1000)])[:60], "expected a gzipped tar archive"),
    "no tar": (gzip.compress(b"x" * 2000), "expected a gzipped tar archive"),
    "empty": (gzip.compress(b""), "expected a gzipped tar archive|expected a file a in the arch"),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_an_archive_that_is_none_is_bad_data(case, tmp_path, monkeypatch):
    """F31: were its checksum even right."""
    monkeypatch.setattr(fetch, "LARGEST", 50_000)
    content, message = ARCHIVES[case]
    with pytest.raises(BadData, match=message):
        fetch.unpack(tmp_path / "archive", content, {"a": tmp_path / "a"})
    assert not (tmp_path / "a").exists()


def test_a_file_with_holes_takes_no_memory(tmp_path):
    """A few bytes of an archive may say that they are many, most of them zero."""
    member = tarfile.TarInfo("a")
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                          "GNU.sparse.name": "a", "GNU.sparse.realsize": str(1 << 40)}  # fmt: skip
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        member.size = 512
        archive.addfile(member, io.BytesIO(b"1\n0\n0\n".ljust(512, b"\0")))
    with pytest.raises(BadData, match="expected a file a in the archive"):
        fetch.unpack(tmp_path / "archive", file.getvalue(), {"a": tmp_path / "a"})
