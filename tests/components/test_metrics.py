"""Metrics against scikit-learn, at every option of `conf/metrics`."""

from dataclasses import make_dataclass
from math import sqrt

import pytest
import torch
from omegaconf import OmegaConf
from sklearn import metrics as reference

from runner.components.metrics import HIGHER_IS_BETTER
from runner.config import Node, check, maker
from runner.foundation.options import own_folder

FOLDER = own_folder() / "metrics"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("metrics", Node)], kw_only=True)


def metrics(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return maker(check({"metrics": content | changes}, SCHEMA).metrics)


CLASSES = {
    "standard": {"accuracy": lambda y, s: reference.accuracy_score(y, s.argmax(1))},
}
VALUES = {
    "standard": {
        "rmse": lambda y, f: sqrt(reference.mean_squared_error(y, f)),
        "mae": reference.mean_absolute_error,
        "r2": lambda y, f: reference.r2_score(y, f, multioutput="variance_weighted"),
    }
}


def rows(columns, seed=0):
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(50, columns, generator=generator, dtype=torch.float64)
    return outputs, generator


def numbers(measured):
    assert all(value.shape == () for value in measured.values())
    return {name: float(value) for name, value in measured.items()}


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(CLASSES) == set(VALUES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("columns", [2, 10])
def test_metrics_of_classes_are_those_of_scikit_learn(option, columns):
    outputs, generator = rows(columns)
    y = torch.randint(columns, (50,), generator=generator)
    expected = {name: each(y.numpy(), outputs.numpy()) for name, each in CLASSES[option].items()}
    assert numbers(metrics(option)(outputs, y)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_metrics_of_values_are_those_of_scikit_learn(option, columns, scale):
    outputs, generator = rows(columns)
    noise = torch.randn(50, columns, generator=generator, dtype=torch.float64)
    y = scale * torch.arange(1, columns + 1) * (outputs + noise) + 5
    expected = {name: each(y.numpy(), outputs.numpy()) for name, each in VALUES[option].items()}
    assert numbers(metrics(option)(outputs, y)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("option", OPTIONS)
def test_single_precision_is_no_reason_for_a_wrong_score(option):
    outputs, generator = rows(1)
    y = (1e4 + outputs + torch.randn(50, 1, generator=generator)).float()
    outputs = (1e4 + outputs).float()
    given = y.double().numpy(), outputs.double().numpy()
    expected = {name: each(*given) for name, each in VALUES[option].items()}
    assert numbers(metrics(option)(outputs, y)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("option", OPTIONS)
def test_what_counts_as_better_grows_or_shrinks_as_it_says(option):
    outputs, _ = rows(4)
    classes, values = outputs.argmax(1), outputs
    worse = outputs + 2 * rows(4, seed=1)[0]
    visited = 0
    for y in (classes, values):
        perfect, poor = numbers(metrics(option)(outputs, y)), numbers(metrics(option)(worse, y))
        for name in perfect:
            assert (perfect[name] > poor[name]) == (name in HIGHER_IS_BETTER), name
            visited += 1
    assert visited == len(CLASSES[option]) + len(VALUES[option])


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e6 / 3])
@pytest.mark.parametrize("count", [1, 7, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_r2_of_targets_that_do_not_vary_is_not_a_number(value, count, dtype):
    y = torch.full((count, 1), value, dtype=dtype)
    for outputs in (y, y + 1):
        measured = numbers(metrics("standard")(outputs, y))
        assert measured["r2"] != measured["r2"]
        assert measured["mae"] == pytest.approx(float((outputs - y).abs().mean()))
