"""Channels last in memory: where, and that nothing but the rounding depends on it."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from runner.assemble import model as models
from runner.assemble.fold import folded
from runner.assemble.run import assemble
from runner.assemble.settings import Settings
from runner.compose import compose
from runner.config import Node, check

CPU, GPU = torch.device("cpu"), torch.device("cuda")
LAST = torch.channels_last
TINY = {"architecture": "cnn", "architecture.channels": "[6,8]", "normalization": "batch",
        "precision": "float64", "device": "cpu", "threads": "1",
        "trainer.batch_size": "12"}  # fmt: skip


def settings_of(*overrides):
    """Return the tiny run with some settings replaced; another architecture has its own keys."""
    given = dict(each.split("=", 1) for each in overrides)
    dropped = {"architecture.channels"} if "architecture" in given else set()
    merged = {key: each for key, each in TINY.items() if key not in dropped} | given
    composed = compose([f"{key}={each}" for key, each in merged.items()])
    return check(composed.config, Settings)


def assembled(*overrides):
    return assemble(settings_of(*overrides))


def contiguous(monkeypatch, *overrides):
    """Assemble a run whose weights are in their logical order in memory."""
    with monkeypatch.context() as patch:
        patch.setattr(models, "suits_channels_last", lambda *given: False)
        return assembled(*overrides)


def maps(tensors):
    return [each for each in tensors if each.dim() == 4]


def is_last(tensors):
    found = maps(tensors)
    return bool(found) and all(each.is_contiguous(memory_format=LAST) for each in found)


def taken(run, steps=6, state=None):
    """Take steps; return the losses, the norms of the gradient and the state."""
    state = state or run.state()
    step, batch = run.stepping(state), run.batches()
    numbers = []
    for at in range(state.step, state.step + steps):
        outcome = step(*batch(at), run.schedule.at(at, state.schedule), True)
        numbers += [float(outcome.loss)]
        numbers += [] if state.gradient_norm is None else [float(state.gradient_norm)]
    return numbers, state


@pytest.mark.parametrize(
    ("overrides", "precision", "device", "expected"),
    [
        ([], "float32", CPU, True),
        ([], "float64", CPU, True),
        ([], "bfloat16", CPU, True),
        ([], "bfloat16", GPU, True),
        ([], "tf32", GPU, True),
        ([], "float32", GPU, False),
        ([], "float64", GPU, False),
        (["normalization=none"], "float32", CPU, True),
        (["normalization=layer"], "float32", CPU, True),
        (["normalization=group", "normalization.groups=2"], "float32", CPU, False),
        (["normalization=instance"], "float32", CPU, False),
        (["activation=maxout"], "float32", CPU, False),
        (["architecture=resnet", "architecture.channels=[4,8]"], "float32", CPU, True),
        (["architecture=vit"], "float32", CPU, True),
        (["architecture=mlp"], "float32", CPU, False),
        (["dataset=mnist1d"], "float32", CPU, False),
    ],
)
def test_channels_last_are_for_convolutions_of_images(overrides, precision, device, expected):
    run = assembled(*overrides)
    assert models.suits_channels_last(run.model, precision, device) is expected
    if (precision, device) == ("float64", CPU):
        assert is_last(run.model.parameters()) is expected


def flat(inputs, outputs, unit):
    """Return a user's own network, which takes a view where `flatten` would take any order."""

    class Flat(nn.Module):
        def forward(self, x):
            return x.view(len(x), -1)

    layers = [unit(nn.Conv2d(1, 4, 3)), unit(nn.Conv2d(4, 5, 3)), Flat()]
    return nn.Sequential(*layers, nn.Linear(5 * 4 * 4, outputs))


def digits(**given):
    """Return a data set of the user's own."""
    return settings_of().dataset.factory(**given)


def test_code_of_the_users_own_meets_the_order_it_expects():
    settings = settings_of()
    own = Node("architecture", flat, {})
    run = assemble(replace(settings, architecture=own))
    assert not is_last(run.model.parameters())
    assert models.suits_channels_last(run.model, "float32", CPU)
    assert all(map(math.isfinite, taken(run, 2)[0]))
    data = replace(settings.dataset, factory=digits)
    assert is_last(assemble(replace(settings, dataset=data)).model.parameters())


def test_the_run_starts_from_the_same_numbers(monkeypatch):
    for initializer in ("kaiming_normal", "orthogonal", "identity", "torch_default"):
        changes = [f"initializer={initializer}"]
        own, other = assembled(*changes), contiguous(monkeypatch, *changes)
        assert is_last(own.model.parameters())
        assert not is_last(other.model.parameters())
        pairs = zip(own.model.state_dict().values(), other.model.state_dict().values(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)


# A bias before a batch norm has a gradient of rounding errors, which some optimizers blow up.
SLOPES = ["normalization=none"]
PARTS = {
    "plain": [],
    "weight norm": ["normalization=weight"],
    "layer norm": ["normalization=layer"],
    "whitening": ["normalization=batch_whitening"],
    "all the data": ["normalization=full_data"],
    "residual": ["architecture=resnet", "architecture.channels=[4,8]"],
    "patches": ["architecture=vit", "architecture.width=8", "architecture.depth=1"],
    "strides": ["architecture.stride=2", "architecture.kernel=1"],
    "dropout": ["dropout=inverted"],
    "spatial dropout": ["dropout=spatial"],
    "augmentation": ["augmentation=flip_crop", "augmentation.flip_crop.padding=1"],
    "accumulation": ["trainer.accumulate=3"],
    "penalty": ["regularizer=l2"],
    "second derivative": ["regularizer=jacobian", "normalization=layer"],
    "orthonormal": ["regularizer=orthonormal"],
    "projection": ["regularizer=max_norm"],
    "clipping": ["clipping=norm", "clipping.norm.limit=0.1"],
    "adaptive clipping": ["clipping=adaptive"],
    "average": ["averaging=ema"],
    "by the data": ["initializer=lsuv"],
    **{name: [f"optimizer={name}", *SLOPES] for name in (
        "sgd", "nesterov", "adam", "adamw", "adagrad", "radam", "rmsprop", "lion", "muon")},
    "a search": ["optimizer=lbfgs", "sampler=full_batch", "dataset.subset=60", *SLOPES],
}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_channels_last_change_nothing_but_the_rounding(part, monkeypatch):
    own, other = assembled(*PARTS[part]), contiguous(monkeypatch, *PARTS[part])
    assert is_last(own.model.parameters())
    (found, state), (expected, second) = taken(own), taken(other)
    assert found == pytest.approx(expected, rel=1e-9)
    for one, two in zip(state.averaged_tensors(), second.averaged_tensors(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)
    assert own.evaluate("valid") == pytest.approx(other.evaluate("valid"), rel=1e-9)
    assert is_last(own.model.parameters())


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "muon", "adagrad"])
def test_what_an_optimizer_remembers_lies_as_the_weights_do(optimizer):
    run = assembled(f"optimizer={optimizer}", "averaging=ema")
    _, state = taken(run, 2)
    slots = state.slots
    if isinstance(slots, torch.optim.Optimizer):
        remembered = [each for part in slots.state.values() for each in part.values()]
    else:
        remembered = [each for part in slots.values() for each in part]
    assert is_last([each for each in remembered if isinstance(each, torch.Tensor)])
    assert is_last(state.averages["mean"])


def test_a_checkpoint_of_the_other_order_goes_on_and_keeps_the_order(monkeypatch):
    own, other = assembled("optimizer=adam"), contiguous(monkeypatch, "optimizer=adam")
    _, begun = taken(other, 3)
    state = own.state()
    state.unpack(begun.pack())
    assert is_last(own.model.parameters())
    assert is_last(state.slots["mean"])
    found, expected = taken(own, 3, state)[0], taken(other, 3, begun)[0]
    assert found == pytest.approx(expected, rel=1e-9)


def test_batch_norms_are_folded_in_either_order(monkeypatch):
    own, other = assembled(), contiguous(monkeypatch)
    for run in (own, other):
        taken(run, 3)
    x = own.prepared.splits["valid"][0]
    outputs = [folded(run.model)(x) for run in (own, other)]
    torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(outputs[0], own.model.eval()(x), rtol=1e-6, atol=1e-9)


def test_images_of_one_channel_lead_to_channels_last_too():
    given = []
    run = assembled()
    for part in run.model.modules():
        if isinstance(part, nn.MaxPool2d):
            part.register_forward_hook(lambda module, x, y: given.append((x[0], y)))
    taken(run, 1)
    assert len(given) == 2
    assert all(is_last(pair) for pair in given)
