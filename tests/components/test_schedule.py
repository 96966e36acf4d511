"""Schedules against `torch.optim.lr_scheduler` and closed forms, for `conf/schedule`."""

from dataclasses import make_dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch.optim import SGD, lr_scheduler

from runner.config import Node, build, check
from runner.foundation.durations import Clock
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "schedule"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("schedule", Node)], kw_only=True)
CLOCK = Clock(steps_per_epoch=7, total=150)


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"schedule": content | changes}, SCHEMA).schedule


def factors(option, clock=CLOCK, **changes):
    """Return the factor at every step, the metric of an evaluation coming in at times."""
    schedule = build(node(option, **changes), clock.total, clock=clock)
    state, found = schedule.init(), []
    for step in range(clock.total):
        found.append(schedule.at(step, state))
        if step % 10 == 9:
            state = schedule.observe(state, 1 / step)
    return found


def by_torch(scheduler, *arguments, total=CLOCK.total, **options):
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference, found = scheduler(optimizer, *arguments, **options), []
    for _ in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()
    return found


REFERENCES = {
    "constant": lambda: by_torch(lr_scheduler.ConstantLR, factor=1.0),
    "step": lambda: by_torch(lr_scheduler.StepLR, 10 * 7, 0.1),
    "cosine": lambda: by_torch(lr_scheduler.CosineAnnealingLR, 150),
}


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_factors_are_those_of_torch_at_every_step(option):
    found = factors(option)
    assert len(found) == CLOCK.total
    assert found == pytest.approx(REFERENCES[option](), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("total", [1, 2])
def test_runs_of_a_step_or_two_start_with_the_whole_learning_rate(option, total):
    assert factors(option, Clock(1, total))[0] == 1.0


@pytest.mark.parametrize(
    ("every", "steps"), [("1steps", 1), ("40steps", 40), ("3epochs", 21), ("10%", 15)]
)
@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_staircase_has_the_stairs_asked_for(every, steps, factor):
    expected = by_torch(lr_scheduler.StepLR, steps, factor)
    assert factors("step", every=every, factor=factor) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("floor", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("warmup", "steps"), [("0steps", 0), ("1steps", 1), ("20%", 30)])
def test_cosine_rises_then_falls_to_its_floor(floor, warmup, steps):
    found = factors("cosine", warmup=warmup, floor=floor)
    rise, fall = found[:steps], found[steps:]
    # from the first 1 / warmup up in equal parts, then torch's half cosine over what is left
    assert rise == pytest.approx(np.linspace(1 / max(steps, 1), 1, steps), rel=1e-12)
    left = CLOCK.total - steps
    expected = by_torch(lr_scheduler.CosineAnnealingLR, left, floor, total=left)
    assert fall == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert fall[0] == 1.0
    assert all(before >= after for before, after in pairwise(fall))


def test_warmup_is_torchs_linear_one():
    expected = by_torch(
        lr_scheduler.LinearLR, start_factor=1 / 30, end_factor=1.0, total_iters=29, total=30
    )
    assert factors("cosine", warmup="30steps")[:30] == pytest.approx(expected, rel=1e-9)


def test_cosine_ends_at_the_floor():
    schedule = build(node("cosine", floor=0.25), CLOCK.total, clock=CLOCK)
    assert schedule.at(CLOCK.total, schedule.init()) == pytest.approx(0.25, abs=1e-15)


@pytest.mark.parametrize("warmup", ["150steps", "100%", "22epochs"])
def test_a_warmup_as_long_as_the_run_is_refused(warmup):
    with pytest.raises(Misconfigured, match=r"schedule: warmup \d+ >= total 150 steps"):
        factors("cosine", warmup=warmup)


@pytest.mark.parametrize(
    ("option", "changes", "message"),
    [
        ("step", {"every": "0epochs"}, r"schedule\.every: expected a duration"),
        ("step", {"factor": 0}, r"schedule\.factor: expected a number in \(0, 1\]"),
        ("cosine", {"floor": 1.5}, r"schedule\.floor: expected a number in \[0, 1\]"),
        ("cosine", {"warmup": "soon"}, r"schedule\.warmup: expected a duration"),
    ],
)
def test_numbers_outside_their_range_are_refused(option, changes, message):
    with pytest.raises(Misconfigured, match=message):
        node(option, **changes)
