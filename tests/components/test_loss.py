"""Losses against `torch.nn`, numpy and scipy, at every option of `conf/loss`."""

from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from scipy import special, stats
from torch import nn

from runner.components.loss import Traits
from runner.config import Node, check, maker
from runner.foundation.options import own_folder

FOLDER = own_folder() / "loss"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("loss", Node)], kw_only=True)
ROWS, COLUMNS, LANES = 40, 6, 3
BINARY = ("bce", "bce_probabilities")


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"loss": content | changes}, SCHEMA).loss


def loss(option, **changes):
    return maker(node(option, **changes))


# ---- outputs and targets ----------------------------------------------------------------------


def values(generator, columns=COLUMNS):
    return torch.randn(ROWS, columns, generator=generator, dtype=torch.float64)


def outputs_of(option, generator, scale=1.0):
    """Return what a model gives this loss: scores, of one column for two classes."""
    scores = scale * values(generator, 1 if option in BINARY else COLUMNS)
    return (scores / max(1, scale)).sigmoid() if option == "bce_probabilities" else scores


def targets_of(kind, option, generator):
    count = 2 if option in BINARY else COLUMNS
    if kind == "classes":
        return torch.randint(count, (ROWS,), generator=generator)
    rows = values(generator, count)
    if kind == "numbers":
        return rows
    rows = rows.softmax(1)
    rows[:5] = torch.eye(count, dtype=torch.float64)[0]  # some are certain
    return rows


# ---- second sources ---------------------------------------------------------------------------


def rows_of(y, count):
    """Return targets as rows (N, C), in numpy."""
    y = y.numpy()
    return y if y.dtype.kind == "f" else np.eye(count)[y]


def by_distance(s, p):
    places = np.arange(s.shape[1])
    shares = special.softmax(s, 1)
    return np.array([stats.wasserstein_distance(places, places, *each)
                     for each in zip(shares, p, strict=True)])  # fmt: skip


def by_margins(s, p):
    y = p.argmax(1)
    sums = [sum(max(0, row[j] - row[true] + 1) for j in range(len(row)) if j != true)
            for row, true in zip(s, y, strict=True)]  # fmt: skip
    return np.array(sums)


def entropy(p):
    return special.entr(p).sum(1)


FORMULAS = {  # of outputs (N, C) and rows of targets (N, C)
    "cross_entropy": lambda s, p: -(p * special.log_softmax(s, 1)).sum(1),
    "kl": lambda s, p: -(p * special.log_softmax(s, 1)).sum(1) - entropy(p),
    "wasserstein": by_distance,
    "hinge": by_margins,
    "perceptron": lambda s, p: s.max(1) - (s * p).sum(1),
    "bce": lambda s, p: np.logaddexp(0, s[:, 0]) - p[:, 1] * s[:, 0],
    "bce_probabilities": lambda q, p: (
        -special.xlogy(p[:, 1], q[:, 0]) - special.xlog1py(p[:, 0], -q[:, 0])
    ),
    "mse": lambda s, p: ((s - p) ** 2).mean(1),
    "l1": lambda s, p: np.abs(s - p).mean(1),
    "huber": lambda s, p: special.huber(1.0, s - p).mean(1),
}


def first(criterion):
    """Apply a criterion to the one column and the share of the second class."""

    def mean(outputs, y):
        return criterion(outputs[:, 0], y[:, 1] if y.is_floating_point() else y.double())

    return mean


def divergence(outputs, y):
    rows = y if y.is_floating_point() else F.one_hot(y, COLUMNS).double()
    return nn.KLDivLoss(reduction="batchmean")(outputs.log_softmax(1), rows)


BY_TORCH = {  # the mean over samples
    "cross_entropy": nn.CrossEntropyLoss(),
    "kl": divergence,
    "hinge": lambda s, y: COLUMNS * nn.MultiMarginLoss()(s, y),
    "bce": first(nn.BCEWithLogitsLoss()),
    "bce_probabilities": first(nn.BCELoss()),
    "mse": nn.MSELoss(),
    "l1": nn.L1Loss(),
    "huber": nn.HuberLoss(),
}
TARGETS = {  # the kinds it takes
    "cross_entropy": ["classes", "shares"],
    "kl": ["classes", "shares"],
    "wasserstein": ["classes", "shares"],
    "hinge": ["classes"],
    "perceptron": ["classes"],
    "bce": ["classes", "shares"],
    "bce_probabilities": ["classes", "shares"],
    "mse": ["numbers"],
    "l1": ["numbers"],
    "huber": ["numbers"],
}
CASES = [(option, kind) for option, kinds in TARGETS.items() for kind in kinds]
BOTH = ("classification", "regression")
TRAITS = {  # tasks, what the model must give
    "cross_entropy": (("classification",), "scores"),
    "kl": (("classification",), "scores"),
    "wasserstein": (("classification",), "scores"),
    "hinge": (("classification",), None),
    "perceptron": (("classification",), None),
    "bce": (("classification",), "scores"),
    "bce_probabilities": (("classification",), "probabilities"),
    "mse": (BOTH, None),
    "l1": (BOTH, None),
    "huber": (BOTH, None),
}


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(FORMULAS) == set(TARGETS) == set(TRAITS) == set(OPTIONS)
    assert set(OPTIONS) - set(BY_TORCH) == {"wasserstein", "perceptron"}  # torch has no such


@pytest.mark.parametrize(("option", "kind"), CASES)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3])
def test_losses_are_those_of_numpy_and_torch(option, kind, scale):
    generator = torch.Generator().manual_seed(0)
    outputs = outputs_of(option, generator, scale).requires_grad_()
    y = targets_of(kind, option, generator)
    each = loss(option)(outputs, y)
    assert each.shape == (ROWS,)
    rows = rows_of(y, 2 if option in BINARY else COLUMNS)
    expected = FORMULAS[option](outputs.detach().numpy(), rows)
    np.testing.assert_allclose(each.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    if option not in BY_TORCH:
        return
    mean = BY_TORCH[option](outputs, y)
    torch.testing.assert_close(each.mean(), mean, rtol=1e-12, atol=1e-12)
    ours, theirs = (torch.autograd.grad(total, outputs)[0] for total in (each.mean(), mean))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("option", "kind"), CASES)
def test_gradients_are_the_slopes_of_the_formula(option, kind):
    generator = torch.Generator().manual_seed(3)
    outputs = outputs_of(option, generator).requires_grad_()
    y = targets_of(kind, option, generator)
    (slope,) = torch.autograd.grad(loss(option)(outputs, y).sum(), outputs)
    rows = rows_of(y, 2 if option in BINARY else COLUMNS)
    given, width = outputs.detach().numpy(), 1e-6
    for column in range(given.shape[1]):
        step = np.zeros_like(given)
        step[:, column] = width
        up, down = (FORMULAS[option](at, rows) for at in (given + step, given - step))
        np.testing.assert_allclose(slope[:, column], (up - down) / (2 * width), atol=1e-7)


@pytest.mark.parametrize(("option", "kind"), CASES)
def test_a_sample_depends_on_no_other(option, kind):
    generator = torch.Generator().manual_seed(1)
    outputs = outputs_of(option, generator)
    y = targets_of(kind, option, generator)
    measured = loss(option)
    alone = [measured(outputs[row : row + 1], y[row : row + 1]) for row in range(ROWS)]
    torch.testing.assert_close(measured(outputs, y), torch.cat(alone), rtol=1e-12, atol=1e-15)


NUMBERS = {  # what lanes may have of their own
    "cross_entropy": [{}, {"eps": [0.0, 0.01, 0.15]}, {"alpha": [0.0, 0.1, 1.0]}],
    "hinge": [{}, {"margin": [0.1, 1.0, 5.0]}],
    "huber": [{}, {"delta": [0.1, 1.0, 5.0]}],
}
LANED = [
    *[(*case, {}, numbers) for case in CASES for numbers in NUMBERS.get(case[0], [{}])],
    *[(option, "classes", {"one_hot": True}, {}) for option in ("mse", "l1", "huber")],
]


@pytest.mark.parametrize(("option", "kind", "changes", "numbers"), LANED)
def test_lanes_are_their_solo_selves(option, kind, changes, numbers):
    generator = torch.Generator().manual_seed(2)
    outputs = torch.stack([outputs_of(option, generator) for _ in range(LANES)])
    y = torch.stack([targets_of(kind, option, generator) for _ in range(LANES)])

    def total(outputs, y, own):
        return loss(option, **changes)(outputs, y, **own).sum()

    both = torch.func.grad_and_value(total)
    lanes = {name: torch.tensor(each, dtype=torch.float64) for name, each in numbers.items()}
    together = torch.func.vmap(both)(outputs, y, lanes)
    for lane in range(LANES):
        own = {name: each[lane] for name, each in numbers.items()}
        alone = both(outputs[lane], y[lane], own)
        ours = tuple(part[lane] for part in together)
        torch.testing.assert_close(ours, alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("option", OPTIONS)
def test_traits_say_what_a_loss_needs(option):
    traits = node(option).factory.traits
    assert isinstance(traits, Traits)
    assert (traits.tasks, traits.wants) == TRAITS[option]
    assert traits.columns(2) == (1 if option in BINARY else 2)
    if option not in BINARY:
        assert traits.columns(10) == 10
        return
    for classes in (1, 3, 10):
        with pytest.raises(ValueError, match=f"2 classes, the data has {classes}; use loss=cross"):
            traits.columns(classes)


def test_a_loss_without_traits_suits_everything():
    assert Traits() == (BOTH, None, Traits().columns)
    assert Traits().columns(7) == 7


# ---- classes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_eps_is_what_each_wrong_class_gets_and_alpha_what_torch_calls_smoothing(classes):
    generator = torch.Generator().manual_seed(4)
    outputs = values(generator, classes)
    y = torch.randint(classes, (ROWS,), generator=generator)
    eps = 0.1 / classes
    rows = np.full((ROWS, classes), eps)
    rows[np.arange(ROWS), y] = 1 - (classes - 1) * eps
    expected = FORMULAS["cross_entropy"](outputs.numpy(), rows)
    for smoothing in ({"eps": eps}, {"alpha": 0.1}):
        each = loss("cross_entropy", **smoothing)(outputs, y)
        np.testing.assert_allclose(each.numpy(), expected, rtol=1e-12)
    torch.testing.assert_close(
        each.mean(), nn.CrossEntropyLoss(label_smoothing=0.1)(outputs, y), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize(
    ("smoothing", "message"),
    [
        ({"eps": 0.01, "alpha": 0.1}, r"eps=0\.01 and alpha=0\.1 both .*loss\.alpha=null"),
        ({"eps": 0.2}, r"less than each other of 6; use loss\.eps <= 0\.166667, or loss\.alpha="),
    ],
)
def test_smoothing_that_makes_no_sense_is_refused(smoothing, message):
    with pytest.raises(ValueError, match=f"loss 'cross_entropy': .*{message}"):
        loss("cross_entropy", **smoothing)(torch.zeros(2, 6), torch.tensor([0, 5]))


@pytest.mark.parametrize("margin", [0.5, 3.0])
def test_margin_of_hinge_is_what_was_asked_for(margin):
    generator = torch.Generator().manual_seed(5)
    outputs, y = values(generator), targets_of("classes", "hinge", generator)
    expected = COLUMNS * nn.MultiMarginLoss(margin=margin)(outputs, y)
    torch.testing.assert_close(loss("hinge", margin=margin)(outputs, y).mean(), expected)


def test_an_answer_beyond_the_margin_costs_nothing():
    outputs = torch.tensor([[3.0, 1.0, 1.9], [0.0, 2.0, 0.5]], dtype=torch.float64)
    assert loss("hinge")(outputs, torch.tensor([0, 1])).tolist() == [0, 0]


@pytest.mark.parametrize("classes", [2, 4])
def test_perceptron_by_single_samples_at_rate_1_is_the_perceptron_rule(classes):
    generator = torch.Generator().manual_seed(classes)
    x = torch.randn(60, 5, generator=generator, dtype=torch.float64)
    y = torch.randint(classes, (60,), generator=generator)
    model = nn.Linear(5, classes, bias=False).double()
    nn.init.zeros_(model.weight)
    descent = torch.optim.SGD(model.parameters(), lr=1.0)
    weights, mistakes, measured = np.zeros((classes, 5)), 0, loss("perceptron")
    for sample, true in zip(x, y, strict=True):
        descent.zero_grad()
        measured(model(sample[None]), true[None]).mean().backward()
        descent.step()
        answer = (weights @ sample.numpy()).argmax()
        if answer != true:
            weights[true] += sample.numpy()
            weights[answer] -= sample.numpy()
            mistakes += 1
        np.testing.assert_array_equal(model.weight.detach().numpy(), weights)
    assert 10 < mistakes < 60


def test_wasserstein_grows_with_the_distance_between_classes():
    certain = 1e3 * torch.eye(COLUMNS, dtype=torch.float64)
    cost = loss("wasserstein")(certain, torch.zeros(COLUMNS, dtype=torch.int64))
    assert cost.tolist() == pytest.approx(range(COLUMNS))


def test_bce_is_the_cross_entropy_of_the_scores_0_and_z():
    generator = torch.Generator().manual_seed(6)
    z, y = values(generator, 1), targets_of("classes", "bce", generator)
    both = loss("cross_entropy")(torch.cat([torch.zeros_like(z), z], 1), y)
    torch.testing.assert_close(loss("bce")(z, y), both, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loss("bce_probabilities")(z.sigmoid(), y), both)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probabilities_of_0_and_1_cost_a_finite_amount(dtype):
    p = torch.tensor([[0.0], [1.0], [0.0], [1.0]], dtype=dtype, requires_grad=True)
    each = loss("bce_probabilities")(p, torch.tensor([0, 1, 1, 0]))
    assert each.isfinite().all()
    assert each[:2].max() < 1e-6
    assert each[2:].min() > 15
    assert torch.autograd.grad(each.sum(), p)[0].isfinite().all()


# ---- numbers, and the other task's targets ----------------------------------------------------

REGRESSIONS = [option for option, kinds in TARGETS.items() if kinds == ["numbers"]]


@pytest.mark.parametrize("option", REGRESSIONS)
def test_one_hot_classes_are_numbers_to_come_near_to(option):
    generator = torch.Generator().manual_seed(7)
    outputs, y = values(generator), targets_of("classes", option, generator)
    rows = F.one_hot(y, COLUMNS).double()
    expected = FORMULAS[option](outputs.numpy(), rows.numpy())
    for targets in (y, rows):  # rows come from augmentations that mix
        each = loss(option, one_hot=True)(outputs, targets)
        np.testing.assert_allclose(each.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("delta", [0.05, 20.0])
def test_delta_of_huber_is_where_the_square_ends(delta):
    generator = torch.Generator().manual_seed(8)
    f, y = values(generator), values(generator)
    expected = nn.HuberLoss(delta=delta)(f, y)
    torch.testing.assert_close(loss("huber", delta=delta)(f, y).mean(), expected)


LABELS, FLAT = torch.zeros(ROWS, dtype=torch.int64), torch.zeros(ROWS)
NUMERIC = r"needs float targets of shape \(N, 6\), got class labels; use loss\.one_hot=true or loss"
WRONG = {
    "mse": [(LABELS, NUMERIC), (FLAT, r"needs targets of shape \(40, 6\), got \(40,\)")],
    "l1": [(LABELS, NUMERIC), (FLAT, r"needs targets of shape \(40, 6\), got \(40,\)")],
    "huber": [(LABELS, NUMERIC), (FLAT, r"needs targets of shape \(40, 6\), got \(40,\)")],
    "cross_entropy": [(FLAT, r"needs targets of shape \(40, 6\), got \(40,\)")],
    "kl": [(FLAT, r"needs targets of shape \(40, 6\), got \(40,\)")],
    "wasserstein": [(FLAT, r"needs targets of shape \(40, 6\), got \(40,\)")],
    "hinge": [(torch.zeros(ROWS, COLUMNS), "needs class labels.* use loss=cross_entropy")],
    "perceptron": [(torch.zeros(ROWS, COLUMNS), "needs class labels.* use loss=cross_entropy")],
}


@pytest.mark.parametrize(("option", "at"), [(name, at) for name in WRONG
                                            for at in range(len(WRONG[name]))])  # fmt: skip
def test_targets_that_do_not_fit_are_refused_by_name(option, at):
    y, message = WRONG[option][at]
    with pytest.raises(ValueError, match=f"loss '{option}' {message}"):
        loss(option)(torch.zeros(ROWS, COLUMNS), y)


@pytest.mark.parametrize("option", OPTIONS)
def test_half_precision_outputs_give_about_the_loss_of_whole_ones(option):
    generator = torch.Generator().manual_seed(9)
    outputs = outputs_of(option, generator).bfloat16()
    y = targets_of(TARGETS[option][0], option, generator)
    y = y.float() if y.is_floating_point() else y
    with torch.autocast("cpu", torch.bfloat16):
        each = loss(option)(outputs, y)
    expected = loss(option)(outputs.float(), y)
    torch.testing.assert_close(each.float().mean(), expected.mean(), rtol=0.02, atol=1e-3)
