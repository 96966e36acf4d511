"""Averages of weights against torch's AveragedModel and closed forms, for `conf/averaging`."""

from dataclasses import make_dataclass

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.optim.swa_utils import AveragedModel

from runner.config import Node, build, check
from runner.foundation.durations import Clock
from runner.foundation.options import own_folder

FOLDER = own_folder() / "averaging"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("averaging", Node)], kw_only=True)
CLOCK = Clock(steps_per_epoch=5, total=40)
STEPS = 40


def averaging(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return build(check({"averaging": content | changes}, SCHEMA).averaging, clock=CLOCK)


def weights(t, lane=0):
    generator = torch.Generator().manual_seed(1000 * lane + t)
    return [torch.randn(3, 2, generator=generator, dtype=torch.float64),
            torch.randn(2, generator=generator, dtype=torch.float64)]  # fmt: skip


def averaged(made, steps=STEPS):
    averages = made.init(weights(0))
    for t in range(1, steps + 1):
        if made.due(t):
            averages = made.update(averages, weights(t), t)
    return averages


def exponential(steps, decay):
    shares = [(1 - decay) * decay ** (steps - k) / (1 - decay**steps) for k in range(1, steps + 1)]
    pairs = [(share, weights(k)) for k, share in enumerate(shares, 1)]
    return [sum(share * each[at] for share, each in pairs) for at in (0, 1)]


def of_torch(times):
    """Return the equal mean by torch's own implementation."""
    module = nn.Linear(3, 2).double()
    mean = AveragedModel(module)
    for t in times:
        with torch.no_grad():
            module.weight.copy_(weights(t)[0].T)
            module.bias.copy_(weights(t)[1])
        mean.update_parameters(module)
    return [mean.module.weight.detach().T, mean.module.bias.detach()]


REFERENCES = {
    "none": lambda: None,
    "ema": lambda: exponential(STEPS, 0.999),
    "swa": lambda: of_torch([30, 35, 40]),  # from 75 % of 40 steps on, each epoch of 5
}


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize("option", [option for option in OPTIONS if option != "none"])
def test_the_mean_is_the_reference(option):
    averages = averaged(averaging(option))
    for mean, reference in zip(averages["mean"], REFERENCES[option](), strict=True):
        torch.testing.assert_close(mean, reference, rtol=1e-10, atol=1e-12)


def test_none_keeps_nothing():
    assert averaged(averaging("none")) == {}


@pytest.mark.parametrize("steps", [1, 2, 17])
def test_an_exponential_average_is_unbiased_from_the_first_step_on(steps):
    averages = averaged(averaging("ema", decay=0.9), steps)
    for mean, reference in zip(averages["mean"], exponential(steps, 0.9), strict=True):
        torch.testing.assert_close(mean, reference, rtol=1e-10, atol=1e-12)
    assert float(averages["count"][0]) == steps


def test_before_its_start_there_is_no_average():
    averages = averaged(averaging("swa"), 29)
    assert float(averages["count"][0]) == 0


@pytest.mark.parametrize("option", [option for option in OPTIONS if option != "none"])
def test_lanes_are_their_solo_selves_and_nothing_given_is_changed(option):
    made = averaging(option, **({"every": "1steps", "start": "0steps"} if option == "swa" else {}))
    lanes = [[made.init(weights(0, lane)), lane] for lane in range(3)]
    stacked = {
        name: [torch.stack(each) for each in zip(*[lane[0][name] for lane in lanes], strict=True)]
        for name in ("mean", "count")
    }
    for t in range(1, 6):
        given = [torch.stack(each) for each in zip(*[weights(t, n) for n in range(3)], strict=True)]
        kept = [each.clone() for each in given]
        stacked = torch.func.vmap(lambda a, w, t=t: made.update(a, w, t))(stacked, given)
        assert all(map(torch.equal, given, kept))
        for lane in lanes:
            lane[0] = made.update(lane[0], weights(t, lane[1]), t)
    for averages, lane in lanes:
        for name, tensors in averages.items():
            for solo, together in zip(tensors, stacked[name], strict=True):
                torch.testing.assert_close(together[lane], solo, rtol=1e-12, atol=1e-14)
