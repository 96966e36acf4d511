"""Options: groups, keys and descriptions read from YAML files without composing."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from runner.foundation import options
from runner.foundation.errors import Misconfigured
from runner.foundation.files import read_yaml


@pytest.fixture
def folder(tmp_path):
    """A folder of options with two groups, one inside another."""
    for name, text in {
        "config.yaml": "seed: 0\n",
        "optimizer/adam.yaml": "# Divide by size.\n# More.\n_target_: a.adam\nlr: 1e-3\n",
        "optimizer/sgd.yaml": "_target_: a.sgd\nlr: 0.1\nnesterov: false\nbetas: [0.9, 0.99]\n",
        "hooks/own/norm.yaml": "# Measure.\nnorm: {_target_: a.norm, every: 5%, limit: null}\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_groups(folder):
    found = options.groups([folder])
    assert {group: list(each) for group, each in found.items()} == {
        "hooks/own": ["norm"],
        "optimizer": ["adam", "sgd"],
    }
    assert found["optimizer"]["adam"] == folder / "optimizer" / "adam.yaml"


def test_a_later_folder_adds_options_and_goes_before_earlier_ones(folder):
    found = options.groups([options.own_folder(), folder])
    assert found["optimizer"]["adam"] == folder / "optimizer" / "adam.yaml"
    assert found["optimizer"]["momentum"].parent == options.own_folder() / "optimizer"
    assert {"dataset", "hooks/own"} <= set(found)


@pytest.mark.parametrize(
    ("option", "text", "keys"),
    [
        ("optimizer/adam", "Divide by size.", {"lr": "0.001"}),
        ("optimizer/sgd", "", {"lr": "0.1", "nesterov": "false", "betas": "[0.9,0.99]"}),
        ("hooks/own/norm", "Measure.", {"norm.every": "5%", "norm.limit": "null"}),
    ],
)
def test_description_and_keys(folder, option, text, keys):
    path = folder / f"{option}.yaml"
    assert options.description(path) == text
    assert dict(options.keys(path)) == keys


def test_options_that_have_a_key():
    assert {"adam", "adamw"} <= set(options.having("optimizer", "betas"))
    assert options.having("optimizer", "nothing") == options.having("nothing", "lr") == []


@pytest.mark.parametrize("root", ["nowhere", "x" * 5000, "a\0b"])
def test_a_folder_that_is_none(root):
    with pytest.raises(Misconfigured, match="no such folder"):
        options.groups([Path(root)])


def test_only_files_are_options(folder):
    (folder / "optimizer/folder.yaml").mkdir()
    (folder / "optimizer/link.yaml").symlink_to("nowhere")
    assert list(options.groups([folder])["optimizer"]) == ["adam", "sgd"]


def test_own_options():
    own = options.own_folder()
    assert (own / "config.yaml").is_file()
    files = [path for path in own.rglob("*.yaml") if path.parent != own]
    listed = [path for each in options.groups([own]).values() for path in each.values()]
    assert sorted(listed) == sorted(files)
    assert len(files) > 30
    assert [path for path in files if not options.description(path)] == []


def test_values_as_typed_read_back_as_they_were():
    """What `list` shows can be pasted into a command, which reads the same value from it."""
    typed = OverridesParser.create().parse_override
    checked = 0
    for path in options.own_folder().rglob("*/*.yaml"):
        content = read_yaml(path)
        for key, text in options.keys(path):
            value = content
            for part in key.split("."):
                value = value[part]
            assert typed(f"key={text}").value() == value, (path, key)
            checked += 1
    assert checked > 30


def test_top_level_keys():
    keys = options.top_level_keys()
    assert {"seed", "name", "device", "threads", "output_root"} <= set(keys)
    assert "defaults" not in keys


def test_folders(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert options.folders(["~/mine", "other"]) == [
        options.own_folder(),
        Path("/home/somebody/mine"),
        Path("other"),
    ]
    with pytest.raises(Misconfigured, match="expected a folder, got ''"):
        options.folders([""])
    assert options.folders(["~nobody_here/x"])[1:] == [Path("~nobody_here/x")]
