"""Option files of the user's own: every fault with its file and line, before Hydra sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner import compose
from runner.compose.written import Written
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

SOUND = "_target_: runner.components.optimizer.sgd\nlr: 1\n"


def write(folder: Path, **files: str) -> Path:
    """Write `group__option` files."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def problems(folder: Path, *words: str) -> list[str]:
    with pytest.raises(Misconfigured) as caught:
        compose.compose(words, folders=[folder], several=["regularizer"])
    return [each.replace(f"{folder}/", "") for each in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr: 1\nlr: 2\n", ["optimizer/mine.yaml:2: duplicate key 'lr' (first at line 1)"]),
        ("a:\n\tb: 1\n", ["optimizer/mine.yaml:2: a tab; YAML indents with spaces"]),
        ("", ["optimizer/mine.yaml: the file says nothing; for no keys at all write {}"]),
        ("# Mine.\n", ["optimizer/mine.yaml: the file says nothing"]),
        ("lr: 012\nt: !x 1\n", ["optimizer/mine.yaml:1: YAML reads 012", "optimizer/mine.yaml:2:"]),
        ("lr: ${\n", ["optimizer/mine.yaml: lr: cannot read '${': an interpolation is ${key}"]),
        ("lr: [1, '${now:x}']\n", ["optimizer/mine.yaml: lr[1]: unknown interpolation ${now:...}"]),
        ("hydra: {verbose: true}\n", ["optimizer/mine.yaml: hydra: the runner composes by itself"]),
        ("defaults: 3\n", ["optimizer/mine.yaml: defaults: expected a list, got 3"]),
        ("defaults: [{a: b, c: d}]\n", ["defaults: expected an option, or a group and its option"]),
        ("defaults: [nope]\n", ["optimizer/mine.yaml: defaults: no option 'nope' of optimizer"]),
        ("defaults: [adm, sdg]\n", ["did you mean 'adam'?", "did you mean 'sgd'?"]),
        ("defaults: [/activation: rellu]\n", ["no option 'rellu' of activation; did you mean"]),
        ("defaults: [override /optimzer: x]\n", ["no group 'optimzer'; did you mean 'optimizer'?"]),
        ("defaults: [override hydra/launcher: x]\n", ["no group 'optimizer/hydra/launcher'"]),
        ("defaults: [override /hydra/launcher: x]\n", ["hydra has no keys here"]),
        ("defaults: [mine]\n", ["defaults: a circle: optimizer/mine -> optimizer/mine"]),
        ("defaults: [/loss: mse, /loss: l1]\n", ["optimizer/mine.yaml: defaults: '/loss' twice"]),
    ],
)
def test_faults(tmp_path: Path, text: str, expected: list[str]) -> None:
    """B50: a fault of an option's file is named with its path, all of them at once."""
    found = problems(write(tmp_path, optimizer__mine=text), "optimizer=mine")
    assert len(found) == len(expected), found
    for line, part in zip(found, expected, strict=True):
        assert part in line


def test_files_that_others_begin_with_are_looked_at_too(tmp_path: Path) -> None:
    """B50: whichever way a file comes in."""
    write(tmp_path, optimizer__base="lr: 012\n", optimizer__mine="defaults: [base, _self_]\n")
    head = "# @package _global_\n# Mine.\n"
    write(tmp_path, experiment__a=f"{head}defaults: [override /optimizer: mine]\n")
    write(tmp_path, experiment__b=f"{head}defaults: [a, _self_]\n")
    assert problems(tmp_path, "experiment=b")[0].startswith("optimizer/base.yaml:1: YAML reads 012")
    write(tmp_path, regularizer__x="x: [1\n", regularizer__y="- 1\n")
    found = problems(tmp_path, "regularizer=[x,y]", "optimizer=mine", "lr=")
    assert [each.partition(":")[0] for each in found] == [
        "lr", "regularizer/x.yaml", "regularizer/y.yaml", "optimizer/base.yaml"]  # fmt: skip


def test_files_that_nobody_asked_for_may_have_faults(tmp_path: Path) -> None:
    write(tmp_path, optimizer__broken="a: [\n", optimizer__mine=SOUND)
    (tmp_path / "optimizer/folder.yaml").mkdir()
    (tmp_path / "optimizer/link.yaml").symlink_to("nowhere")
    composition = compose.compose(["optimizer=mine"], folders=[tmp_path])
    assert composition.config["optimizer"]["lr"] == 1
    assert list(Written([tmp_path]).groups["optimizer"])[-2:] == ["broken", "mine"]


def test_an_option_of_a_name_that_is_taken(tmp_path: Path) -> None:
    """B50: Hydra takes the runner's own without a word."""
    write(tmp_path, optimizer__adam=SOUND, optimizer__momentum=SOUND)
    own = own_folder() / "optimizer"
    assert problems(tmp_path, "optimizer=adam") == [
        f"optimizer=adam: stands twice, in {own}/adam.yaml and optimizer/adam.yaml; rename one"
    ]
    assert problems(tmp_path, "seed=1")[0].startswith("optimizer=momentum: stands twice")
    assert compose.compose(["optimizer=sgd"], folders=[tmp_path, tmp_path / "../" / tmp_path.name])


def test_an_experiment_without_its_first_line(tmp_path: Path) -> None:
    write(tmp_path, experiment__mine="optimizer: {lr: 1}\n")
    assert problems(tmp_path, "experiment=mine") == [
        "experiment/mine.yaml:1: an experiment begins with the line # @package _global_"
    ]


def test_what_hydra_says_is_one_line(tmp_path: Path) -> None:
    head = "# @package _global_\n# Mine.\n"
    write(tmp_path, experiment__mine=f"{head}defaults: [/optimizer: adam]\n")
    (line,) = problems(tmp_path, "experiment=mine")
    assert line.startswith("Multiple values for optimizer")
    assert "\n" not in line
