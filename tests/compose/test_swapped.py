"""Options swapped in what Hydra composed: equal to Hydra's own, and left to it where unsure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.compose import Composer, composer
from runner.foundation import options

SEVERAL = ["regularizer", "hooks", "metrics", "augmentation", "clipping"]
GROUPS = options.groups([options.own_folder()])
NEVER = {"experiment", "trainer", "sweep"}  # one option is plain, or none


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, ...]]]:
    """Note what Hydra is asked to compose."""
    asked: list[tuple[str, ...]] = []
    real = composer.choose

    def noting(words, *more):
        asked.append(words)
        return real(words, *more)

    monkeypatch.setattr(composer, "choose", noting)
    return asked


@pytest.mark.parametrize("group", sorted(set(GROUPS) - NEVER))
def test_swapped_options_are_what_hydra_composes(group: str, composed) -> None:
    names = list(GROUPS[group])
    sample = names[:1] + names[-2:]
    one = Composer(several=SEVERAL)
    for name in sample:
        found, problems = one.compose([f"{group}={name}", "activation.x=1"])
        expected, _ = Composer(several=SEVERAL).compose([f"{group}={name}", "activation.x=1"])
        assert (found, problems) == (expected, [])
        assert list(found.record) == list(expected.record), "the order of sections too"
    assert len(composed) <= 2 * len(sample)


def test_hydra_is_asked_once_for_all_combinations_of_plain_options(composed) -> None:
    one = Composer()
    for activation in ("relu", "tanh", "gelu"):
        for optimizer in ("sgd", "adam"):
            found, _ = one.compose([f"activation={activation}", f"optimizer={optimizer}"])
            assert found.choices["activation"] == activation
            assert found.config["optimizer"]["_target_"].endswith(optimizer)
    assert len(composed) == 1


def test_machine_defaults_reach_a_swapped_option() -> None:
    one = Composer(machine={"dataset.root": "/data"})
    one.compose(["dataset=digits"])
    found, _ = one.compose(["dataset=mnist"])
    assert found.config["dataset"]["root"] == "/data"
    assert "root" not in one.compose(["dataset=digits"])[0].config["dataset"]


@pytest.mark.parametrize(
    ("files", "choices"),
    [
        # an experiment writes into the group
        ({}, ["experiment=diabetes", "optimizer={}"]),
        # an option with a defaults list
        ({"optimizer/mine.yaml": "defaults: [sgd, _self_]\nlr: 7\n"}, ["optimizer={}"]),
        # an option that goes elsewhere
        ({"optimizer/mine.yaml": "# @package _global_\noptimizer: {lr: 7}\n"}, ["optimizer={}"]),
        # an option that stands in two folders
        ({"optimizer/adam.yaml": "lr: 7\n"}, ["optimizer={}"]),
        # an experiment that begins with another
        (
            {
                "experiment/a.yaml": "# @package _global_\ndefaults: [b, _self_]\nseed: 1\n",
                "experiment/b.yaml": "# @package _global_\noptimizer: {lr: 9}\n",
            },
            ["experiment=a", "optimizer={}"],
        ),
        # one that another group's option writes into
        (
            {"activation/x.yaml": "# @package _global_\noptimizer: {lr: 9}\n"},
            ["activation=x", "optimizer={}"],
        ),
    ],
)
def test_what_is_not_sure_is_left_to_hydra(
    tmp_path: Path, files: dict[str, str], choices: list[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    mine = ["mine"] if "optimizer/mine.yaml" in files else []
    one = Composer([tmp_path])
    for name in ["sgd", *mine, "adam", "sgd", *mine]:
        words = [choice.format(name) for choice in choices]
        assert one.compose(words) == Composer([tmp_path]).compose(words), name
