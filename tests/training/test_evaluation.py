"""Evaluation: over every row alike, with noise off, and the model left as it was."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from runner.components import loss
from runner.training import evaluation, feed
from runner.training.state import Outcome


def totals(outputs, targets):
    right = outputs.argmax(1) == targets
    confusion = F.one_hot(targets * 3 + outputs.argmax(1), 9).sum(0).reshape(3, 3)
    return {"right": right.sum(), "count": torch.tensor(len(right)), "confusion": confusion}


CROSS_ENTROPY = partial(loss.cross_entropy, eps=0.0, alpha=0.0)
METRICS = evaluation.Metrics(
    totals,
    lambda sums: {"accuracy": sums["right"] / sums["count"], "confusion": sums["confusion"]},
)
X = torch.rand(23, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(23) % 3


@pytest.fixture
def model():
    """A model in training mode whose outputs differ between the modes."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_switched_and_put_back(model, training):
    model.train(training)
    with evaluation.evaluating(model):
        assert not any(module.training for module in model.modules())
        assert torch.is_inference_mode_enabled()
    assert all(module.training is training for module in model.modules())
    assert not torch.is_inference_mode_enabled()


def test_the_mode_is_put_back_after_an_error(model):
    with pytest.raises(ZeroDivisionError), evaluation.evaluating(model):
        raise ZeroDivisionError
    assert model.training


@pytest.mark.parametrize("large", [0, 10**7])
@pytest.mark.parametrize("batch_size", [1, 7, 23, 100])
def test_every_row_weighs_the_same_in_blocks_of_any_size(model, batch_size, large, monkeypatch):
    buffers = {name: each.clone() for name, each in model.named_buffers()}
    outcomes = evaluation.predict(model, feed.in_order(X, Y, batch_size), CROSS_ENTROPY)
    monkeypatch.setattr(evaluation, "LARGE", large)
    measured, larger = evaluation.measure(outcomes, METRICS)
    with torch.no_grad():
        outputs = model.eval()(X)
    assert set(measured) == {"loss", "accuracy"}
    assert measured["loss"] == pytest.approx(F.cross_entropy(outputs, Y).item(), rel=1e-6)
    assert measured["accuracy"] == pytest.approx((outputs.argmax(1) == Y).sum().item() / 23)
    assert all(type(value) is float for value in measured.values())
    assert larger.keys() == {"confusion"}
    assert sum(map(sum, larger["confusion"])) == 23
    torch.testing.assert_close(torch.cat([each.outputs for each in outcomes]), outputs)
    assert all(torch.equal(each, buffers[name]) for name, each in model.named_buffers())


def test_evaluating_draws_nothing(model):
    before = torch.random.get_rng_state()
    first, second = (
        evaluation.predict(model, feed.in_order(X, Y, 10), CROSS_ENTROPY) for _ in range(2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.outputs, b.outputs)


def test_steps_of_a_window_weigh_by_their_samples():
    """A row of the log is the mean over the samples seen, not over the steps."""
    outcomes = [
        Outcome(torch.tensor(1.0), torch.tensor([[1.0, 0], [1, 0], [0, 1]]), torch.zeros(3).long()),
        Outcome(torch.tensor(5.0), torch.tensor([[0.0, 1]]), torch.zeros(1).long()),
    ]
    assert evaluation.measure(outcomes, METRICS)[0] == {"loss": 2.0, "accuracy": 0.5}


def test_autocast_is_measured_in_float32(model):
    outcomes = evaluation.predict(model, [(X, Y)], CROSS_ENTROPY, autocast=True)
    assert outcomes[0].outputs.dtype is torch.bfloat16
    seen = []

    def seen_totals(outputs, targets):
        seen.append(outputs.dtype)
        return {}

    evaluation.measure(outcomes, evaluation.Metrics(seen_totals, lambda sums: {}))
    assert seen == [torch.float32]
