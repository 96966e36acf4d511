"""Preprocessing against scikit-learn and numpy, at every option of `conf/preprocessing`."""

from dataclasses import make_dataclass
from functools import partial

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.decomposition import PCA
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler

from runner.components import preprocessing
from runner.config import Node, build, check
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "preprocessing"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("preprocessing", Node)], kw_only=True)

MEAN = partial(StandardScaler, with_std=False)
SCALERS = {  # column by column: scikit-learn's class, and whether channels of images are columns
    "none": (FunctionTransformer, False),
    "center": (MEAN, True),
    "mean_image": (MEAN, False),
    "channel_mean": (MEAN, True),
    "standardize": (StandardScaler, True),
    "channel_mean_std": (StandardScaler, True),
    "min_max": (MinMaxScaler, True),
}
FOR_CHANNELS = ["channel_mean", "channel_mean_std"]  # which tables do not have
ROTATIONS = ["pca", "pca_whiten", "zca"]


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"preprocessing": content | changes}, SCHEMA).preprocessing


def fit(option, x, y=None, **changes):
    return build(node(option, **changes), x, y)


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


def signals(rows=20, seed=0):
    return images(rows, seed).flatten(2)


def as_table(x, per_channel):
    """Return rows whose columns are what is scaled together."""
    return x.movedim(1, -1).reshape(-1, x.shape[1]) if per_channel else x.flatten(1)


def scaled(option, fitted_on, x, per_channel):
    reference = SCALERS[option][0]().fit(as_table(fitted_on, per_channel).numpy())
    result = torch.from_numpy(reference.transform(as_table(x, per_channel).numpy()))
    if per_channel:
        batch, channels, *size = x.shape
        return result.reshape(batch, *size, channels).movedim(-1, 1)
    return result.reshape(x.shape)


CASES = [
    (option, rows, rows is not table and per_channel)
    for option, (_, per_channel) in SCALERS.items()
    for rows in (table, images, signals)
    if not (option in FOR_CHANNELS and rows is table)
]


def test_every_option_has_a_reference():
    assert OPTIONS
    assert sorted([*SCALERS, *ROTATIONS]) == OPTIONS


@pytest.mark.parametrize(("option", "rows", "per_channel"), CASES)
def test_inputs_are_those_of_scikit_learn_and_invert_undoes_apply(option, rows, per_channel):
    train, other = rows(), rows(rows=9, seed=1)
    inputs = fit(option, train).inputs
    for x in (train, other, train[:0]):
        given = x.clone()
        applied = inputs.apply(x)
        if len(x):
            expected = scaled(option, train, x, per_channel)
            torch.testing.assert_close(applied, expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(inputs.invert(applied), x, rtol=1e-12, atol=1e-9)
        assert torch.equal(x, given)


@pytest.mark.parametrize("option", ["center", "standardize", "min_max"])
@pytest.mark.parametrize("per", ["auto", "feature", "channel"])
@pytest.mark.parametrize("rows", [images, signals])
def test_per_says_what_is_scaled_together(option, per, rows):
    x = rows()
    inputs = fit(option, x, per=per).inputs
    expected = scaled(option, x, x, per != "feature")
    torch.testing.assert_close(inputs.apply(x), expected, rtol=1e-9, atol=1e-9)


def test_columns_that_do_not_vary_are_centred_and_counted():
    """F25: finite numbers, the count in a warning, and the way back."""
    train, other = table(), table(rows=5, seed=3) + 2
    fitted = fit("standardize", train)
    constant = [3, 4]
    assert (fitted.inputs.apply(train)[:, constant].abs() < 1e-12).all()
    moved = fitted.inputs.apply(other)[:, constant]
    torch.testing.assert_close(moved, torch.full_like(moved, 2), rtol=0, atol=1e-12)
    (warning,) = fitted.warnings
    assert warning.startswith("2 of the inputs do not vary")
    assert fit("standardize", table()[:, :3]).warnings == ()
    back = fitted.inputs.invert(fitted.inputs.apply(other))
    torch.testing.assert_close(back, other, rtol=1e-12, atol=1e-9)
    corners = fit("standardize", images(), per="feature")
    assert corners.warnings[0].startswith("3 of the inputs do not vary")
    assert corners.inputs.apply(images()).isfinite().all()


@pytest.mark.parametrize("value", [0.1, 1 / 3, -7.3, 1e6 / 7, 1e-9])
@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("option", ["standardize", "min_max", "pca_whiten", "zca"])
def test_rounding_of_a_constant_is_no_variation(value, rows, dtype, option):
    """F25: whatever the constant is, and whatever divides by a deviation."""
    x = torch.full((rows, 1), value, dtype=dtype)
    fitted = fit(option, x)
    (warning,) = fitted.warnings
    assert "1 of " in warning
    assert "do not vary" in warning
    moved = fitted.inputs.apply(x + 1)
    torch.testing.assert_close(moved, torch.ones_like(x), rtol=0, atol=0.02)  # float32 at 1e5


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (3.0, 10.0)])
def test_min_max_reaches_both_ends_of_any_interval(low, high):
    x = table()
    fitted = fit("min_max", x, low=low, high=high)
    reference = MinMaxScaler((low, high)).fit_transform(x.numpy())
    applied = fitted.inputs.apply(x)
    np.testing.assert_allclose(applied.numpy(), reference, rtol=1e-9, atol=1e-9)
    assert applied.min().item() == pytest.approx(low)
    assert applied.max().item() == pytest.approx(high)
    assert fitted.warnings == (f"2 of the inputs do not vary; they become {low:g}",)
    torch.testing.assert_close(fitted.inputs.invert(applied), x, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize(("option", "rows", "per_channel"), CASES)
def test_single_precision_stays_single_and_close(option, rows, per_channel):
    train = rows().float()
    inputs = fit(option, train).inputs
    applied = inputs.apply(train)
    assert applied.dtype == torch.float32
    expected = scaled(option, train.double(), train.double(), per_channel)
    torch.testing.assert_close(applied.double(), expected, rtol=1e-4, atol=4e-3)
    torch.testing.assert_close(inputs.invert(applied), train, rtol=1e-6, atol=1e-5)


# Rotations ------------------------------------------------------------------------------------


def correlated(shape=(6,), rows=200, seed=0, dtype=torch.float64):
    """Return rows of full rank whose columns are correlated and far from zero."""
    size = int(np.prod(shape))
    mixing = np.random.default_rng(99).normal(size=(size, size))
    x = np.random.default_rng(seed).normal(size=(rows, size)) @ mixing + np.arange(size) * 10.0
    return torch.from_numpy(x).reshape(rows, *shape).to(dtype)


def flawed(rows=200, seed=0):
    """Return rows of rank 4 in 6 columns: one is a sum of two, one is 0.1 throughout."""
    x = correlated(rows=rows, seed=seed)
    x[:, 4] = x[:, 0] + x[:, 1]
    x[:, 5] = 0.1
    return x


def decomposed(train):
    """Return mean, U, S, V of the singular value decomposition, as numpy has it."""
    flat = train.flatten(1).numpy()
    left, values, right = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    return flat.mean(0), left, values, right.T


def covariance(z):
    return np.cov(z.flatten(1).numpy(), rowvar=False, ddof=0)


SHAPES = [(6,), (2, 3, 4), (2, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("components", [None, 3])
def test_pca_is_that_of_scikit_learn(shape, components):
    train, other = correlated(shape), correlated(shape, rows=9, seed=1)
    reference = PCA(components, svd_solver="full").fit(train.flatten(1).numpy())
    inputs = fit("pca", train, components=components).inputs
    for x in (train, other):
        given = x.clone()
        applied = inputs.apply(x)
        expected = reference.transform(x.flatten(1).numpy())
        np.testing.assert_allclose(applied.numpy(), expected, rtol=1e-8, atol=1e-8)
        back = reference.inverse_transform(expected).reshape(x.shape)  # the projection
        np.testing.assert_allclose(inputs.invert(applied).numpy(), back, rtol=1e-8, atol=1e-8)
        assert torch.equal(x, given)
    assert inputs.invert(inputs.apply(train[:0])).shape == (0, *shape)


@pytest.mark.parametrize("variance", [0.05, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("option", ["pca", "pca_whiten"])
def test_as_many_axes_stay_as_hold_the_variance(option, variance):
    train = correlated((12,))
    kept = fit(option, train, variance=variance).inputs.apply(train).shape[1]
    share = None if variance == 1 else variance
    assert kept == PCA(share, svd_solver="full").fit(train.numpy()).n_components_


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("components", [None, 3])
@pytest.mark.parametrize(("scale", "ddof"), [("unit_variance", 0), ("literal", None)])
def test_whitening_is_that_of_scikit_learn_but_for_its_scale(shape, components, scale, ddof):
    train = correlated(shape)
    rows = len(train)
    reference = PCA(components, whiten=True, svd_solver="full").fit(train.flatten(1).numpy())
    inputs = fit("pca_whiten", train, components=components, scale=scale).inputs
    ratio = (rows / (rows - 1)) ** 0.5 if ddof == 0 else (rows - 1) ** -0.5  # ddof there is 1
    for x in (train, correlated(shape, rows=9, seed=1)):
        expected = ratio * reference.transform(x.flatten(1).numpy())
        applied = inputs.apply(x)
        np.testing.assert_allclose(applied.numpy(), expected, rtol=1e-7, atol=1e-8)
        back = reference.inverse_transform(expected / ratio).reshape(x.shape)
        np.testing.assert_allclose(inputs.invert(applied).numpy(), back, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_whitened_rows_have_the_identity_for_covariance(shape):
    train = correlated(shape)
    size = int(np.prod(shape))
    for option in ("pca_whiten", "zca"):
        z = fit(option, train).inputs.apply(train)
        np.testing.assert_allclose(covariance(z), np.eye(size), rtol=0, atol=1e-8)
    columns = fit("pca_whiten", train, scale="literal").inputs.apply(train)
    np.testing.assert_allclose((columns.T @ columns).numpy(), np.eye(size), rtol=0, atol=1e-8)


def test_pca_makes_the_covariance_diagonal_and_leaves_the_condition():
    train = correlated()
    rotated = covariance(fit("pca", train).inputs.apply(train))
    assert np.abs(rotated - np.diag(np.diag(rotated))).max() < 1e-8 * np.diag(rotated).min()
    assert np.all(np.diff(np.diag(rotated)) < 0)
    np.testing.assert_allclose(
        np.linalg.cond(rotated), np.linalg.cond(covariance(train)), rtol=1e-8
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("eps", [0.0, 0.7])
def test_zca_is_symmetric_and_keeps_the_shape(shape, eps):
    train = correlated(shape)
    mean, _, values, right = decomposed(train)
    inputs = fit("zca", train, eps=eps).inputs
    matrix = right / (values / len(train) ** 0.5 + eps) @ right.T
    for x in (train, correlated(shape, rows=9, seed=1)):
        applied = inputs.apply(x)
        assert applied.shape == x.shape
        expected = (x.flatten(1).numpy() - mean) @ matrix
        np.testing.assert_allclose(applied.flatten(1).numpy(), expected, rtol=1e-7, atol=1e-8)
        torch.testing.assert_close(inputs.invert(applied), x, rtol=1e-8, atol=1e-8)
    size = len(mean)
    unit = torch.eye(size, dtype=torch.float64).reshape(size, *shape)
    found = inputs.apply(unit).flatten(1) - inputs.apply(torch.zeros_like(unit)).flatten(1)
    torch.testing.assert_close(found, found.T, rtol=0, atol=1e-10)
    assert inputs.invert(inputs.apply(train[:0])).shape == (0, *shape)


@pytest.mark.parametrize(("scale", "factor"), [("unit_variance", 1.0), ("literal", 200**0.5)])
def test_eps_is_added_to_what_whitening_divides_by(scale, factor):
    train, eps = correlated(), 0.7
    _, left, values, _ = decomposed(train)
    expected = left * values / (values / 200**0.5 * factor + eps)
    inputs = fit("pca_whiten", train, scale=scale, eps=eps).inputs
    applied = inputs.apply(train)
    np.testing.assert_allclose(applied.abs().numpy(), np.abs(expected), rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(inputs.invert(applied), train, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("option", "eps"), [("pca_whiten", 0.0), ("zca", 0.0), ("zca", 1e-3)])
def test_axes_along_which_nothing_varies_are_not_scaled(dtype, option, eps):
    train = flawed().to(dtype)
    fitted = fit(option, train, eps=eps)
    assert fitted.warnings == ("along 2 of 6 axes the inputs do not vary; they are not scaled",)
    z = fitted.inputs.apply(train)
    assert z.abs().max() < 6
    values = np.linalg.eigvalsh(covariance(z.double()))
    np.testing.assert_allclose(values, [0, 0, 1, 1, 1, 1], atol=1e-2)
    torch.testing.assert_close(fitted.inputs.invert(z), train, rtol=1e-4, atol=1e-4)
    moved = train[:1].clone()
    moved[:, 5] += 2  # along an axis of its own
    change = (fitted.inputs.apply(moved) - z[:1]).norm()
    assert change.item() == pytest.approx(2, abs=1e-3)


def test_kept_axes_that_all_vary_give_no_warning():
    assert fit("pca_whiten", flawed(), components=4).warnings == ()
    for option in ROTATIONS:
        assert fit(option, correlated()).warnings == ()


@pytest.mark.parametrize("option", ROTATIONS)
@pytest.mark.parametrize("rows", [1, 3])
def test_fewer_rows_than_columns_leave_finite_numbers(option, rows):
    train, other = correlated(rows=rows), correlated(rows=5, seed=1)
    fitted = fit(option, train)
    assert fitted.inputs.apply(other).isfinite().all()
    torch.testing.assert_close(fitted.inputs.invert(fitted.inputs.apply(other)), other)
    if option != "pca":
        (warning,) = fitted.warnings
        assert warning.startswith(f"along {6 - (rows - 1)} of 6 axes")


@pytest.mark.parametrize("option", ROTATIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_rotations_in_single_precision_are_close(option, shape):
    train = correlated(shape)
    single = fit(option, train.float()).inputs
    applied = single.apply(train.float())
    assert applied.dtype == torch.float32
    expected = fit(option, train).inputs.apply(train)
    torch.testing.assert_close(applied.double(), expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(single.invert(applied), train.float(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("option", ["pca", "standardize", "center"])
@pytest.mark.parametrize("shape", [(6,), (2, 3, 4)])
def test_blocks_of_rows_add_up_to_the_whole(option, shape, monkeypatch):
    train = correlated(shape)
    expected = fit(option, train).inputs.apply(train)
    monkeypatch.setattr(preprocessing, "ROWS", 7)
    torch.testing.assert_close(fit(option, train).inputs.apply(train), expected)


def test_rows_that_are_transformed_stay_as_they_were():
    train = images()
    before = train.clone()
    for option in OPTIONS:
        fit(option, train).inputs.apply(train)
        assert torch.equal(train, before)


# Every option ---------------------------------------------------------------------------------


@pytest.mark.parametrize("option", OPTIONS)
def test_many_lanes_are_what_each_is_alone(option):
    inputs = fit(option, images()).inputs
    lanes = torch.stack([images(rows=7, seed=seed) for seed in (1, 2, 3)])
    for half in inputs:
        stacked = torch.func.vmap(half)(lanes)
        alone = torch.stack([half(lane) for lane in lanes])
        torch.testing.assert_close(stacked, alone, rtol=1e-10, atol=1e-10)
        lanes = alone


@pytest.mark.parametrize("option", sorted(set(OPTIONS) - {"none"}))
def test_targets_of_a_regression_are_standardized(option):
    x, y = images(60), table(seed=4)[:, [0, 2]]
    targets = fit(option, x, y).targets
    expected = scaled("standardize", y, y, False)
    torch.testing.assert_close(targets.apply(y), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(targets.invert(targets.apply(y)), y, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("option", OPTIONS)
def test_targets_stay_where_there_are_classes_or_it_was_not_asked_for(option):
    fits = [fit(option, images())]
    fits += [fit(option, images(), table(20))] if option == "none" else []
    fits += [fit(option, images(), table(20), targets=False)] if option != "none" else []
    labels = torch.arange(5)
    assert len(fits) == 2
    for fitted in fits:
        assert fitted.targets.apply(labels) is fitted.targets.invert(labels) is labels


@pytest.mark.parametrize(
    ("option", "changes", "message"),
    [
        ("standardize", {"per": "channel"}, r"per=channel needs images or signals, .* \(6,\)"),
        ("center", {"per": "channel"}, r"per=channel needs images or signals, .* \(6,\)"),
        ("min_max", {"per": "channel"}, r"per=channel needs images or signals, .* \(6,\)"),
        ("channel_mean", {}, r"per=channel needs images or signals, .* \(6,\)"),
        ("channel_mean_std", {}, r"per=channel needs images or signals, .* \(6,\)"),
        ("min_max", {"low": 1.0}, "low < high is needed, got low=1 and high=1"),
        ("pca", {"components": 7}, "components=7 of 6 inputs cannot be kept"),
        ("pca_whiten", {"components": 2, "variance": 0.5}, "set one to null"),
        ("pca", {"components": 0}, r"components: expected a whole number >= 1 or null, got 0"),
        ("pca", {"variance": 1.5}, r"variance: expected a number in \(0, 1\] or null, got 1.5"),
        ("zca", {"eps": -1}, r"eps: expected a number >= 0, got -1"),
        ("pca_whiten", {"scale": "unit"}, r"scale: expected one of unit_variance, literal"),
    ],
)
def test_mistakes_are_answered(option, changes, message):
    with pytest.raises(Misconfigured, match=message):
        fit(option, table(), **changes)
