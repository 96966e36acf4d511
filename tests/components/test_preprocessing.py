"""Preprocessing against scikit-learn's StandardScaler, at every option of `conf/preprocessing`."""

from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from runner.config import Node, build, check
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "preprocessing"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("preprocessing", Node)], kw_only=True)
REFERENCES = {"none": FunctionTransformer, "standardize": StandardScaler}


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"preprocessing": content | changes}, SCHEMA).preprocessing


def table(rows=60, seed=0):
    """Return columns of unlike scales, one of which is 0.1 throughout and one 0."""
    x = np.random.default_rng(seed).normal(size=(rows, 6))
    x = x * [1, 1e-4, 3e5, 0, 0, 7] + [0, 2, 1e6, 0.1, 0, -50]
    return torch.from_numpy(x)


def images(rows=20, seed=0):
    x = np.random.default_rng(seed).normal(size=(rows, 3, 4, 5))
    x = x * np.array([1, 20, 0.1])[:, None, None] + np.array([0, 128, -4])[:, None, None]
    x[:, :, 0, 0] = 7.5  # a corner that does not vary
    return torch.from_numpy(x)


def as_table(x, per_channel):
    """Return rows whose columns are what is standardized together."""
    return x.movedim(1, -1).reshape(-1, x.shape[1]) if per_channel else x.flatten(1)


def scaled(option, fitted_on, x, per_channel):
    reference = REFERENCES[option]().fit(as_table(fitted_on, per_channel).numpy())
    result = torch.from_numpy(reference.transform(as_table(x, per_channel).numpy()))
    if per_channel:
        batch, channels, *size = x.shape
        return result.reshape(batch, *size, channels).movedim(-1, 1)
    return result.reshape(x.shape)


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize(("rows", "per_channel"), [(table, False), (images, True)])
def test_inputs_are_those_of_scikit_learn_and_invert_undoes_apply(option, rows, per_channel):
    train, other = rows(), rows(rows=9, seed=1)
    inputs = build(node(option), train, None).inputs
    for x in (train, other):
        given = x.clone()
        applied = inputs.apply(x)
        torch.testing.assert_close(
            applied, scaled(option, train, x, per_channel), rtol=1e-9, atol=1e-9
        )
        torch.testing.assert_close(inputs.invert(applied), x, rtol=1e-12, atol=1e-9)
        assert torch.equal(x, given)


@pytest.mark.parametrize("per", ["auto", "feature", "channel"])
def test_per_says_what_is_standardized_together(per):
    x = images()
    inputs = build(node("standardize", per=per), x, None).inputs
    expected = scaled("standardize", x, x, per != "feature")
    torch.testing.assert_close(inputs.apply(x), expected, rtol=1e-9, atol=1e-9)


def test_columns_that_do_not_vary_are_centred_and_counted():
    train, other = table(), table(rows=5, seed=3) + 2
    fitted = build(node("standardize"), train, None)
    constant = [3, 4]
    assert (fitted.inputs.apply(train)[:, constant].abs() < 1e-12).all()
    moved = fitted.inputs.apply(other)[:, constant]
    torch.testing.assert_close(moved, torch.full_like(moved, 2), rtol=0, atol=1e-12)
    (warning,) = fitted.warnings
    assert warning.startswith("2 of the inputs do not vary")
    assert build(node("standardize"), table()[:, :3], None).warnings == ()
    corners = build(node("standardize", per="feature"), images(), None)
    assert corners.warnings[0].startswith("3 of the inputs do not vary")
    assert corners.inputs.apply(images()).isfinite().all()


@pytest.mark.parametrize("value", [0.1, 1 / 3, -7.3, 1e6 / 7, 1e-9])
@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_of_a_constant_is_no_variation(value, rows, dtype):
    x = torch.full((rows, 1), value, dtype=dtype)
    fitted = build(node("standardize"), x, None)
    assert fitted.warnings
    moved = fitted.inputs.apply(x + 1)
    torch.testing.assert_close(moved, torch.ones_like(x), rtol=0, atol=0.02)  # float32 at 1e5


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("rows", [table, images])
def test_single_precision_stays_single_and_close(option, rows):
    train = rows().float()
    inputs = build(node(option), train, None).inputs
    applied = inputs.apply(train)
    assert applied.dtype == torch.float32
    expected = scaled(option, train.double(), train.double(), rows is images)
    torch.testing.assert_close(applied.double(), expected, rtol=1e-4, atol=2e-3)
    torch.testing.assert_close(inputs.invert(applied), train, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("option", OPTIONS)
def test_targets_of_a_regression_are_those_of_scikit_learn(option):
    x, y = table(), table(seed=4)[:, [0, 2]]
    targets = build(node(option), x, y).targets
    torch.testing.assert_close(targets.apply(y), scaled(option, y, y, False), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(targets.invert(targets.apply(y)), y, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize(
    ("option", "y", "changes"),
    [
        ("none", None, {}),
        ("standardize", None, {}),
        ("standardize", table()[:, :1], {"targets": False}),
    ],
)
def test_targets_stay_where_there_are_classes_or_it_was_not_asked_for(option, y, changes):
    targets = build(node(option, **changes), table(), y).targets
    labels = torch.arange(5)
    assert targets.apply(labels) is targets.invert(labels) is labels


def test_tables_have_no_channels():
    with pytest.raises(Misconfigured, match=r"preprocessing: per=channel needs images, .* \(6,\)"):
        build(node("standardize", per="channel"), table(), None)
