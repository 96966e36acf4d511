"""MNIST-1D: the signals of its package, kept in a cache, and what happens to a damaged one."""

import importlib
import random
import socket
import sys
from dataclasses import make_dataclass
from importlib import metadata

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from runner.components.dataset import signals
from runner.config import Node, build, check
from runner.foundation.errors import BadData, Misconfigured
from runner.foundation.options import own_folder

SCHEMA = make_dataclass("Schema", [("dataset", Node)], kw_only=True)
FILES = {path.stem: OmegaConf.load(path) for path in (own_folder() / "dataset").glob("*.yaml")}
OPTIONS = sorted(name for name, each in FILES.items() if ".dataset.signals." in each["_target_"])


def load(**changes):
    content = OmegaConf.to_container(FILES["mnist1d"]) | changes
    return build(check({"dataset": content}, SCHEMA).dataset)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """Return the bytes of a cache file, made once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        load()
    (path,) = folder.rglob("*.rows")
    return path.read_bytes()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Return where the cache file goes, in a folder of this test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/runner" / f"mnist1d-{metadata.version('mnist1d')}-42.rows"


@pytest.fixture
def made(monkeypatch, content):
    """Have the signals made in no time; return the list of what was made."""
    seeds = []
    rows = np.frombuffer(content[32:], "<f4").reshape(5000, 41).copy()

    def make(seed):
        seeds.append(seed)
        return rows

    monkeypatch.setattr(signals, "_make", make)
    return seeds


def keep(cache, content):
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_bytes(content)


def test_every_option_has_a_reference():
    assert OPTIONS == ["mnist1d"]


def test_signals_are_those_of_the_package(cache, content):
    package = importlib.import_module("mnist1d.data")
    made = package.make_dataset(package.get_dataset_args())
    keep(cache, content)
    data = load()
    assert data.inputs == (1, 40)
    assert data.x.dtype == torch.float32
    assert data.y.dtype == torch.int64
    assert data.task == "classification"
    assert data.labels == tuple("0123456789")
    for name, x, y in (("train", "x", "y"), ("test", "x_test", "y_test")):
        rows = data.splits[name]
        np.testing.assert_allclose(data.x[rows, 0].numpy(), made[x], rtol=1e-6)
        assert data.y[rows].tolist() == made[y].tolist()


def test_its_test_rows_are_its_own_and_nothing_is_held_out_of_the_others(cache, content):
    keep(cache, content)
    data = load()
    assert {name: len(rows) for name, rows in data.splits.items()} == {
        "train": 4000,
        "valid": 0,
        "test": 1000,
    }
    assert data.splits["test"].tolist() == list(range(4000, 5000))
    assert len(load(valid=0.1).splits["valid"]) == 400
    assert not torch.equal(load(valid=0.1).splits["valid"], load(valid=0.1, seed=1).splits["valid"])
    assert torch.equal(load(seed=1).x, data.x)  # the package's generator has a seed of its own


def generators():
    return (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


def test_making_them_leaves_the_global_generators_and_the_network_alone(monkeypatch, content):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    before = generators()
    data = load(generator_seed=7)
    assert generators() == before
    assert sorted(data.y.bincount().tolist()) == [500] * 10
    original = np.frombuffer(content[32:], "<f4").reshape(5000, 41)
    assert not np.allclose(data.x[:, 0].numpy(), original[:, :40])


def test_generators_are_put_back_after_a_failure(monkeypatch):
    def fail(arguments):
        np.random.seed(arguments.seed)
        random.seed(arguments.seed)
        raise RuntimeError("in the middle")

    monkeypatch.setattr("mnist1d.data.make_dataset", fail)
    before = generators()
    with pytest.raises(RuntimeError, match="in the middle"):
        load()
    assert generators() == before


def test_signals_are_made_once_for_each_seed_and_then_read(made, cache):
    first = load()
    assert cache.is_file()
    again = load()
    assert made == [42]
    assert torch.equal(first.x, again.x)
    assert first.checksum() == again.checksum()
    load(generator_seed=1)
    load(generator_seed=1)
    assert made == [42, 1]
    assert len(list(cache.parent.iterdir())) == 2


def test_rows_of_one_load_are_not_those_of_another(made):
    first = load()
    first.x.zero_()
    assert load().x.abs().max() > 0


DAMAGES = {
    "truncated": lambda content: content[:-9],
    "too long": lambda content: content + b"x",
    "a bit flipped": lambda content: content[:999] + bytes([content[999] ^ 4]) + content[1000:],
    "checksum flipped": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "empty": lambda content: b"",
    "html": lambda content: b"<!DOCTYPE html>",
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_made_anew(damage, made, cache, content):
    keep(cache, DAMAGES[damage](content))
    load()
    assert made == [42]
    assert cache.read_bytes() == content
    load()
    assert made == [42]


def test_where_nothing_can_be_cached_signals_are_made_each_time(made, tmp_path, monkeypatch, cache):
    cache.mkdir(parents=True)  # a folder in the file's place
    load()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    load()
    assert made == [42, 42]


def test_without_the_variable_the_cache_is_in_the_home(made, tmp_path, monkeypatch, cache):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for value in (None, ""):
        if value is None:
            monkeypatch.delenv("XDG_CACHE_HOME")
        else:
            monkeypatch.setenv("XDG_CACHE_HOME", value)
        load()
    assert (tmp_path / "home/.cache/runner" / cache.name).is_file()
    assert made == [42]


def not_installed(name):
    raise metadata.PackageNotFoundError(name)


@pytest.mark.parametrize("how", ["not installed", "its import fails"])
def test_without_its_package_the_message_says_how_to_install_it(how, monkeypatch):
    if how == "not installed":
        monkeypatch.setattr(metadata, "version", not_installed)
    else:
        monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(BadData, match=r"pip install 'runner\[data\]'") as caught:
        load()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator_seed": -1}, "dataset.generator_seed: expected a whole number in"),
        ({"generator_seed": None}, "dataset.generator_seed: expected a whole number in"),
        ({"test": 0.2}, "dataset.test: expected null, as this data set has test rows of its own"),
    ],
)
def test_what_cannot_be_is_refused(changes, message, made):
    with pytest.raises(Misconfigured) as caught:
        load(**changes)
    assert message in str(caught.value)
