"""Optimizers against `torch.optim` over many steps, at every option of `conf/optimizer`."""

from dataclasses import make_dataclass

import pytest
import torch
from omegaconf import OmegaConf
from torch import optim

from runner.config import Node, build, check
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "optimizer"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("optimizer", Node)], kw_only=True)
SHAPES = [(5, 4), (5,), (2, 3, 3, 3), ()]
STEPS = 50

# torch's class, how its arguments follow from ours, and our slots by the names of its state.
REFERENCES = {
    "sgd": (optim.SGD, lambda given: {"lr": given["lr"]}, {}),
    "momentum": (optim.SGD, dict, {"velocity": "momentum_buffer"}),
    "adam": (optim.Adam, dict, {"mean": "exp_avg", "square": "exp_avg_sq"}),
}
CHANGES = [
    ("sgd", {}),
    ("sgd", {"lr": 0.001}),
    ("momentum", {}),
    ("momentum", {"nesterov": True}),
    ("momentum", {"momentum": 0.5, "lr": 0.1}),
    ("momentum", {"momentum": 0.0}),
    ("adam", {}),
    ("adam", {"lr": 0.05, "betas": [0.8, 0.95]}),
    ("adam", {"betas": [0.0, 0.0], "eps": 1e-3}),
]


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"optimizer": content | changes}, SCHEMA).optimizer


def start():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def gradients(parameters, step):
    """Return those of a bumpy, noisy bowl: a mistake of one step is felt in the next."""
    generator = torch.Generator().manual_seed(100 + step)
    return [
        0.3 * each.detach() + torch.sin(3 * each.detach())
        + 0.1 * torch.randn(each.shape, generator=generator, dtype=torch.float64)
        for each in parameters
    ]  # fmt: skip


def factor(step):
    return [1.0, 0.5, 0.0, 2.0, 0.125][step % 5]


def by_torch(option, arguments):
    kind, translate, names = REFERENCES[option]
    parameters = [each.requires_grad_() for each in start()]
    reference = kind(parameters, **translate(arguments))
    for step in range(STEPS):
        for parameter, gradient in zip(parameters, gradients(parameters, step), strict=True):
            parameter.grad = gradient
        reference.param_groups[0]["lr"] = arguments["lr"] * factor(step)
        reference.step()
    states = [reference.state[parameter] for parameter in parameters]
    slots = [
        {ours: state[theirs] for ours, theirs in names.items() if arguments.get("momentum") != 0}
        for state in states
    ]  # without momentum torch keeps no buffer
    return [each.detach() for each in parameters], slots


def by_update(optimizer):
    parameters, slots = start(), [optimizer.init(each) for each in start()]
    for step in range(STEPS):
        hyper = {**optimizer.hyper, "lr": optimizer.hyper["lr"] * factor(step)}
        pairs = [
            optimizer.update(parameter, gradient, slot, hyper, step + 1)
            for parameter, gradient, slot in zip(
                parameters, gradients(parameters, step), slots, strict=True
            )
        ]
        parameters, slots = (list(each) for each in zip(*pairs, strict=True))
    return parameters, slots


def by_fused(optimizer):
    parameters, slots = start(), [optimizer.init(each) for each in start()]
    for step in range(STEPS):
        hyper = {**optimizer.hyper, "lr": optimizer.hyper["lr"] * factor(step)}
        optimizer.fused(parameters, gradients(parameters, step), slots, hyper, step + 1)
    return parameters, slots


def assert_same(result, reference):
    for ours, theirs in zip(result[0], reference[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    for ours, theirs in zip(result[1], reference[1], strict=True):
        for name, slot in theirs.items():
            torch.testing.assert_close(ours[name], slot, rtol=1e-10, atol=1e-12)


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)
    assert {option for option, changes in CHANGES if not changes} == set(OPTIONS)


@pytest.mark.parametrize(("option", "changes"), CHANGES)
def test_update_and_fused_are_torch_over_many_steps(option, changes):
    checked = node(option, **changes)
    reference = by_torch(option, checked.arguments)
    moved = zip(start(), reference[0], strict=True)
    assert all((before - after).abs().max() > 1e-3 for before, after in moved)
    assert_same(by_update(build(checked)), reference)
    if build(checked).fused is not None:
        assert_same(by_fused(build(checked)), reference)


@pytest.mark.parametrize("option", OPTIONS)
def test_update_changes_nothing_it_is_given(option):
    optimizer = build(node(option))
    (w, *_), (g, *_) = start(), gradients(start(), 0)
    slots, hyper = optimizer.init(w), dict(optimizer.hyper)
    before = [w.clone(), g.clone(), {name: each.clone() for name, each in slots.items()}]
    updated, remembered = optimizer.update(w, g, slots, hyper, 1)
    assert torch.equal(w, before[0])
    assert torch.equal(g, before[1])
    assert all(torch.equal(each, before[2][name]) for name, each in slots.items())
    assert hyper == optimizer.hyper
    assert not torch.equal(updated, w)
    assert remembered.keys() == slots.keys()


@pytest.mark.parametrize("option", OPTIONS)
def test_fused_keeps_the_storage_of_what_it_updates(option):
    optimizer = build(node(option))
    parameters, slots = start(), [optimizer.init(each) for each in start()]
    tensors = [*parameters, *[each for slot in slots for each in slot.values()]]
    places = [each.data_ptr() for each in tensors]
    before = [each.clone() for each in tensors]
    optimizer.fused(parameters, gradients(parameters, 0), slots, optimizer.hyper, 1)
    assert [each.data_ptr() for each in tensors] == places
    assert not any(torch.equal(each, old) for each, old in zip(tensors, before, strict=True))


@pytest.mark.parametrize("option", OPTIONS)
def test_numbers_may_be_tensors_with_one_entry_for_each_lane(option):
    optimizer = build(node(option))
    assert "lr" in optimizer.hyper
    scales = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64)
    (w, *_), (g, *_) = start(), gradients(start(), 0)
    hyper = {name: value * (0.5 + scales / 2) for name, value in optimizer.hyper.items()}
    hyper = {name: each.clamp(max=0.9995) for name, each in hyper.items()}
    slots = {name: each.expand(3, *each.shape) for name, each in optimizer.init(w).items()}
    stacked, remembered = torch.func.vmap(
        lambda slots, hyper: optimizer.update(w, g, slots, hyper, 3)
    )(slots, hyper)
    for lane in range(3):
        numbers = {name: float(each[lane]) for name, each in hyper.items()}
        solo, kept = optimizer.update(w, g, optimizer.init(w), numbers, 3)
        torch.testing.assert_close(stacked[lane], solo, rtol=1e-12, atol=1e-14)
        for name, each in kept.items():
            torch.testing.assert_close(remembered[name][lane], each, rtol=1e-12, atol=1e-14)


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(Misconfigured, match="optimizer: nesterov=true needs momentum > 0"):
        build(node("momentum", nesterov=True, momentum=0.0))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("lr", [0, -0.1, float("nan"), float("inf"), "fast"])
def test_a_learning_rate_that_cannot_be_is_refused(option, lr):
    with pytest.raises(Misconfigured, match=r"optimizer\.lr: expected a number > 0, got"):
        node(option, lr=lr)
