"""Problems made by a formula: curvatures, scales and noise against numpy and the formula."""

import random
from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from runner.config import Node, build, check
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

SCHEMA = make_dataclass("Schema", [("dataset", Node)], kw_only=True)
FILES = {path.stem: OmegaConf.load(path) for path in (own_folder() / "dataset").glob("*.yaml")}
OPTIONS = sorted(name for name, each in FILES.items() if ".dataset.synthetic." in each["_target_"])

SHAPES = {  # rows, features, and the number of classes or None
    "sine_cubic": (2000, 1, None),
    "least_squares": (10_000, 500, None),
    "elongated_quadratic": (4, 2, None),
    "quadratic_1d": (2, 1, None),
    "independent_columns": (2000, 2, None),
    "correlated_columns": (2000, 2, None),
    "weather_synthetic": (2000, 2, None),
    "gaussian_probe": (16, 4096, 10),
    "shifted_minibatches": (6400, 20, 2),
}
UNDRAWN = {"elongated_quadratic", "quadratic_1d"}
WHOLE = {"sine_cubic", "least_squares", "gaussian_probe", "shifted_minibatches"} | UNDRAWN


def load(option, **changes):
    content = OmegaConf.to_container(FILES[option]) | changes
    return build(check({"dataset": content}, SCHEMA).dataset)


def rows_of(option, **changes):
    """Return x and y in double, y as a column."""
    data = load(option, **changes)
    return data.x.double().numpy(), data.y.double().reshape(len(data.y), -1).numpy()


def condition(x):
    values = np.linalg.eigvalsh(x.T @ x / len(x))
    return values[-1] / values[0]


def standardized(x):
    return (x - x.mean(0)) / x.std(0)


def test_every_option_has_a_reference():
    assert OPTIONS
    assert {*SHAPES} == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_shapes_and_types(option):
    data, (count, features, classes) = load(option), SHAPES[option]
    assert data.x.shape == (count, features)
    assert data.x.dtype == torch.float32
    assert data.outputs == (classes or 1)
    if classes:
        assert (data.task, data.y.dtype, data.y.shape) == ("classification", torch.int64, (count,))
        assert len(data.y.unique()) <= classes
    else:
        assert data.task == "regression"
        assert (data.y.dtype, data.y.shape) == (torch.float32, (count, 1))
    share = 0 if option in WHOLE else 0.2
    assert [len(data.splits[name]) for name in ("valid", "test")] == [share * count] * 2


def reseed(number):
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def generators():
    return (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


@pytest.mark.parametrize("option", OPTIONS)
def test_rows_depend_on_the_seed_alone(option):
    less = {"samples": 600, "features": 5} if option == "least_squares" else {}
    noise = {"noise": 0.5} if "noise" in FILES[option] else {}
    reseed(1)
    before = generators()
    first = load(option, seed=3, **less, **noise)
    assert generators() == before
    reseed(2)
    again, other = load(option, seed=3, **less, **noise), load(option, seed=4, **less, **noise)
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.y, again.y)
    assert first.checksum() == again.checksum()
    assert torch.equal(first.y, other.y) == (option in UNDRAWN)


@pytest.mark.parametrize("option", [name for name in OPTIONS if "noise" in FILES[name]])
def test_noise_is_gaussian_and_changes_the_targets_alone(option):
    changes = {"samples": 20_000} | ({"features": 3} if option == "least_squares" else {})
    x, clean = rows_of(option, noise=0, **changes)
    same, noisy = rows_of(option, noise=0.5, **changes)
    np.testing.assert_array_equal(same, x)
    noise = (noisy - clean)[:, 0]
    assert abs(noise.mean()) < 4 * 0.5 / np.sqrt(len(noise))
    assert noise.std() == pytest.approx(0.5, rel=0.02)
    assert (noise**4).mean() / noise.var() ** 2 == pytest.approx(3, abs=0.2)  # a Gaussian's
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.03


def test_sine_cubic_is_a_sine_from_minus_pi_to_pi():
    x, y = rows_of("sine_cubic")
    np.testing.assert_allclose(x[:, 0], np.linspace(-np.pi, np.pi, 2000), atol=1e-6)
    np.testing.assert_allclose(y, np.sin(x), atol=1e-6)


@pytest.mark.parametrize("asked", [1, 10, 1e4, 1e6])
@pytest.mark.parametrize(("samples", "features"), [(1000, 20), (301, 300), (50, 2)])
def test_least_squares_has_the_condition_asked_for_with_a_bias_and_without(
    asked, samples, features
):
    x, _ = rows_of("least_squares", samples=samples, features=features, condition=asked)
    assert condition(x) == pytest.approx(asked, rel=1e-3)
    with_bias = np.column_stack([x, np.ones(samples)])
    assert condition(with_bias) == pytest.approx(asked, rel=1e-3)
    values = np.linalg.eigvalsh(x.T @ x / samples)
    np.testing.assert_allclose(values, np.geomspace(1 / asked, 1, features), rtol=1e-3)


def test_no_scaling_of_columns_mends_the_condition():
    x, _ = rows_of("least_squares", samples=1000, features=20, condition=1e4)
    assert condition(standardized(x)) > 1e3


def test_least_squares_as_drawn_is_standard_normal():
    x, y = rows_of("least_squares")
    count, features = x.shape
    assert abs(x.mean()) < 4 / np.sqrt(x.size)
    np.testing.assert_allclose(x.std(0), 1, atol=5 / np.sqrt(2 * count))
    edges = (1 + np.sqrt(features / count)) ** 2, (1 - np.sqrt(features / count)) ** 2
    assert condition(x) == pytest.approx(edges[0] / edges[1], rel=0.05)  # Marchenko and Pastur
    weights, residual, _, _ = np.linalg.lstsq(x, y)
    assert residual[0] / (count - features) == pytest.approx(1, rel=0.06)  # the noise's variance
    assert weights.std() == pytest.approx(1, rel=0.15)


def test_least_squares_without_noise_is_solved_exactly():
    x, y = rows_of("least_squares", samples=200, features=10, condition=100, noise=0)
    weights, *_ = np.linalg.lstsq(x, y)
    np.testing.assert_allclose(x @ weights, y, atol=1e-5)


@pytest.mark.parametrize("curvatures", [[1.0, 4.0], [0.5], [3.0, 0.1, 7.0]])
def test_quadratic_is_its_formula_for_any_weights_and_a_bias_only_adds_its_square(curvatures):
    x, y = rows_of("elongated_quadratic", curvatures=curvatures)
    points = np.random.default_rng(0).normal(size=(5, len(curvatures) + 1))
    for *weights, bias in points:
        error = ((x @ weights + bias - y[:, 0]) ** 2).mean()
        assert error == pytest.approx(np.dot(curvatures, np.square(weights)) + bias**2, rel=1e-6)


@pytest.mark.parametrize(
    ("option", "curvatures"), [("elongated_quadratic", [1, 4]), ("quadratic_1d", [0.5])]
)
def test_quadratics_have_the_hessian_of_the_lectures(option, curvatures):
    x, _ = rows_of(option)
    np.testing.assert_allclose(2 * x.T @ x / len(x), 2 * np.diag(curvatures), atol=1e-6)


def steps_until_small(lr, most):
    """Descend on the elongated quadratic from (5, 2) by the gradient of its rows."""
    x, _ = rows_of("elongated_quadratic")
    weights = np.array([5.0, 2.0])
    for step in range(most):
        if (loss := ((x @ weights) ** 2).mean()) < 1e-6 or loss > 1e6:
            return step, loss
        weights -= lr * 2 * x.T @ (x @ weights) / len(x)
    return most, loss


def test_one_step_size_for_both_axes_of_the_elongated_quadratic():
    assert steps_until_small(0.2, 1000)[0] <= 20
    assert steps_until_small(0.24, 1000)[0] >= 80
    assert steps_until_small(0.25, 1000)[0] == 1000
    assert steps_until_small(0.26, 1000)[1] > 1e6


def test_standardizing_mends_independent_columns_and_not_correlated_ones():
    independent, _ = rows_of("independent_columns")
    correlated, _ = rows_of("correlated_columns")
    assert condition(independent - independent.mean(0)) > 50
    assert condition(standardized(independent)) < 1.2
    assert condition(standardized(correlated)) > 500


@pytest.mark.parametrize("scales", [[1.0, 10.0], [100.0, 0.1]])
@pytest.mark.parametrize("deviation", [None, 0.05, 0.5])
def test_unlike_columns_follow_their_formula(scales, deviation):
    changes = {"scales": scales, "deviation": deviation, "samples": 20_000, "noise": 0}
    x, y = rows_of("correlated_columns", **changes)
    z = x / scales
    np.testing.assert_allclose(y[:, 0], z.sum(1), atol=1e-5)
    assert z[:, 0].std() == pytest.approx(1, rel=0.03)
    apart = z[:, 1] - (0 if deviation is None else z[:, 0])
    assert apart.std() == pytest.approx(deviation or 1, rel=0.03)
    assert abs(np.corrcoef(apart, z[:, 0])[0, 1]) < 0.03


def test_weather_has_unlike_scales_that_count_alike():
    x, y = rows_of("weather_synthetic", samples=20_000)
    ends = np.array([[40, 0.3], [100, 0.6]])
    np.testing.assert_allclose([x.min(0), x.max(0)], ends, rtol=1e-3)
    assert (x >= ends[0] - 1e-6).all()
    assert (x <= ends[1] + 1e-6).all()
    deviations = (ends[1] - ends[0]) / np.sqrt(12)  # of a uniform distribution
    np.testing.assert_allclose(x.std(0), deviations, rtol=0.02)
    np.testing.assert_allclose(y[:, 0], ((x - ends.mean(0)) / deviations).sum(1), atol=1e-5)
    assert condition(x) > 1e5
    assert condition(standardized(x)) < 1.2


def test_gaussian_probe_is_standard_normal_and_its_classes_know_nothing_of_it():
    data = load("gaussian_probe", samples=2000, features=100, classes=4)
    x, y = data.x.double().numpy(), data.y.numpy()
    assert abs(x.mean()) < 4 / np.sqrt(x.size)
    assert x.std() == pytest.approx(1, abs=4 / np.sqrt(2 * x.size))
    counts = np.bincount(y, minlength=4)
    assert ((counts - 500) ** 2 / 500).sum() < 16.3  # chi-squared, 3 degrees, 1 in 1000
    means = np.stack([x[y == k].mean(0) * np.sqrt(counts[k]) for k in range(4)])
    assert means.std() == pytest.approx(1, rel=0.15)


def test_blocks_are_shifted_apart_and_standardizing_each_brings_the_rows_back():
    asked = {"samples": 1000, "features": 6, "block": 64}
    x, side = rows_of("shifted_minibatches", **asked)
    plain, same = rows_of("shifted_minibatches", scale=[1, 1], offset=0, **asked)
    np.testing.assert_array_equal(side, same)
    parts = [slice(at, at + 64) for at in range(0, 1000, 64)]  # the last is shorter
    factors = np.stack([x[part].std(0) / plain[part].std(0) for part in parts])
    np.testing.assert_allclose(factors, factors[:, :1].repeat(6, 1), rtol=1e-4)
    assert factors.min() >= 0.2
    assert factors.max() <= 3.0
    assert np.ptp(factors) > 1.5
    for part in parts:
        np.testing.assert_allclose(standardized(x[part]), standardized(plain[part]), atol=1e-4)
    offsets = [
        x[part].mean(0) - f * plain[part].mean(0) for part, f in zip(parts, factors, strict=True)
    ]
    assert np.std(offsets) == pytest.approx(3, rel=0.2)


def test_shifted_rows_without_shift_lie_on_the_sides_of_a_plane():
    x, side = rows_of("shifted_minibatches", scale=[1, 1], offset=0)
    assert abs(x.mean()) < 4 / np.sqrt(x.size)
    assert x.std() == pytest.approx(1, rel=0.01)
    assert side.mean() == pytest.approx(0.5, abs=0.03)
    fitted, *_ = np.linalg.lstsq(x, 2 * side - 1)
    assert ((x @ fitted > 0) == side).mean() > 0.98


@pytest.mark.parametrize(
    ("option", "changes", "message"),
    [
        (
            "least_squares",
            {"samples": 20, "features": 20, "condition": 10},
            "condition 10 needs more samples than features, got 20 and 20; "
            "use dataset.samples=40 or dataset.condition=null",
        ),
        ("least_squares", {"features": 1, "condition": 2}, "a single feature has condition 1"),
        ("least_squares", {"condition": 0.5}, "dataset.condition: expected a number in [1, "),
        ("least_squares", {"condition": "bad"}, "dataset.condition: expected a number in [1, "),
        ("least_squares", {"features": 0}, "dataset.features: expected a whole number >= 1"),
        ("elongated_quadratic", {"curvatures": []}, "curvatures: expected at least one number"),
        (
            "elongated_quadratic",
            {"curvatures": [1, -4]},
            "dataset.curvatures[1]: expected a number",
        ),
        ("correlated_columns", {"scales": [1]}, "dataset.scales: expected a list of 2"),
        (
            "correlated_columns",
            {"deviation": 0},
            "dataset.deviation: expected a number > 0 or null",
        ),
        ("correlated_columns", {"label_noise": 0.1}, "dataset.label_noise: expected 0"),
        ("gaussian_probe", {"classes": 1}, "dataset.classes: expected a whole number >= 2"),
        ("shifted_minibatches", {"scale": [3, 0.2]}, "scale: expected the smaller number first"),
        ("shifted_minibatches", {"block": 0}, "dataset.block: expected a whole number >= 1"),
        ("weather_synthetic", {"seed": 2**32}, "dataset.seed: expected a whole number in"),
    ],
)
def test_what_cannot_be_is_refused(option, changes, message):
    with pytest.raises(Misconfigured) as caught:
        load(option, **changes)
    assert message in str(caught.value)
