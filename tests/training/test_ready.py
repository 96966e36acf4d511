"""Steps made ready: held to the plain step, the state untouched, and plain where that is wiser."""

import pytest
import torch
from torch import nn

from runner.training import ready as making
from runner.training.ready import Compiled, Traced, preserved
from runner.training.state import State
from runner.training.tracing import Program


class Counting(nn.Linear):
    """A layer with a buffer that it writes into, or replaces."""

    def __init__(self, replaces=False):
        super().__init__(3, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.replaces = replaces

    def forward(self, x):
        if self.replaces:
            self.calls = self.calls + 1
        else:
            self.calls.add_(1)
        return super().forward(x) * self.calls


def state_of(model):
    return State(model, {"velocity": [torch.ones(2, 3), torch.ones(2)]}, {}, {})


def updating(state, more=lambda: 0.0):
    """Return a function of (x, rate): a step of descent, which is told a number by `more`."""

    def update(x, rate):
        tensors = list(state.model.parameters())
        total = state.model(x).square().mean() + more() * tensors[0].sum()
        gradients = torch.autograd.grad(total, tensors)
        with torch.no_grad():
            for w, g, v in zip(tensors, gradients, state.slots["velocity"], strict=True):
                v.mul_(0.9).add_(g)
                w.sub_(rate * v)
        return [total.detach()]

    return update


def inputs(rows=4, rate=0.1):
    x = torch.randn(rows, 3, generator=torch.Generator().manual_seed(rows))
    return x, torch.tensor(rate, dtype=torch.float64)


def numbers(state):
    return [each.detach().clone() for each in state.tensors().values()]


def equal(one, other):
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


def test_a_step_is_recorded_and_the_state_is_as_it_was():
    state = state_of(Counting())
    before = numbers(state)
    ready = Traced(state)
    step = ready(updating(state), inputs())
    assert isinstance(step, Program)
    assert ready.refusal == ""
    assert equal(before, numbers(state))
    step(*inputs())
    after = numbers(state)
    with torch.no_grad():
        for own, kept in zip(state.tensors().values(), before, strict=True):
            own.copy_(kept)
    updating(state)(*inputs())
    assert equal(after, numbers(state))


def test_a_number_from_elsewhere_is_found_out():
    state, told = state_of(Counting()), iter(range(100))
    before, function = numbers(state), updating(state, lambda: float(next(told)))
    ready = Traced(state)
    assert ready(function, inputs()) is function
    assert ready.refusal == "it does not go by its inputs alone"
    assert equal(before, numbers(state))


def test_a_number_taken_from_the_inputs_behind_torchs_back_is_found_out():
    state = state_of(Counting())

    def scaled(x, rate):
        return updating(state)(x / float(abs(x.numpy()).sum()), rate)

    ready = Traced(state)
    assert ready(scaled, inputs()) is scaled
    assert ready.refusal == "it does not go by its inputs alone"


def test_a_layer_that_replaces_a_buffer_is_left_plain_and_gets_its_own_back():
    state = state_of(Counting(replaces=True))
    own, function = state.model.calls, updating(state)
    ready = Traced(state)
    assert ready(function, inputs()) is function
    assert ready.refusal
    assert state.model.calls is own
    assert own == 0


def test_after_a_refusal_nothing_is_tried_again():
    state = state_of(Counting())
    ready, calls = Traced(state), []

    def failing(x, rate):
        calls.append(x)
        raise ValueError("so it is\nand more")

    assert ready(failing, inputs()) is failing
    assert ready.refusal == "so it is"
    assert ready(failing, inputs()) is failing
    assert len(calls) == 1


def test_what_is_preserved_comes_back_after_an_error_too():
    state = state_of(Counting())
    before = numbers(state)

    def fails_late():
        with preserved(state):
            updating(state)(*inputs())
            assert not equal(before, numbers(state))
            raise KeyError

    with pytest.raises(KeyError):
        fails_late()
    assert equal(before, numbers(state))


def test_the_first_function_is_compiled_and_others_are_traced(monkeypatch, tmp_path):
    compiled = []

    def compile_(program, inputs, cache):
        compiled.append(cache)
        return program

    monkeypatch.setattr(making, "compiled", compile_)
    state = state_of(Counting())
    before, ready = numbers(state), Compiled(state, tmp_path)
    for rows in (4, 5, 4):
        assert isinstance(ready(updating(state), inputs(rows)), Program)
    assert compiled == [tmp_path]
    assert ready.failure == ready.refusal == ""
    assert equal(before, numbers(state))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_cuda_the_step_is_one_launch_with_the_same_numbers():
    ends = []
    for way in (lambda state: None, Traced):
        torch.manual_seed(0)
        state = state_of(Counting().cuda())
        state.slots = {"velocity": [each.cuda() for each in state.slots["velocity"]]}
        given = [[each.cuda() for each in inputs(4, rate)] for rate in (0.1, 0.2, 0.3)]
        step = updating(state)
        if ready := way(state):
            step = ready(step, given[0])
            assert ready.refusal == ""
            assert not isinstance(step, Program)
        ends.append([step(*each)[0].item() for each in given])
    assert ends[0] == ends[1]
