"""The state: packed it is a copy and plain data, unpacked it goes on where it was."""

import math
import re

import pytest
import torch
from torch import nn

from runner.foundation.errors import UnusableCheckpoint
from runner.training.state import Best, Outcome, State, nonfinite


def outcome(loss: float) -> Outcome:
    return Outcome(torch.tensor(loss), torch.rand(2, 3), torch.tensor([0, 2]))


def example(seed: int) -> State:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    slots = {"velocity": [torch.rand_like(parameter) for parameter in model.parameters()]}
    state = State(model, slots, {"factor": seed + 0.5}, {"best": -0.5, "waited": seed}, step=seed)
    state.averages = {"mean": [torch.rand_like(each) for each in state.averaged_tensors()],
                      "count": [torch.tensor(float(seed))]}  # fmt: skip
    state.ended = seed == 3
    state.seen = 7 * seed
    state.remember(-0.25)
    state.window = [outcome(1.0), outcome(2.0)]
    return state


def equal(a, b) -> bool:
    """Compare nested values, tensors bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


def leaves(content):
    if isinstance(content, dict):
        assert all(type(key) is str for key in content)
        content = list(content.values())
    if isinstance(content, list):
        return [leaf for each in content for leaf in leaves(each)]
    return [content]


def test_unpack_takes_back_all_that_pack_gave():
    packed = example(3).pack()
    other = example(8)
    assert not equal(other.pack(), packed)
    other.unpack(packed)
    assert equal(other.pack(), packed)
    assert other.best.step == 3
    assert isinstance(other.best, Best)
    assert isinstance(other.window[0], Outcome)


def test_packed_values_are_plain():
    kinds = {type(leaf) for leaf in leaves(example(3).pack())}
    assert kinds == {torch.Tensor, int, float, bool}


def test_what_is_packed_does_not_change_when_training_goes_on():
    state, unchanged = example(3), example(3).pack()
    packed = state.pack()
    with torch.no_grad():
        for tensor in [*state.model.parameters(), *state.model.buffers()]:
            tensor.add_(1)
        for tensor in [*state.slots["velocity"], *state.averages["mean"]]:
            tensor.add_(1)
    state.schedule["factor"], state.stopping["waited"], state.step = 0, 0, 99
    state.window.clear()
    state.remember(-0.5)
    assert equal(packed, unchanged)


def test_unpack_keeps_the_storage_of_what_training_updates():
    state = example(3)
    tensors = [*state.model.parameters(), *state.slots["velocity"], *state.averages["mean"]]
    places = [tensor.data_ptr() for tensor in tensors]
    state.unpack(example(8).pack())
    after = [*state.model.parameters(), *state.slots["velocity"], *state.averages["mean"]]
    assert [tensor.data_ptr() for tensor in after] == places


PARTS = ["step", "seen", "ended", "skipped", "unmoved", "rollbacks", "model", "slots", "averages",
         "schedule", "stopping", "best", "window"]  # fmt: skip


@pytest.mark.parametrize("key", PARTS)
def test_a_missing_part_is_not_made_up(key):
    packed = example(3).pack()
    assert list(packed) == PARTS
    del packed[key]
    with pytest.raises(UnusableCheckpoint, match=key):
        example(8).unpack(packed)


def test_another_model_is_named_by_what_differs():
    other = State(nn.Sequential(nn.Linear(3, 5)), {}, {}, {})
    with pytest.raises(UnusableCheckpoint, match=r"another model \(\d+ differ\)") as caught:
        other.unpack(example(3).pack())
    lines = str(caught.value).splitlines()
    found, expected = "(2, 3) float32 in the checkpoint", "(5, 3) float32 in the model"
    assert lines[1] == f"  model.0.weight: {found}, {expected}"
    assert "  model.1.weight: (2,) float32 in the checkpoint, absent in the model" in lines
    assert len(lines) == 6


def test_a_slot_of_another_shape_is_not_stretched():
    packed = example(3).pack()
    packed["slots"]["velocity"][0] = torch.ones(1)
    with pytest.raises(UnusableCheckpoint, match=r"slots.velocity.0: \(1,\) float32 in the"):
        example(8).unpack(packed)


def test_too_few_slots_are_refused():
    packed = example(3).pack()
    packed["slots"]["velocity"].pop()
    with pytest.raises(UnusableCheckpoint, match=r"slots.velocity.3: absent in the checkpoint"):
        example(8).unpack(packed)


@pytest.mark.parametrize(
    ("place", "odd", "message"),
    [
        (("step",), "x", "step: expected int, found str"),
        (("step",), 10**30, "step: expected int"),
        (("ended",), 1, "ended: expected bool, found int"),
        (("rollbacks",), torch.zeros(0), "rollbacks: expected int, found Tensor"),
        (("schedule", "factor"), [1.0], "schedule.factor: expected float, found list"),
        (("stopping", "waited"), 0.5, "stopping.waited: expected int, found float"),
        (("best", "value"), None, "best.value: expected float, found NoneType"),
        (("best", "weights"), torch.zeros(0), "best.weights.0.weight: absent"),
        (("window",), 3, "window.0: no step"),
    ],
)
def test_what_is_of_another_kind_is_refused(place, odd, message):
    """F41: whole, but written by nobody who knows the runner."""
    packed = example(1).pack()
    *way, last = place
    part = packed
    for name in way:
        part = part[name]
    part[last] = odd
    with pytest.raises(UnusableCheckpoint, match=re.escape(message)):
        example(2).unpack(packed)


def test_best_weights_come_back_bit_for_bit():
    state = example(3)
    best = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    with torch.no_grad():
        for tensor in state.model.state_dict().values():
            tensor.add_(1)
    assert not equal(dict(state.model.state_dict()), best)
    state.restore_best()
    assert equal(dict(state.model.state_dict()), best)


def test_without_best_weights_the_last_stay():
    state = State(nn.Linear(3, 2), {}, {}, {})
    last = state.model.weight.clone()
    assert state.best.value == math.inf
    state.restore_best()
    assert torch.equal(state.model.weight, last)


def test_averages_stand_for_the_weights_inside_alone():
    state = example(3)
    own = [each.detach().clone() for each in state.averaged_tensors()]
    places = [each.data_ptr() for each in state.averaged_tensors()]
    with state.averaged():
        assert all(map(torch.equal, state.averaged_tensors(), state.averages["mean"]))
    assert all(map(torch.equal, state.averaged_tensors(), own))
    assert [each.data_ptr() for each in state.averaged_tensors()] == places
    assert len(own) == 6, "weights and biases, and the running statistics"
    state.averages["count"][0].zero_()
    with state.averaged():
        assert all(map(torch.equal, state.averaged_tensors(), own))


def test_averages_compete_among_themselves_for_the_best():
    state = example(3)
    state.averages["count"][0].zero_()
    state.best = Best()
    state.consider(0.1)
    assert (state.best.value, state.best.averaged) == (0.1, False)
    state.averages["count"][0].fill_(1.0)
    state.consider(0.9)  # worse than the plain weights, but the first average
    assert (state.best.value, state.best.averaged) == (0.9, True)
    names = [name for name, each in state.model.state_dict().items() if each.is_floating_point()]
    best = [state.best.weights[name] for name in names]
    assert all(map(torch.equal, best, state.averages["mean"]))
    state.consider(1.0)
    state.consider(math.nan)
    assert state.best.value == 0.9


def test_without_best_weights_the_averages_are_the_result():
    state = example(3)
    state.best = Best()
    state.restore_best()
    assert all(map(torch.equal, state.averaged_tensors(), state.averages["mean"]))


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.LBFGS])
def test_an_optimizer_of_torch_packs_what_it_remembers(kind):
    def descended(state, times):
        for _ in range(times):

            def total():
                state.slots.zero_grad()
                value = (state.model(torch.eye(3)) - 1).square().sum()
                value.backward()
                return value

            state.slots.step(total)  # fmt: skip

    states = []
    for _ in range(2):
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        states.append(State(model, kind(model.parameters(), lr=0.1), {}, {}))
    first, second = states
    descended(first, 3)
    packed = first.pack()
    second.unpack(packed)
    for state in states:
        descended(state, 2)
    assert torch.equal(first.model.weight, second.model.weight)
    assert equal(first.pack()["slots"], second.pack()["slots"])
    third = State(model, kind(model.parameters(), lr=0.1), {}, {})
    third.unpack(packed)
    assert equal(third.pack(), packed)


@pytest.mark.parametrize(
    ("losses", "place"),
    [([], None), ([1.0, 2.0], None), ([1.0, math.nan, math.inf], 1), ([math.inf], 0),
     ([1.0, 2.0, -math.inf], 2)],
)  # fmt: skip
def test_nonfinite(losses, place):
    assert nonfinite([outcome(loss) for loss in losses]) == place
