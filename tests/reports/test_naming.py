"""Short keys, values and labels of configurations."""

from __future__ import annotations

import pytest

from runner.reports import naming


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["optimizer.lr", "optimizer"], ["lr", "optimizer"]),
        (["optimizer.lr", "schedule.lr", "seed"], ["optimizer.lr", "schedule.lr", "seed"]),
        ([], []),
    ],
)
def test_short_keys_are_told_apart(keys, expected) -> None:
    assert list(naming.short(keys).values()) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 0.31622776601683794], ["0.1", "0.3162"]),
        ([0.10001, 0.10002], ["0.10001", "0.10002"]),
        ([1e-05, "auto", None, True], ["1e-05", "auto", "null", "true"]),
        ([[64, 32], [64]], ["[64,32]", "[64]"]),
    ],
)
def test_values_are_short_where_that_tells_them_apart(values, expected) -> None:
    assert naming.shown(values) == expected


def test_what_a_configuration_lacks_is_not_in_its_label() -> None:
    swept = [{"optimizer": "sgd", "optimizer.momentum": 0.9}, {"optimizer": "adam"}]
    keys = ["optimizer", "optimizer.momentum"]
    assert naming.labels(keys, swept) == ["optimizer=sgd, momentum=0.9", "optimizer=adam"]
    assert naming.columns(keys, swept)["optimizer.momentum"] == ["0.9", "-"]


def test_folders_are_all_different() -> None:
    long = "x" * 70
    swept = [{"name_": f"{long}{at}"} for at in range(3)] + [{}]
    names = naming.folders(swept)
    assert len(set(names)) == 4
    assert naming.folders([{"optimizer.lr": 0.1, "optimizer": "adam"}]) == ["lr0.1-adam"]
