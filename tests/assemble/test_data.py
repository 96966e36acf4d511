"""From a data set to what a model is fed: fitted on training rows, augmented, in its own units."""

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.preprocessing import StandardScaler

from runner.assemble.data import prepare
from runner.assemble.settings import Settings
from runner.components.dataset.data import Data
from runner.compose import compose
from runner.config import build, check
from runner.foundation import rng
from runner.foundation.options import own_folder

CPU = torch.device("cpu")
BASE = compose([]).config


def settings(seed=0, **choices):
    """Return the default settings with an option of some groups replaced."""
    config = BASE | {"seed": seed}
    for group, option in choices.items():
        path = own_folder() / group / f"{option}.yaml"
        config[group] = OmegaConf.to_container(OmegaConf.load(path))
    return check(config, Settings)


def table(regression=False, beyond=0.0):
    """Return 30 rows, those of validation and test `beyond` what training rows are."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(30, 4, generator=generator) * torch.tensor([1.0, 10, 0.1, 5])
    x[20:] += beyond
    y, labels = torch.arange(30) % 3, ("a", "b", "c")
    if regression:
        y, labels = 40 * torch.randn(30, 2, generator=generator) + 100, ("a", "b")
        y[20:] += beyond
    splits = {
        "train": torch.arange(20),
        "valid": torch.arange(20, 26),
        "test": torch.arange(26, 30),
    }
    return Data(x, y, "regression" if regression else "classification", labels, splits)


def images():
    generator = torch.Generator().manual_seed(0)
    splits = {"train": torch.arange(2, 22), "valid": torch.tensor([0, 1]),
              "test": torch.empty(0, dtype=torch.long)}  # fmt: skip
    x = 50 + 20 * torch.rand(22, 1, 6, 5, generator=generator)
    return Data(x, torch.arange(22) % 2, "classification", ("a", "b"), splits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("regression", [False, True])
def test_splits_are_standardized_by_the_training_rows_alone(dtype, regression):
    data = table(regression, beyond=1000.0)
    prepared = prepare(data, settings(), CPU, dtype)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype is torch.float32 else {"rtol": 1e-10}
    for at, values in enumerate((data.x, data.y)[: 1 + regression]):
        reference = StandardScaler().fit(values[:20].double().numpy())
        for name, rows in data.splits.items():
            expected = reference.transform(values[rows].double().numpy())
            assert prepared.splits[name][at].dtype == dtype
            np.testing.assert_allclose(prepared.splits[name][at].numpy(), expected, **tolerance)
    if not regression:
        for name, rows in data.splits.items():
            assert torch.equal(prepared.splits[name][1], data.y[rows])
    assert prepared.augment is None
    assert prepared.raw_train is prepared.splits["train"]


@pytest.mark.parametrize("regression", [False, True])
def test_what_validation_and_test_rows_hold_changes_no_training_row(regression):
    first, other = (
        prepare(table(regression, beyond), settings(), CPU, torch.float32) for beyond in (0.0, 1e5)
    )
    for name in ("train",):
        for mine, theirs in zip(first.splits[name], other.splits[name], strict=True):
            assert torch.equal(mine, theirs)
    assert not torch.equal(first.splits["valid"][0], other.splits["valid"][0])


def test_data_are_left_as_they_were():
    data = table(regression=True)
    before = data.checksum()
    prepare(data, settings(), CPU, torch.float32)
    assert data.checksum() == before


def test_metrics_can_be_given_in_the_units_of_the_data():
    data = table(regression=True)
    prepared = prepare(data, settings(), CPU, torch.float64)
    for name, rows in data.splits.items():
        inverted = prepared.fitted.targets.invert(prepared.splits[name][1])
        torch.testing.assert_close(inverted, data.y[rows].double(), rtol=1e-10, atol=1e-10)


def test_augmentation_stands_before_preprocessing_and_never_in_evaluation():
    data, plain = images(), settings()
    augmented = prepare(data, settings(augmentation="flip_crop"), CPU, torch.float32)
    reference = prepare(data, plain, CPU, torch.float32)
    raw_x, y = augmented.raw_train
    assert torch.equal(raw_x, data.x[data.splits["train"]])  # in the data's own units
    for name in data.splits:
        for mine, theirs in zip(augmented.splits[name], reference.splits[name], strict=True):
            assert torch.equal(mine, theirs)
    (augmentation,) = [
        build(each) for each in settings(augmentation="flip_crop").augmentation.values()
    ]
    draws = augmentation.draw(len(raw_x), rng.generator(0, "augmentation", 7))
    expected = reference.fitted.inputs.apply(augmentation.apply(raw_x, y, draws)[0])
    changed, targets = augmented.augment(7, raw_x, y)
    assert torch.equal(changed, expected)
    assert torch.equal(targets, y)
    assert changed.min() < reference.splits["train"][0].min() - 1  # raw zeros stand at the border


def test_augmentation_is_a_function_of_seed_and_step():
    def augmented(seed, step):
        made = prepare(images(), settings(seed, augmentation="flip_crop"), CPU, torch.float32)
        return made.augment(step, *made.raw_train)[0]

    globally = torch.get_rng_state()
    assert torch.equal(augmented(1, 5), augmented(1, 5))
    assert not torch.equal(augmented(1, 5), augmented(1, 6))
    assert not torch.equal(augmented(1, 5), augmented(2, 5))
    assert torch.equal(torch.get_rng_state(), globally)


def test_without_preprocessing_values_are_those_of_the_data():
    data = table()
    prepared = prepare(data, settings(preprocessing="none"), CPU, torch.float32)
    for name, rows in data.splits.items():
        assert torch.equal(prepared.splits[name][0], data.x[rows])


@pytest.mark.parametrize("regression", [False, True])
@pytest.mark.parametrize("empty", ["valid", "test"])
def test_splits_may_be_empty(regression, empty):
    data = table(regression)
    data.splits[empty] = torch.empty(0, dtype=torch.long)
    prepared = prepare(data, settings(), CPU, torch.float32)
    assert [len(part) for part in prepared.splits[empty]] == [0, 0]


def test_columns_that_do_not_vary_are_warned_of():
    data = table()
    data.x[:, 2] = 0.1
    prepared = prepare(data, settings(), CPU, torch.float32)
    assert prepared.fitted.warnings
    assert (prepared.splits["train"][0][:, 2] == 0).all()
