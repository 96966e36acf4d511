"""What is measured: classes by logits whatever the model gives, blends by probabilities."""

import torch

from runner.assemble.measures import blending, measures
from runner.assemble.settings import Settings
from runner.components.dataset.data import Data
from runner.components.preprocessing import IDENTITY, Fitted
from runner.compose import compose
from runner.config import build, check

GIVEN = check(compose(["metrics=[standard,confusion]"], several=("metrics",)).config, Settings)
FITTED = Fitted(IDENTITY, IDENTITY)


def data(task, labels):
    return Data(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64), task, labels)


def measured(outputs, targets, labels):
    chosen, higher = measures(GIVEN, data("classification", labels), build(GIVEN.output), FITTED)
    assert higher == {"accuracy"}
    return chosen.read(chosen.totals(outputs, targets))


def test_one_column_is_the_log_odds_of_the_second_of_two_classes():
    outputs, targets = torch.tensor([[2.0], [-1.0], [0.5]]), torch.tensor([1, 0, 0])
    result = measured(outputs, targets, ("no", "yes"))
    assert float(result["accuracy"]) == 2 / 3
    assert result["confusion"].tolist() == [[1, 1], [0, 1]]


def test_one_column_of_a_single_class_is_that_class():
    outputs = torch.tensor([[-2.0], [3.0], [0.0]])
    assert float(measured(outputs, torch.zeros(3).long(), ("only",))["accuracy"]) == 1


def test_logits_are_blended_as_probabilities_and_numbers_as_numbers():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(4, 3, 5, generator=generator, dtype=torch.float64)
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    output = build(GIVEN.output)
    of_classes = blending(data("classification", tuple("abcde")), output)(outputs, weights)
    expected = (outputs.softmax(2) * weights[:, None, None]).sum(0)
    torch.testing.assert_close(of_classes.softmax(1), expected)
    of_numbers = blending(data("regression", tuple("abcde")), output)(outputs, weights)
    torch.testing.assert_close(of_numbers, (outputs * weights[:, None, None]).sum(0))
    odds = outputs[..., :1]
    of_two = blending(data("classification", ("no", "yes")), output)(odds, weights)
    torch.testing.assert_close(of_two.sigmoid(), (odds.sigmoid() * weights[:, None, None]).sum(0))
