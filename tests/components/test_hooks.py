"""Hooks that measure, against numpy, at every option of `conf/hooks`."""

from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from runner.config import Node, check, maker
from runner.foundation.durations import Clock
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder
from runner.training.evaluation import evaluating
from runner.training.state import State

FOLDER = own_folder() / "hooks"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("hooks", dict[str, Node])], kw_only=True)


def nodes(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    content = {name: each | changes for name, each in content.items()}
    return check({"hooks": content}, SCHEMA).hooks


def length(parameters):
    return np.sqrt(sum((each.astype(np.float64) ** 2).sum() for each in parameters))


REFERENCES = {"none": {}, "weight_norm": {"weights/norm": length}}


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_measurements_are_those_of_numpy_and_the_state_stays(option):
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    state = State(model, [], {}, {}, step=3)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    measured = {}
    with evaluating(model):
        for node in nodes(option).values():
            measured |= maker(node, clock=Clock(10, 100))(state)
    parameters = [each.detach().numpy() for each in model.parameters()]
    expected = {name: float(measure(parameters)) for name, measure in REFERENCES[option].items()}
    assert {name: float(each) for name, each in measured.items()} == pytest.approx(expected)
    assert state.step == 3
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(("every", "steps"), [("1epochs", 10), ("7steps", 7), ("5%", 5)])
def test_every_is_resolved_to_steps(every, steps):
    (node,) = nodes("weight_norm", every=every).values()
    assert maker(node, clock=Clock(10, 100)).keywords == {"every": steps}


@pytest.mark.parametrize("every", ["0steps", "often", "-1epochs", 3])
def test_every_must_be_a_duration_longer_than_nothing(every):
    with pytest.raises(Misconfigured, match=r"hooks\.weight_norm\.every: expected a duration"):
        nodes("weight_norm", every=every)
