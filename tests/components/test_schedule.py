"""Schedules against `torch.optim.lr_scheduler` and closed forms, for `conf/schedule`."""

import io
import math
from dataclasses import make_dataclass
from itertools import accumulate, pairwise

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch.optim import SGD, lr_scheduler

from runner.components.schedule import Sums, robbins_monro
from runner.config import Node, build, check
from runner.foundation.durations import ENDLESS, Clock
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "schedule"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("schedule", Node)], kw_only=True)
CLOCK = Clock(steps_per_epoch=7, total=150)
EVALUATED = 10  # steps between two evaluations
LANES = torch.arange(3)


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"schedule": content | changes}, SCHEMA).schedule


def made(option, clock=CLOCK, **changes):
    return build(node(option, **changes), clock.total, clock=clock)


def objective(step):
    """Return a loss that falls, lingers from step 30 on, and falls once more at step 120."""
    return max(1 - step / 30, 0.1) - 0.05 * (step > 120)


def factors(option, clock=CLOCK, objective=objective, name="valid/loss", **changes):
    """Return the factor at every step, an evaluation coming in at times."""
    schedule = made(option, clock, **changes)
    state, found = schedule.init(), []
    for step in range(clock.total):
        found.append(schedule.at(step, state))
        if step % EVALUATED == EVALUATED - 1:
            before = dict(state)
            row = {"step": step, name: objective(step)}
            following = schedule.observe(state, row, objective(step))
            assert state == before  # a checkpoint may hold the old one
            state = following
    return found


def by_torch(scheduler, *arguments, total=CLOCK.total, every=1, lr=1.0, **options):
    """Return torch's learning rate at every step; it is told of each `every` steps."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    reference, found = scheduler(optimizer, *arguments, **options), []
    for step in range(total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step % every == every - 1:
            reference.step()
    return found


def by_plateau(patience, factor=0.1, mode="min", metric=objective, **options):
    """Return what torch's does: it cuts after `patience` + 1 evaluations that were no better."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = lr_scheduler.ReduceLROnPlateau(
        optimizer, mode, factor, patience - 1, threshold_mode="abs", eps=0, **options
    )
    found = []
    for step in range(CLOCK.total):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step % EVALUATED == EVALUATED - 1:
            reference.step(metric(step))
    return found


def by_cyclic(period, floor):
    return by_torch(
        lr_scheduler.CyclicLR, floor, 1.0, step_size_up=period / 2, cycle_momentum=False
    )


def by_one_cycle(total, rise, start, floor):
    return by_torch(
        lr_scheduler.OneCycleLR, 1.0, total, pct_start=rise / total, div_factor=1 / start,
        final_div_factor=start / floor, cycle_momentum=False, total=total,
    )  # fmt: skip


def by_lambda(rule, every=1):
    return by_torch(lr_scheduler.LambdaLR, rule, every=every)


REFERENCES = {
    "constant": lambda: by_torch(lr_scheduler.ConstantLR, factor=1.0),
    "inverse_time": lambda: by_lambda(lambda k: 1 / (k + 1)),
    "inverse_square": lambda: by_lambda(lambda k: 1 / (k + 1) ** 2),
    "exponential": lambda: by_torch(lr_scheduler.ExponentialLR, np.exp(-0.01)),
    "staircase": lambda: by_torch(lr_scheduler.StepLR, 10 * 7, 0.1),
    "multi_step": lambda: by_torch(lr_scheduler.MultiStepLR, [75, 112], 0.1),
    "plateau": lambda: by_plateau(patience=5, threshold=0, min_lr=1e-4),
    "linear": lambda: by_torch(lr_scheduler.LinearLR, 1.0, 0.0, 150),
    "polynomial": lambda: by_torch(lr_scheduler.PolynomialLR, 150, 2.0),
    "cosine": lambda: by_torch(lr_scheduler.CosineAnnealingLR, 150),
    "cosine_restarts": lambda: by_torch(lr_scheduler.CosineAnnealingWarmRestarts, 35),
    "one_cycle": lambda: by_one_cycle(150, 45, 1 / 25, 1 / 25 / 1e4),
    "cyclic": lambda: by_cyclic(28, 0.1),
}
ENDING = {"linear", "polynomial", "cosine", "one_cycle"}
RISING = {"one_cycle", "cyclic"}  # they start below the whole learning rate


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_factors_are_those_of_torch_at_every_step(option):
    found = factors(option)
    assert len(found) == CLOCK.total
    assert found == pytest.approx(REFERENCES[option](), rel=1e-9, abs=1e-12)
    assert len(set(found)) > 1 or option == "constant"


@pytest.mark.parametrize("option", sorted(set(OPTIONS) - RISING))
@pytest.mark.parametrize("total", [1, 2])
def test_runs_of_a_step_or_two_start_with_the_whole_learning_rate(option, total):
    assert factors(option, Clock(1, total))[0] == 1.0


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("total", range(1, 12))
def test_short_runs_have_factors_between_nothing_and_one(option, total):
    found = factors(option, Clock(2, total))
    assert len(found) == total
    assert all(0 < factor <= 1 for factor in found)


@pytest.mark.parametrize(
    ("every", "steps"), [("1steps", 1), ("40steps", 40), ("3epochs", 21), ("10%", 15)]
)
@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_staircase_has_the_stairs_asked_for(every, steps, factor):
    expected = by_torch(lr_scheduler.StepLR, steps, factor)
    assert factors("staircase", every=every, factor=factor) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("milestones", [[], ["1steps"], ["20steps", "9epochs", "9epochs", "60%"]])
def test_multi_step_has_the_milestones_asked_for(milestones):
    steps = [CLOCK.steps(each) for each in milestones]
    expected = by_torch(lr_scheduler.MultiStepLR, steps, 0.2)
    found = factors("multi_step", milestones=milestones, factor=0.2)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("every", "steps"), [("1steps", 1), ("1epochs", 7), ("10%", 15)])
@pytest.mark.parametrize("rate", [0.03, 2.0])
def test_decays_count_steps_or_epochs(every, steps, rate):
    rules = {
        "inverse_time": lambda k: 1 / (1 + rate * k),
        "inverse_square": lambda k: 1 / (1 + rate * k) ** 2,
        "exponential": lambda k: math.exp(-rate * k),
    }
    for option, rule in rules.items():
        expected = by_lambda(rule, every=steps)
        assert factors(option, every=every, rate=rate) == pytest.approx(expected, rel=1e-9)


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


@pytest.mark.parametrize("floor", [0.0, 0.25, 1.0])
def test_straight_and_bent_lines_fall_to_their_floor(floor):
    straight = by_torch(lr_scheduler.LinearLR, 1.0, floor, 150)
    assert factors("linear", floor=floor) == pytest.approx(straight, rel=1e-9, abs=1e-12)
    bent = [floor + (1 - floor) * each for each in by_torch(lr_scheduler.PolynomialLR, 150, 0.9)]
    found = factors("polynomial", floor=floor, power=0.9)
    assert found == pytest.approx(bent, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("option", sorted(ENDING))
def test_what_ends_with_the_run_ends_at_the_floor(option):
    schedule = made(option, floor=0.25)
    last = CLOCK.total - (option == "one_cycle")
    assert schedule.at(last, schedule.init()) == pytest.approx(0.25, abs=1e-15)


@pytest.mark.parametrize(("period", "steps"), [("1steps", 1), ("8steps", 8), ("2epochs", 14)])
@pytest.mark.parametrize("growth", [1, 2, 3])
def test_restarts_come_when_asked_for(period, steps, growth):
    expected = by_torch(lr_scheduler.CosineAnnealingWarmRestarts, steps, growth, 0.05)
    found = factors("cosine_restarts", period=period, growth=growth, floor=0.05)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("period", "steps"), [("2steps", 2), ("9steps", 9), ("40%", 60)])
@pytest.mark.parametrize("floor", [0.0, 0.5])
def test_triangles_are_as_long_and_low_as_asked_for(period, steps, floor):
    found = factors("cyclic", period=period, floor=floor)
    assert found == pytest.approx(by_cyclic(steps, floor), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("rise", "steps"), [("2steps", 2), ("3epochs", 21), ("90%", 135)])
def test_one_cycle_rises_as_long_as_asked_for(rise, steps):
    found = factors("one_cycle", rise=rise, start=0.2, floor=0.01)
    assert found == pytest.approx(by_one_cycle(150, steps, 0.2, 0.01), rel=1e-9)


def test_one_cycle_may_be_nothing_but_a_rise():
    found = factors("one_cycle", rise="100%")
    assert found[-1] == max(found) == 1.0


@pytest.mark.parametrize("patience", [1, 2, 4])
@pytest.mark.parametrize(("factor", "floor"), [(0.1, 1e-3), (0.5, 0.3)])
def test_plateau_waits_as_long_as_asked_for(patience, factor, floor):
    expected = by_plateau(patience, factor, threshold=0.02, min_lr=floor)
    found = factors("plateau", patience=patience, factor=factor, floor=floor, min_delta=0.02)
    assert found == pytest.approx(expected, rel=1e-9)
    assert len(set(found)) > 1


def test_plateau_goes_by_a_logged_metric():
    lower = factors("plateau", metric="train/loss", name="train/loss", patience=2)
    assert lower == pytest.approx(by_plateau(2, threshold=0, min_lr=1e-4))

    def accuracy(step):
        return 1 - objective(step)

    expected = by_plateau(2, mode="max", metric=accuracy, threshold=0, min_lr=1e-4)
    found = factors("plateau", objective=accuracy, metric="valid/accuracy", name="valid/accuracy",
                    better="higher", patience=2)  # fmt: skip
    assert found == pytest.approx(expected)
    assert len(set(found)) > 1


def test_plateau_says_what_is_logged_instead():
    schedule = made("plateau", metric="valid/acuracy")
    row = {"train/loss": 1.0, "valid/accuracy": 0.5}
    with pytest.raises(ValueError, match=r"schedule\.metric: 'valid/acuracy' is") as found:
        schedule.observe(schedule.init(), row, 0.5)
    assert "did you mean 'valid/accuracy'?" in str(found.value)
    assert "(logged are train/loss, valid/accuracy)" in str(found.value)
    assert schedule.watches == "valid/acuracy"


def test_a_metric_that_is_not_a_number_is_no_improvement():
    found = factors("plateau", patience=2, objective=lambda step: math.nan)
    assert found[: 4 * EVALUATED] == pytest.approx([1.0] * 20 + [0.1] * 20)


# ---- warm-up ----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", OPTIONS)
def test_a_warmup_rises_in_front_of_the_schedule(option):
    steps = 30
    changes = {"rise": "40steps"} if option == "one_cycle" else {}
    changes |= {"milestones": ["35steps", "80steps"]} if option == "multi_step" else {}
    clock = Clock(CLOCK.steps_per_epoch, CLOCK.total - steps)
    found = factors(option, warmup="30steps", **changes)
    expected = factors(option, clock, **changes)
    rise = np.linspace(1 / steps, 1, steps) * expected[0]
    assert found[:steps] == pytest.approx(rise, rel=1e-12)
    if option != "plateau":  # it goes by evaluations, those of the warm-up among them
        assert found[steps:] == pytest.approx(expected, rel=1e-12)


def test_warmup_is_torchs_linear_one():
    expected = by_torch(
        lr_scheduler.LinearLR, start_factor=1 / 30, end_factor=1.0, total_iters=29, total=30
    )
    assert factors("cosine", warmup="30steps")[:30] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("warmup", ["150steps", "100%", "22epochs"])
def test_a_warmup_as_long_as_the_run_is_refused(option, warmup):
    with pytest.raises(Misconfigured, match=r"schedule: warmup \d+ >= total 150 steps"):
        factors(option, warmup=warmup)


# ---- lanes, checkpoints -----------------------------------------------------------------------

# for each option, the numbers of three lanes
NUMBERS = {
    "constant": {},
    "inverse_time": {"rate": [0.1, 1.0, 3.0]},
    "inverse_square": {"rate": [0.1, 1.0, 3.0]},
    "exponential": {"rate": [0.01, 0.1, 0.5]},
    "staircase": {"factor": [0.1, 0.5, 1.0]},
    "multi_step": {"factor": [0.1, 0.5, 1.0]},
    "plateau": {
        "factor": [0.1, 0.5, 0.9], "min_delta": [0.0, 0.02, 0.3], "floor": [1e-3, 0.3, 0.8],
        "patience": [1, 2, 5],
    },
    "linear": {"floor": [0.0, 0.2, 1.0]},
    "polynomial": {"floor": [0.0, 0.2, 1.0], "power": [0.5, 1.0, 3.0]},
    "cosine": {"floor": [0.0, 0.2, 1.0]},
    "cosine_restarts": {"floor": [0.0, 0.2, 1.0]},
    "one_cycle": {"floor": [0.0, 0.2, 1.0], "start": [0.0, 0.2, 1.0]},
    "cyclic": {"floor": [0.0, 0.2, 1.0]},
}  # fmt: skip
CHANGES = {"staircase": {"every": "3epochs"}}


def lane_metric(step, lane):
    return objective(step) + 0.03 * lane * math.sin(step + lane)


def path(schedule, metric):
    """Return the factors of a schedule at every step."""
    state, found = schedule.init(), []
    for step in range(CLOCK.total):
        found.append(schedule.at(step, state))
        if step % EVALUATED == EVALUATED - 1:
            state = saved_and_loaded(schedule.observe(state, {}, metric(step)))
    return found


def saved_and_loaded(state):
    """Return what a checkpoint gives back of a state."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("option", OPTIONS)
def test_lanes_are_their_solo_selves(option):
    numbers, changes = NUMBERS[option], CHANGES.get(option, {})
    solo = [
        path(
            made(option, **changes, **{name: each[lane] for name, each in numbers.items()}),
            lambda step, lane=lane: lane_metric(step, lane),
        )
        for lane in LANES.tolist()
    ]
    given = node(option, **changes)
    tensors = {name: torch.tensor(each, dtype=torch.float64) for name, each in numbers.items()}
    given = Node(given.key, given.factory, given.arguments | tensors)
    lanes = path(
        build(given, CLOCK.total, clock=CLOCK),
        lambda step: torch.tensor([lane_metric(step, lane) for lane in LANES.tolist()],
                                  dtype=torch.float64),
    )  # fmt: skip
    together = torch.stack([torch.as_tensor(each).expand(3) for each in lanes], 1)
    torch.testing.assert_close(
        together, torch.tensor(solo, dtype=torch.float64), rtol=0, atol=1e-10, check_dtype=False
    )
    assert option == "constant" or not torch.allclose(together[0], together[1])


def test_plateau_observes_under_vmap():
    schedule = made("plateau", patience=2)
    metrics = torch.tensor([[3.0, 2, 2, 2, 2], [3, 2, 1, 0, -1], [1, 1, 1, 0, 1]]).double()

    def walk(metrics):
        state = schedule.init()
        for metric in metrics:
            state = schedule.observe(state, {}, metric)
        return state["factor"]

    expected = [walk(each.tolist()) for each in metrics]
    assert torch.func.vmap(walk)(metrics).tolist() == pytest.approx(expected, abs=1e-12)
    assert len(set(expected)) > 1


# ---- Robbins and Monro ------------------------------------------------------------------------


def grows(terms):
    """Tell whether partial sums grow forever: by as much from n to 2 n as from n / 2 to n."""
    sums = list(accumulate(terms))
    half, whole, double = (sums[len(sums) // part - 1] for part in (4, 2, 1))
    return double - whole > 0.8 * (whole - half)


def continued(option, steps, **changes):
    """Return the factors of a schedule that goes on, a metric that lingers coming in at times."""
    schedule = made(option, Clock(CLOCK.steps_per_epoch, ENDLESS), **changes)
    state, found = schedule.init(), []
    for step in range(steps):
        found.append(schedule.at(step, state))
        if step % EVALUATED == 0:
            state = schedule.observe(state, {}, 1.0)
    return schedule.sums, found


FOREVER = sorted(set(OPTIONS) - ENDING)
VARIANTS = [(option, {}) for option in FOREVER if option != "multi_step"] + [
    ("multi_step", {"milestones": ["5steps", "9epochs"]}),
    ("staircase", {"factor": 1.0}),
    ("inverse_time", {"every": "1epochs", "rate": 0.3}),
    ("cosine_restarts", {"growth": 2}),
    ("cyclic", {"floor": 0.0}),
]


@pytest.mark.parametrize(("option", "changes"), VARIANTS)
def test_declared_sums_are_what_partial_sums_say(option, changes):
    declared, found = continued(option, 2**15, **changes)
    assert declared == Sums(grows(found), not grows(factor**2 for factor in found))


def test_only_one_of_all_schedules_meets_both_conditions():
    met = [option for option, changes in VARIANTS if all(continued(option, 1, **changes)[0])]
    assert set(met) == {"inverse_time"}


@pytest.mark.parametrize("option", OPTIONS)
def test_what_ends_with_the_run_has_no_sums_and_refuses_an_endless_run(option):
    assert (made(option).sums is None) == (option in ENDING)
    changes = {"milestones": ["9steps"]} if option == "multi_step" else {}
    changes |= {"rise": "9steps"} if option == "one_cycle" else {}
    clock = Clock(7, ENDLESS)
    if option not in ENDING:
        assert made(option, clock, **changes).at(10**6, {"factor": 1.0}) <= 1
        return
    with pytest.raises(Misconfigured, match=f"schedule: {option} needs an end: give trainer"):
        made(option, clock, warmup="9steps", **changes)


def test_conditions_in_words():
    assert "met (sum t_k = inf holds, sum t_k^2 < inf holds)" in robbins_monro(Sums(True, True))
    assert "not met (sum t_k = inf fails" in robbins_monro(Sums(False, True))
    assert "sum t_k^2 < inf fails" in robbins_monro(Sums(True, False))
    assert "ends with the run" in robbins_monro(None)


# ---- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "changes", "message"),
    [
        ("staircase", {"every": "0epochs"}, r"schedule\.every: expected a duration"),
        ("staircase", {"factor": 0}, r"schedule\.factor: expected a number in \(0, 1\]"),
        ("staircase", {"factor": -1}, r"schedule\.factor: expected a number in \(0, 1\]"),
        ("multi_step", {"milestones": "30epochs"}, r"schedule\.milestones: expected a list"),
        ("multi_step", {"milestones": ["9epochs", "a"]}, r"schedule\.milestones\[1\]: expected"),
        ("inverse_time", {"rate": 0}, r"schedule\.rate: expected a number > 0"),
        ("exponential", {"rate": -1}, r"schedule\.rate: expected a number > 0"),
        ("inverse_square", {"every": "0steps"}, r"schedule\.every: expected a duration"),
        ("plateau", {"patience": 0}, r"schedule\.patience: expected a whole number >= 1"),
        ("plateau", {"floor": 0}, r"schedule\.floor: expected a number in \(0, 1\]"),
        ("plateau", {"better": "min"}, r"schedule\.better: expected one of lower, higher"),
        ("polynomial", {"power": 0}, r"schedule\.power: expected a number > 0"),
        ("cosine", {"floor": 1.5}, r"schedule\.floor: expected a number in \[0, 1\]"),
        ("cosine", {"warmup": "soon"}, r"schedule\.warmup: expected a duration"),
        ("cosine_restarts", {"period": "0steps"}, r"schedule\.period: expected a duration"),
        ("cosine_restarts", {"growth": 1.5}, r"schedule\.growth: expected a whole number >= 1"),
        ("one_cycle", {"start": 2}, r"schedule\.start: expected a number in \[0, 1\]"),
        ("one_cycle", {"total": 9}, r"schedule\.total: unknown key"),
    ],
)
def test_numbers_outside_their_range_are_refused(option, changes, message):
    with pytest.raises(Misconfigured, match=message):
        node(option, **changes)


@pytest.mark.parametrize(
    ("option", "changes", "message"),
    [
        (
            "multi_step",
            {"milestones": ["9epochs", "20steps", "60%"]},
            r"milestones \[63steps,20steps,90steps\] do not rise; "
            r"use schedule\.milestones=\[20steps,63steps,90steps\]",
        ),
        ("plateau", {"better": "higher"}, "the objective is turned .* use better=lower"),
        ("cyclic", {"period": "1steps"}, "period 1: a cycle needs at least 2 steps"),
        ("one_cycle", {"rise": "90%", "warmup": "30%"}, "rise 135 > 105, the steps after"),
    ],
)
def test_numbers_that_do_not_go_together_are_refused(option, changes, message):
    with pytest.raises(Misconfigured, match=f"schedule: {message}"):
        made(option, **changes)
