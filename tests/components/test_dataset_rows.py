"""Which rows are kept and which labels falsified: `subset`, `balance`, `label_noise`, all sets."""

import inspect
from dataclasses import make_dataclass
from itertools import pairwise

import pytest
import torch
from omegaconf import OmegaConf

from runner.components.dataset.data import Data, split
from runner.config import Node, check, parameters_of
from runner.foundation import rng
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder
from runner.foundation.ranges import Count, Seed

SCHEMA = make_dataclass("Schema", [("dataset", Node)], kw_only=True)
SHARED = ["seed", "valid", "test", "subset", "balance", "label_noise"]
OPTIONS = {path.stem: OmegaConf.load(path) for path in (own_folder() / "dataset").glob("*.yaml")}
ROWS, LABELS = 1000, ("a", "b", "c", "d")
CLASSES = (torch.arange(ROWS) % 10).clamp(max=3)  # 1, 1, 1 and 7 of ten


@split
def four() -> Data:
    """Return classes of which the last is as frequent as seven of the others."""
    x = torch.arange(ROWS, dtype=torch.float32)[:, None]
    return Data(x, CLASSES, "classification", LABELS)


@split
def line() -> Data:
    """Return numbers to predict."""
    x = torch.arange(ROWS, dtype=torch.float32)[:, None]
    return Data(x, 2 * x, "regression", ("y",))


@split
def own_rows() -> Data:
    """Return classes with rows of their own for validation and test."""
    splits = {"train": torch.arange(800), "valid": torch.arange(800, 900),
              "test": torch.arange(900, 1000)}  # fmt: skip
    x = torch.arange(ROWS, dtype=torch.float32)[:, None]
    return Data(x, CLASSES, "classification", LABELS, splits)


@split
def made(seed: Seed, *, samples: Count) -> Data:
    """Make rows under the seed."""
    x = torch.randn(samples, 2, generator=rng.generator(seed, "rows"))
    return Data(x, (x[:, 0] > 0).long(), "classification", ("no", "yes"))


def options(**changes):
    start = {"seed": 0, "valid": 0.2, "test": 0.2}
    return start | {"subset": None, "balance": None, "label_noise": 0.0} | changes


def counts(data):
    return data.y[data.splits["train"]].bincount(minlength=len(LABELS)).tolist()


def wrong(data):
    """Return the training rows whose label is not what it was."""
    rows = data.splits["train"]
    return rows[data.y[rows] != CLASSES[rows]]


def test_every_data_set_takes_the_shared_keywords():
    assert len(OPTIONS) >= 11
    for name, node in OPTIONS.items():
        parameters = list(parameters_of(node["_target_"]))
        assert parameters[-len(SHARED) :] == SHARED, name
        assert list(node)[-len(SHARED) :] == SHARED, f"{name}: shared keywords stand last"


@pytest.mark.parametrize(("subset", "kept"), [(None, 600), (1, 600), (0.5, 300), (2, 2), (70, 70)])
@pytest.mark.parametrize("loader", [four, line])
def test_subset_is_a_number_or_a_share_of_training_rows(loader, subset, kept):
    whole, data = loader(**options()), loader(**options(subset=subset))
    assert len(data.splits["train"]) == kept
    assert set(data.splits["train"].tolist()) <= set(whole.splits["train"].tolist())
    for name in ("valid", "test"):
        assert torch.equal(data.splits[name], whole.splits[name])
    assert torch.equal(data.x, whole.x)


@pytest.mark.parametrize("balance", [None, 1.0, [1, 2, 3, 4]])
def test_a_smaller_subset_is_part_of_a_larger_one(balance):
    rows = [four(**options(subset=n, balance=balance)).splits["train"] for n in (20, 50, 100)]
    assert [len(each) for each in rows] == [20, 50, 100]
    for small, large in pairwise(rows):
        assert set(small.tolist()) < set(large.tolist())
    other = four(**options(seed=1, subset=20, balance=balance)).splits["train"]
    assert not torch.equal(other, rows[0])


@pytest.mark.parametrize("balance", [1.0, 10.0, 1000 ** (1 / 3), [1, 1, 2, 5], [3, 1, 1, 1]])
def test_balance_keeps_as_many_rows_as_the_classes_allow(balance):
    available = counts(four(**options()))
    kept = counts(four(**options(balance=balance)))
    weights = balance if isinstance(balance, list) else [balance ** -(c / 3) for c in range(4)]
    scale = min(there / weight for there, weight in zip(available, weights, strict=True))
    assert kept == [int(scale * weight + 1e-6) for weight in weights]
    assert any(there == some for there, some in zip(available, kept, strict=True))


def test_balance_and_subset_together_keep_the_shares():
    data = four(**options(balance=[1, 1, 1, 2], subset=100))
    assert all(abs(some - wanted) <= 1 for some, wanted in
               zip(counts(data), [20, 20, 20, 40], strict=True))  # fmt: skip
    assert sum(counts(data)) == 100


@pytest.mark.parametrize("share", [0.01, 0.25, 1.0])
@pytest.mark.parametrize("loader", [four, own_rows])
def test_label_noise_replaces_a_share_of_training_labels_alone(loader, share):
    held_out = {"valid": None, "test": None} if loader is own_rows else {}
    data = loader(**options(label_noise=share, **held_out))
    train = data.splits["train"]
    assert len(wrong(data)) == round(share * len(train))
    for name in ("valid", "test"):
        assert torch.equal(data.y[data.splits[name]], CLASSES[data.splits[name]])
    assert data.y.min() >= 0
    assert data.y.max() < len(LABELS)
    assert data.checksum() != loader(**options(**held_out)).checksum()


def test_wrong_labels_are_uniform_over_the_other_classes():
    data = four(**options(label_noise=1.0, valid=0.0, test=0.0))
    for number in range(len(LABELS)):
        labels = data.y[CLASSES.eq(number)].bincount(minlength=len(LABELS))
        assert labels[number] == 0
        mean = labels.sum() / 3
        others = torch.cat([labels[:number], labels[number + 1 :]])
        assert (others - mean).abs().max() < 4 * mean.sqrt()  # four standard deviations


def test_more_noise_keeps_the_wrong_labels_of_less():
    little, much = (four(**options(label_noise=share)) for share in (0.1, 0.4))
    rows = wrong(little)
    assert set(rows.tolist()) < set(wrong(much).tolist())
    assert torch.equal(little.y[rows], much.y[rows])


def test_each_choice_leaves_the_others_as_they_were():
    plain = four(**options(label_noise=0.3))
    fewer = four(**options(label_noise=0.3, subset=0.5))
    assert torch.equal(plain.splits["test"], fewer.splits["test"])
    both = set(wrong(plain).tolist()) & set(wrong(fewer).tolist())
    assert len(both) > 0.8 * len(wrong(fewer))  # the threshold is the 0.3 quantile of fewer rows
    quiet = four(**options(subset=0.5))
    assert torch.equal(quiet.splits["train"], fewer.splits["train"])


def test_loading_twice_gives_the_same_rows_and_another_seed_others():
    chosen = {"subset": 0.5, "balance": 2.0, "label_noise": 0.2}
    first, again = four(**options(**chosen)), four(**options(**chosen))
    assert first.checksum() == again.checksum()
    assert first.checksum() != four(**options(seed=1, **chosen)).checksum()
    assert torch.equal(CLASSES, (torch.arange(ROWS) % 10).clamp(max=3))  # the input is untouched


def test_global_generators_are_neither_read_nor_moved():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = four(**options(subset=0.5, balance=2.0, label_noise=0.2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again = four(**options(subset=0.5, balance=2.0, label_noise=0.2))
    assert first.checksum() == again.checksum()


def test_generated_data_is_given_the_seed():
    first, again, other = (made(**options(seed=seed), samples=50) for seed in (3, 3, 4))
    assert torch.equal(first.x, again.x)
    assert not torch.equal(first.x, other.x)
    parameters = inspect.signature(made).parameters
    assert list(parameters) == ["samples", *SHARED]
    assert {each.kind for each in parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_one_class_in_training_is_a_warning():
    data = split(lambda: Data(torch.ones(10, 1), torch.ones(10).long(), "classification", LABELS))
    assert data(**options()).warnings == ("all training rows are of one class, 'b'",)


def test_a_constant_target_is_none():
    assert line(**options()).warnings == ()


REFUSED = {
    "more than there are": ({"subset": 601}, "dataset.subset: expected 1 to 600 training rows, g"),
    "a share of nothing": ({"subset": 1e-4}, "got 0.0001, which is 0 of 600"),
    "more than balance left": ({"subset": 600, "balance": 1.0}, "dataset.balance has left no more"),
    "too few weights": ({"balance": [1.0, 2.0]}, "a number for each of the 4 classes, got 2"),
    "a class lost": ({"balance": 1e6}, "dataset.balance: class 'b' would keep none of its"),
    "noise on nothing": ({"label_noise": 1e-4}, "a share of 0.0001 of 600 training rows is none"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_choices_that_cannot_be_are_refused(case):
    changes, message = REFUSED[case]
    with pytest.raises(Misconfigured, match=message) as caught:
        four(**options(**changes))
    assert caught.value.exit_code == 2


def test_a_regression_has_no_classes_to_balance_or_to_falsify():
    with pytest.raises(Misconfigured) as caught:
        line(**options(balance=2.0, label_noise=0.1))
    assert [problem.split(",")[0] for problem in caught.value.problems] == [
        "dataset.balance: expected null",
        "dataset.label_noise: expected 0",
    ]


def test_noise_needs_a_second_class():
    one = split(lambda: Data(torch.ones(9, 1), torch.zeros(9).long(), "classification", ("a",)))
    with pytest.raises(Misconfigured, match="label_noise: expected 0, as there is 1 class"):
        one(**options(label_noise=0.5))


@pytest.mark.parametrize("name", ["valid", "test"])
def test_rows_of_its_own_and_a_share_exclude_each_other(name):
    shares = {"valid": None, "test": None}
    data = own_rows(**options(**shares))
    assert [len(rows) for rows in data.splits.values()] == [800, 100, 100]
    with pytest.raises(Misconfigured, match=f"{name}: expected null, as .* has {name} rows"):
        own_rows(**options(**shares | {name: 0.2}))
    with pytest.raises(Misconfigured, match=f"dataset.{name}: expected a share of the rows"):
        four(**options(**{name: None}))


WRONG_KINDS = {
    "subset": (0, r"expected a number in \(0, 1\] or a whole number >= 2 or null, got 0"),
    "subset ": (2.5, "subset: expected a number"),
    "balance": (0.5, "balance: expected a number >= 1 or a list, each a number > 0 or null"),
    "balance ": ([1, -1], r"balance\[1\]: expected a number > 0"),
    "label_noise": (1.5, r"label_noise: expected a number in \[0, 1\], got 1.5"),
}


@pytest.mark.parametrize("key", WRONG_KINDS)
def test_kinds_are_checked_before_anything_is_read(key):
    value, message = WRONG_KINDS[key]
    content = OmegaConf.to_container(OPTIONS["wine"]) | {key.strip(): value}
    with pytest.raises(Misconfigured, match=message):
        check({"dataset": content}, SCHEMA)
