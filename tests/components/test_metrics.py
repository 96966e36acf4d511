"""Metrics against scikit-learn, at every option of `conf/metrics`."""

from dataclasses import make_dataclass
from math import sqrt

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from runner.components.metrics import Metric
from runner.config import Node, build, check
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "metrics"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("metrics", dict[str, Node])], kw_only=True)
ROWS, LANES = 50, 3


def metric(option, task, outputs, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    content = {name: each | changes for name, each in content.items()}
    (node,) = check({"metrics": content}, SCHEMA).metrics.values()
    return build(node, task, outputs)


def of_classes(option, columns=10, **changes):
    return metric(option, "classification", columns, **changes)


def of_values(option, columns=1, **changes):
    return metric(option, "regression", columns, **changes)


def shares(scores):
    return np.exp(scores) / np.exp(scores).sum(1, keepdims=True)


def calibration_error(y, scores, bins=15):
    """Weigh the gaps of scikit-learn's reliability curve by how many rows are behind them."""
    confidence, right = shares(scores).max(1), scores.argmax(1) == y
    true, mean = calibration_curve(right, confidence, n_bins=bins)
    counts = np.histogram(confidence, bins, (0, 1))[0]
    return np.abs(true - mean) @ counts[counts > 0] / len(y)


def top(k):
    return lambda y, s: reference.top_k_accuracy_score(y, s, k=k, labels=range(s.shape[1]))


CLASSES = {
    "standard": {"accuracy": lambda y, s: reference.accuracy_score(y, s.argmax(1))},
    "error": {"error": lambda y, s: reference.zero_one_loss(y, s.argmax(1))},
    "top_k": {"top5": top(5)},
    "calibration": {"calibration_error": calibration_error},
    "confusion": {
        "confusion": lambda y, s: reference.confusion_matrix(
            y, s.argmax(1), labels=range(s.shape[1])
        )
    },
    "none": {},
}
VALUES = {  # the others are for classes only
    "standard": {
        "rmse": lambda y, f: sqrt(reference.mean_squared_error(y, f)),
        "mae": reference.mean_absolute_error,
        "r2": lambda y, f: reference.r2_score(y, f, multioutput="variance_weighted"),
    }
}
HIGHER = {"accuracy", "r2", "top5"}
MEASURING = [option for option in CLASSES if option != "none"]


def rows(columns, seed=0, count=ROWS):
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, columns, generator=generator, dtype=torch.float64)
    return outputs, generator


def noisy_classes(columns, seed=0, count=400):
    """Return scores that are right about every other time, and classes."""
    outputs, generator = rows(columns, seed, count)
    noise = torch.randn(count, columns, generator=generator, dtype=torch.float64)
    return outputs, (outputs + noise).argmax(1)


def measured(made, outputs, y, parts=1):
    """Measure batch by batch."""
    batches = zip(outputs.tensor_split(parts), y.tensor_split(parts), strict=True)
    totals = [made.totals(*batch) for batch in batches]
    summed = {name: sum(each[name] for each in totals) for name in totals[0]}
    return {name: value.numpy() for name, value in made.read(summed).items()}


def close(results, expected, rtol=1e-12):
    assert set(results) == set(expected)
    for name, value in expected.items():
        assert results[name].shape == np.shape(value), name
        np.testing.assert_allclose(results[name], value, rtol=rtol, err_msg=name)


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(CLASSES) == set(OPTIONS)
    assert OmegaConf.load(FOLDER / "none.yaml") == {}


@pytest.mark.parametrize("option", MEASURING)
@pytest.mark.parametrize("columns", [6, 10])
@pytest.mark.parametrize("parts", [1, 7])
def test_metrics_of_classes_are_those_of_scikit_learn(option, columns, parts):
    outputs, y = noisy_classes(columns)
    expected = {name: each(y.numpy(), outputs.numpy()) for name, each in CLASSES[option].items()}
    made = of_classes(option, columns)
    close(measured(made, outputs, y, parts), expected)
    certain = torch.nn.functional.one_hot(y, columns).float()  # as augmentations that mix see them
    close(measured(made, outputs, certain, parts), expected)


@pytest.mark.parametrize("option", MEASURING)
def test_classes_that_never_come_change_nothing(option):
    outputs, _ = rows(6, count=20)
    outputs[:, 5] = -99
    y = torch.arange(20) % 3
    expected = {name: each(y.numpy(), outputs.numpy()) for name, each in CLASSES[option].items()}
    close(measured(of_classes(option, 6), outputs, y), expected)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_k_of_top_k_is_in_its_name(k):
    outputs, y = noisy_classes(4)
    made = of_classes("top_k", 4, k=k)
    close(measured(made, outputs, y), {f"top{k}": top(k)(y.numpy(), outputs.numpy())})
    assert made.higher_is_better == {f"top{k}"}


@pytest.mark.parametrize("bins", [1, 2, 40])
def test_bins_of_calibration_are_as_many_as_asked_for(bins):
    outputs, y = noisy_classes(5)
    expected = calibration_error(y.numpy(), outputs.numpy(), bins)
    close(measured(of_classes("calibration", 5, bins=bins), outputs, y),
          {"calibration_error": expected})  # fmt: skip


def test_confidence_that_comes_true_is_no_calibration_error():
    scores = torch.tensor([[3.0, 1.0, 0.0, 0.0]]).log()  # three quarters for the first class
    outputs, y = scores.expand(8, 4), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    result = measured(of_classes("calibration", 4), outputs, y)
    assert result["calibration_error"] == pytest.approx(0, abs=1e-7)
    result = measured(of_classes("calibration", 4), outputs, 0 * y)  # too modest
    assert result["calibration_error"] == pytest.approx(0.25)


@pytest.mark.parametrize("option", VALUES)
@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("parts", [1, 7])
def test_metrics_of_values_are_those_of_scikit_learn(option, columns, scale, parts):
    outputs, generator = rows(columns)
    noise = torch.randn(ROWS, columns, generator=generator, dtype=torch.float64)
    y = scale * torch.arange(1, columns + 1) * (outputs + noise) + 5
    expected = {name: each(y.numpy(), outputs.numpy()) for name, each in VALUES[option].items()}
    close(measured(of_values(option, columns), outputs, y, parts), expected)


@pytest.mark.parametrize("option", VALUES)
@pytest.mark.parametrize("offset", [1e4, 1e6])
def test_large_offsets_and_single_precision_are_no_reason_for_a_wrong_score(option, offset):
    outputs, generator = rows(1)
    y = (offset + outputs + torch.randn(ROWS, 1, generator=generator)).float()
    outputs = (offset + outputs).float()
    given = y.double().numpy(), outputs.double().numpy()
    expected = {name: each(*given) for name, each in VALUES[option].items()}
    close(measured(of_values(option), outputs, y, parts=3), expected, rtol=1e-3)
    assert expected["r2"] < 0.9


def numbers(option, made, outputs, y):
    """Return the results that are logged."""
    results = measured(made, outputs, y)
    assert all(value.shape == () for value in results.values()) == (option != "confusion")
    return {name: float(value) for name, value in results.items() if value.shape == ()}


@pytest.mark.parametrize("option", MEASURING)
def test_what_counts_as_better_grows_or_shrinks_as_it_says(option):
    outputs, generator = rows(8)
    worse = outputs + 2 * torch.randn(ROWS, 8, generator=generator)
    sure = 100 * outputs  # right and certain of it
    visited = 0
    for build_for, y in ((of_classes, outputs.argmax(1)), (of_values, outputs)):
        if build_for is of_values and option not in VALUES:
            continue
        made = build_for(option, 8)
        assert isinstance(made, Metric)
        best = sure if build_for is of_classes else outputs
        good, poor = numbers(option, made, best, y), numbers(option, made, worse, y)
        for name in good:
            assert (good[name] > poor[name]) == (name in made.higher_is_better), name
            assert (name in made.higher_is_better) == (name in HIGHER), name
            visited += 1
    logged = len(CLASSES[option]) + len(VALUES.get(option, {})) - (option == "confusion")
    assert visited == logged


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e6 / 3])
@pytest.mark.parametrize("count", [1, 7, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_r2_of_targets_that_do_not_vary_is_not_a_number(value, count, dtype):
    y = torch.full((count, 1), value, dtype=dtype)
    for outputs in (y, y + 1):
        for parts in (1, min(count, 5)):
            results = measured(of_values("standard"), outputs, y, parts)
            assert np.isnan(results["r2"])
            assert results["mae"] == pytest.approx(float((outputs - y).abs().mean()))


def test_a_column_that_does_not_vary_leaves_r2_to_the_others():
    outputs, generator = rows(2)
    y = outputs + torch.randn(ROWS, 2, generator=generator)
    y[:, 0] = 1e6 / 3
    results = measured(of_values("standard", 2), outputs, y)
    spread = ((y[:, 1] - y[:, 1].mean()) ** 2).sum()
    assert results["r2"] == pytest.approx(float(1 - ((y - outputs) ** 2).sum() / spread))


@pytest.mark.parametrize("option", sorted(set(MEASURING) - set(VALUES)))
def test_metrics_of_classes_are_refused_for_a_regression(option):
    with pytest.raises(Misconfigured, match=rf"metrics\.{option}: '{option}' is for classes"):
        of_values(option)


def test_more_places_than_classes_are_refused_and_as_many_are_always_enough():
    outputs, y = noisy_classes(5)
    assert measured(of_classes("top_k", 5), outputs, y)["top5"] == 1
    with pytest.raises(Misconfigured, match=r"metrics\.top_k: k=5 of 4 classes; use metrics"):
        of_classes("top_k", 4)


@pytest.mark.parametrize("option", MEASURING)
def test_totals_are_exact_and_leave_what_they_are_given(option):
    outputs, y = noisy_classes(6)
    outputs = outputs.float()
    before = outputs.clone(), y.clone()
    totals = of_classes(option, 6).totals(outputs, y)
    assert torch.equal(outputs, before[0])
    assert torch.equal(y, before[1])
    assert {each.dtype for each in totals.values()} <= {torch.float64, torch.int64}


@pytest.mark.parametrize(
    ("option", "task"),
    [*((option, "classification") for option in MEASURING), ("standard", "regression")],
)
def test_lanes_are_their_solo_selves(option, task):
    pairs = [noisy_classes(6, seed) for seed in range(LANES)]
    outputs, y = (torch.stack(each) for each in zip(*pairs, strict=True))
    y = y if task == "classification" else outputs.flip(2)
    made = metric(option, task, 6)

    def results(outputs, y):
        return made.read(made.totals(outputs, y))

    together = torch.func.vmap(results)(outputs, y)
    for lane in range(LANES):
        alone = results(outputs[lane], y[lane])
        ours = {name: each[lane] for name, each in together.items()}
        torch.testing.assert_close(ours, alone, rtol=1e-10, atol=1e-12)
