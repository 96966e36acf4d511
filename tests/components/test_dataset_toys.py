"""Classes in the plane: each against its geometry, its shares and what a line can do with it."""

import random
from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from sklearn.datasets import make_moons
from sklearn.linear_model import LinearRegression
from sklearn.svm import SVC

from runner.config import Node, build, check
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

SCHEMA = make_dataclass("Schema", [("dataset", Node)], kw_only=True)
FILES = {path.stem: OmegaConf.load(path) for path in (own_folder() / "dataset").glob("*.yaml")}
OPTIONS = sorted(name for name, each in FILES.items() if ".dataset.toys." in each["_target_"])


def load(option, **changes):
    content = OmegaConf.to_container(FILES[option]) | changes
    return build(check({"dataset": content}, SCHEMA).dataset)


def three_discs(x):
    centres = np.array([[-1.5, -1], [1.5, -1], [0, 1.5]])
    return (np.hypot(*(x[:, None] - centres).transpose(2, 0, 1)) <= 0.8).any(1)


# How wide the square is that points are drawn from, what makes class 1, and its exact share.
SQUARES = {
    "quadrants": (1, lambda x: x[:, 0] * x[:, 1] > 0, 1 / 2),
    "annulus": (3, lambda x: np.abs(np.hypot(*x.T) - 1.5) <= 0.5, 3 * np.pi / 36),
    "three_modes": (3, three_discs, 3 * 0.64 * np.pi / 36),
}
CURVES = {"xor": {}, "moons": {}, "spirals": {"arms": 3}}  # those with noise


def test_every_option_has_a_reference():
    assert OPTIONS
    assert {*SQUARES, *CURVES, "spoiler"} == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_rows_are_points_with_a_class(option):
    data = load(option, samples=500)
    rows = 500 + (option == "spoiler")
    assert data.x.shape == (rows, 2)
    assert data.x.dtype == torch.float32
    assert data.task == "classification"
    assert data.y.dtype == torch.int64
    assert data.y.unique().tolist() == list(range(data.outputs)) == [0, 1]
    assert sum(len(rows) for rows in data.splits.values()) == rows


def reseed(number):
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def generators():
    return (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())


@pytest.mark.parametrize("option", OPTIONS)
def test_points_depend_on_the_seed_alone(option):
    reseed(1)
    before = generators()
    first = load(option, seed=3)
    assert generators() == before
    reseed(2)
    again, other = load(option, seed=3), load(option, seed=4)
    assert first.checksum() == again.checksum()
    assert not torch.equal(first.x, other.x)


@pytest.mark.parametrize("option", SQUARES)
def test_squares_are_filled_evenly_and_classes_follow_their_rule(option):
    half, rule, share = SQUARES[option]
    count = 100_000
    data = load(option, samples=count)
    x = data.x.numpy().astype(np.float64)
    assert np.abs(x).max() <= half
    assert np.abs(x.mean(0)).max() < 4 * half / np.sqrt(3 * count)
    np.testing.assert_allclose(np.cov(x.T), np.eye(2) * half**2 / 3, atol=0.02 * half**2)
    assert (data.y.numpy() == rule(x)).mean() > 1 - 1e-4  # rounding, on a border
    spread = np.sqrt(share * (1 - share) / count)
    assert data.y.float().mean().item() == pytest.approx(share, abs=4 * spread)


def best_line(x, y):
    """Return the greatest share that any line gets right, over angles and all offsets."""
    best = 0.0
    for angle in np.linspace(0, 2 * np.pi, 180, endpoint=False):  # class 1 is on one side
        order = np.argsort(x @ [np.cos(angle), np.sin(angle)])
        right = np.cumsum(np.where(y[order] == 0, 1, -1)) + y.sum()
        best = max(best, right.max() / len(y))
    return best


@pytest.mark.parametrize("option", SQUARES)
def test_no_line_does_better_than_one_corner_or_the_majority(option):
    data, share = load(option, samples=20_000), SQUARES[option][2]
    expected = 2 / 3 if option == "quadrants" else 1 - share
    assert best_line(data.x.numpy(), data.y.numpy()) == pytest.approx(expected, abs=0.015)


def test_moons_are_those_of_scikit_learn():
    for samples in (100, 101):
        data = load("moons", samples=samples, noise=0)
        x, y = make_moons(samples, shuffle=False)
        np.testing.assert_allclose(data.x.numpy(), x, atol=1e-6)
        assert data.y.tolist() == y.tolist()


def test_xor_without_noise_is_its_four_corners():
    data = load("xor", samples=400, noise=0)
    corners, counts = np.unique(data.x.numpy(), axis=0, return_counts=True)
    assert corners.tolist() == [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    assert counts.tolist() == [100] * 4
    assert (data.y.numpy() == (data.x[:, 0] * data.x[:, 1] < 0).numpy()).all()


@pytest.mark.parametrize("arms", [2, 3, 5])
@pytest.mark.parametrize("turns", [0.5, 1.5])
def test_spirals_without_noise_turn_with_their_radius(arms, turns):
    data = load("spirals", samples=1000, arms=arms, turns=turns, noise=0)
    x = data.x.numpy().astype(np.float64)
    radius = np.hypot(*x.T)
    assert radius.min() >= 0.1 - 1e-6
    assert radius.max() <= 1 + 1e-6
    angle = np.arctan2(x[:, 1], x[:, 0]) / (2 * np.pi)
    off = (angle - turns * radius) * arms - data.y.numpy()
    np.testing.assert_allclose(off, arms * np.round(off / arms), atol=1e-4)
    assert data.y.bincount().tolist() == [len(range(k, 1000, arms)) for k in range(arms)]
    assert data.labels == tuple(f"arm {k}" for k in range(arms))


@pytest.mark.parametrize("option", CURVES)
def test_noise_is_gaussian_and_moves_nothing_else(option):
    changes = {"samples": 20_000, **CURVES[option]}
    clean, noisy = load(option, noise=0, **changes), load(option, noise=0.5, **changes)
    assert torch.equal(clean.y, noisy.y)
    moved = (noisy.x - clean.x).numpy()
    np.testing.assert_allclose(moved.mean(0), 0, atol=0.015)
    np.testing.assert_allclose(np.cov(moved.T), 0.25 * np.eye(2), atol=0.01)
    assert np.abs(moved).max() < 0.5 * 6


def spoiled(kind, seed):
    data = load("spoiler", spoiler=kind, seed=seed)
    assert len(data.splits["train"]) == len(data.y)  # nothing is held out: it is there to mislead
    return data.x.numpy().astype(np.float64), data.y.numpy()


def errors_of_sigmoid(x, y, squared):
    """Descend from 0 on the squared error of a sigmoid, or on its cross-entropy; count errors."""
    rows, weights = np.column_stack([x, np.ones(len(x))]), np.zeros(3)
    for _ in range(5000):
        p = 1 / (1 + np.exp(-rows @ weights))
        slope = 2 * (p - y) * p * (1 - p) if squared else p - y
        weights -= 0.5 * rows.T @ slope / len(y)
    return int(((rows @ weights > 0) != y).sum())


def errors_of_least_squares(x, y):
    fitted = LinearRegression().fit(x, 2 * y - 1).predict(x)
    return int(((fitted > 0) != y).sum())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["none", "point", "cluster"])
def test_a_spoiler_misleads_squared_errors_where_a_line_separates(kind, seed):
    data = load("spoiler", spoiler=kind, seed=seed)
    assert len(data.splits["train"]) == len(data.y)  # the spoiler is never held out
    x, y = data.x.numpy().astype(np.float64), data.y.numpy()
    assert len(y) == 100 + {"none": 0, "point": 1, "cluster": 20}[kind]
    assert SVC(kernel="linear", C=1e6).fit(x, y).score(x, y) == 1
    assert errors_of_sigmoid(x, y, squared=False) == 0
    assert (errors_of_sigmoid(x, y, squared=True) > 0) == (kind == "point")
    assert (errors_of_least_squares(x, y) >= 5) == (kind == "cluster")
    assert kind != "point" or (x[-1].tolist(), y[-1]) == ([-4, 6], 1)


def test_clouds_are_where_they_should_be():
    data = load("spoiler", samples=10_000, spoiler="cluster")
    parts = {-1: slice(0, 10_000, 2), 1: slice(1, 10_000, 2), 12: slice(10_000, None)}
    for centre, rows in parts.items():
        x = data.x[rows].numpy()
        np.testing.assert_allclose(x.mean(0), [centre, 0], atol=0.02)
        np.testing.assert_allclose(x.std(0), 0.15, rtol=0.06)
        assert data.y[rows].unique().tolist() == [int(centre > 0)]


@pytest.mark.parametrize(
    ("option", "changes", "message"),
    [
        ("quadrants", {"samples": 0}, "dataset.samples: expected a whole number >= 1, got 0"),
        ("annulus", {"samples": 2.5}, "dataset.samples: expected a whole number >= 1, got 2.5"),
        ("xor", {"noise": -0.1}, "dataset.noise: expected a number >= 0, got -0.1"),
        ("moons", {"noise": float("nan")}, "dataset.noise: expected a number >= 0, got nan"),
        ("spirals", {"arms": 1}, "dataset.arms: expected a whole number >= 2, got 1"),
        ("spirals", {"turns": 0}, "dataset.turns: expected a number > 0, got 0"),
        ("spoiler", {"spoiler": "points"}, "did you mean 'point'?"),
        ("three_modes", {"seed": -1}, "dataset.seed: expected a whole number in"),
        ("three_modes", {"samples": 1}, "dataset.valid: a share of 0.2 of 1 rows is empty"),
        ("quadrants", {"noise": 0.1}, "dataset.noise: unknown key"),
    ],
)
def test_what_cannot_be_is_refused(option, changes, message):
    with pytest.raises(Misconfigured) as caught:
        load(option, **changes)
    assert message in str(caught.value)
