"""A simplified record: fewer kernels, the same numbers, whatever is written to and used again."""

import pytest
import torch

from runner.training.tracing import trace

START = torch.arange(6.0).reshape(2, 3)
RATE = torch.tensor([0.5, 2.0], dtype=torch.float64)


def kernels(program):
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


def moved(weight, x):
    new = weight - 0.1 * x
    weight.copy_(new)
    return []


def moved_and_returned(weight, x):
    new = x + 1
    weight.copy_(new)
    return [new]


def moved_and_used_after_another_write(weight, x):
    new = x + 1
    weight.copy_(new)
    weight.copy_(weight * 10)
    return [new * 1]


def read_between(weight, x):
    new = weight + x
    before = weight * 2
    weight.copy_(new)
    return [before]


def through_another_view(weight, x):
    new = x + weight.flip(0)
    weight.copy_(new)
    return []


def through_a_transposed_alias(weight, x):
    new = x[:, :2] + weight[:, :2].T
    weight[:, :2].copy_(new)
    return []


def cast(weight, x):
    weight.copy_(x.double() * 3)
    return []


def momentum(weight, x):
    velocity = 0.9 * weight + x
    step = velocity * 0.1
    weight.copy_(velocity)
    return [step]


CASES = {  # functions, and whether a copy is left
    moved: False,
    momentum: False,
    moved_and_returned: True,
    moved_and_used_after_another_write: True,
    read_between: True,
    through_another_view: None,
    through_a_transposed_alias: True,
    cast: True,
}


@pytest.mark.parametrize("function", CASES, ids=lambda each: each.__name__)
def test_what_is_written_in_place_changes_nothing(function):
    weight, twin = START.clone(), START.clone()
    x = torch.full((2, 3), 0.3)
    program = trace(lambda given: function(weight, given), [x])
    weight.copy_(START)
    results = []
    for _ in range(3):
        results.append([list(program(x)), function(twin, x)])
        assert torch.equal(weight, twin)
    for ours, theirs in results:  # kept, as a window keeps outputs
        assert len(ours) == len(theirs)
        assert all(map(torch.equal, ours, theirs))
    if CASES[function] is not None:
        assert ("aten.copy_.default" in kernels(program)) == CASES[function]


def test_what_is_computed_twice_is_computed_once():
    def function(x):
        first = x * RATE.to(torch.float32).view(2, 1)
        second = x + RATE.to(torch.float32).view(2, 1)
        return [first, second]

    program = trace(function, [START])
    assert kernels(program).count("aten._to_copy.default") == 1
    assert all(map(torch.equal, program(START), function(START)))


def test_what_is_written_in_between_is_computed_twice():
    count = torch.zeros(3)

    def function(x):
        first = count * 2
        count.add_(x)
        return [first, count * 2]

    program = trace(function, [torch.ones(3)])
    count.zero_()
    assert [each.tolist() for each in program(torch.ones(3))] == [[0.0] * 3, [2.0] * 3]


def test_a_factor_of_one_goes_unless_it_changes_the_type():
    def function(x):
        return [
            torch.ops.aten.mul.Scalar(x.exp(), 1),
            torch.ops.aten.mul.Scalar(x.long().abs(), 1.0),
        ]

    program = trace(function, [START])
    assert kernels(program).count("aten.mul.Scalar") == 1
    assert [each.dtype for each in program(START)] == [torch.float32, torch.float32]
