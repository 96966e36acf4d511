"""Losses against `torch.nn` and numpy, at every option of `conf/loss`."""

from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from scipy import special
from torch import nn

from runner.config import Node, check, maker
from runner.foundation.options import own_folder

FOLDER = own_folder() / "loss"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("loss", Node)], kw_only=True)
ROWS, COLUMNS = 40, 6


def loss(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return maker(check({"loss": content | changes}, SCHEMA).loss)


def classes(generator):
    return torch.randint(COLUMNS, (ROWS,), generator=generator)


def values(generator):
    return torch.randn(ROWS, COLUMNS, generator=generator, dtype=torch.float64)


REFERENCES = {  # targets, torch's loss of (outputs, targets), the formula in numpy
    "cross_entropy": (
        classes,
        nn.CrossEntropyLoss(),
        lambda s, y: -special.log_softmax(s, 1)[np.arange(ROWS), y],
    ),
    "mse": (values, nn.MSELoss(), lambda f, y: ((f - y) ** 2).mean(1)),
}
WRONG = {
    "cross_entropy": (torch.zeros(ROWS, COLUMNS), "needs class labels"),
    "mse": (torch.zeros(ROWS), r"needs float targets of shape \(40, 6\), got \(40,\)"),
}


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(WRONG) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e3])
def test_losses_and_gradients_are_those_of_torch_and_numpy(option, scale):
    generator = torch.Generator().manual_seed(0)
    targets, by_torch, by_numpy = REFERENCES[option]
    outputs, y = (scale * values(generator)).requires_grad_(), targets(generator)
    each = loss(option)(outputs, y)
    assert each.shape == (ROWS,)
    expected = by_numpy(outputs.detach().numpy(), y.numpy())
    np.testing.assert_allclose(each.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    mean = by_torch(outputs, y)
    torch.testing.assert_close(each.mean(), mean, rtol=1e-12, atol=1e-12)
    ours, theirs = (torch.autograd.grad(total, outputs)[0] for total in (each.mean(), mean))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("option", OPTIONS)
def test_a_sample_depends_on_no_other(option):
    generator = torch.Generator().manual_seed(1)
    outputs, y = values(generator), REFERENCES[option][0](generator)
    alone = [loss(option)(outputs[row : row + 1], y[row : row + 1]) for row in range(ROWS)]
    torch.testing.assert_close(loss(option)(outputs, y), torch.cat(alone), rtol=1e-12, atol=0)


@pytest.mark.parametrize("option", OPTIONS)
def test_targets_of_the_other_task_are_refused_by_name(option):
    y, message = WRONG[option]
    with pytest.raises(ValueError, match=f"loss '{option}' {message}"):
        loss(option)(torch.zeros(ROWS, COLUMNS), y)
