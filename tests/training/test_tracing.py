"""Records of functions: the same bits, fewer kernels, and a refusal where a record would lie."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from runner.training.tracing import Untraceable, trace

WEIGHT = nn.Parameter(torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
BUFFER = torch.zeros(3)
TABLE = torch.arange(12.0).reshape(4, 3)


def random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def kernels(program):
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


def gradient(x):
    loss = F.linear(x, WEIGHT).relu().square().mean()
    return torch.autograd.grad(loss, [WEIGHT])


def second_derivative(x):
    slope = torch.autograd.grad(F.linear(x, WEIGHT).pow(3).sum(), [WEIGHT], create_graph=True)[0]
    return torch.autograd.grad(slope.square().sum(), [WEIGHT])


def through_vjp(x):
    outputs, pull = torch.func.vjp(lambda given: F.linear(given, WEIGHT).tanh(), x)
    return outputs, pull(torch.ones_like(outputs))[0]


def in_place(x):
    y = x.clone()
    y[:, 0].mul_(2)
    return (y.add_(1),)


def cast(x):
    with torch.autocast("cpu", torch.bfloat16):
        return (F.linear(x, WEIGHT),)


FUNCTIONS = {
    "a gradient": gradient,
    "a gradient of a gradient": second_derivative,
    "a transformed function": through_vjp,
    "writing into a view": in_place,
    "autocast": cast,
    "normalization": lambda x: (F.layer_norm(x, (3,)), F.batch_norm(x, None, None, training=True)),
    "several results": lambda x: torch.sort(x, 0),
    "a list of results": lambda x: x.split(2),
    "a fixed tensor given back": lambda x: (TABLE, x),
    "an input given back": lambda x: (x, x + 1),
    "rows by number": lambda x: (TABLE[torch.tensor([2, 0])] * x[:2],),
    "constants": lambda x: (x * torch.arange(3) + torch.ones(3) / 7, torch.eye(3)),
    "infinity": lambda x: (x.clamp(max=float("inf")), torch.where(x > 0, x, float("nan"))),
    "types": lambda x: (x.double(), (x > 0).long()),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
@pytest.mark.parametrize("hoist", [True, False])
def test_a_record_does_the_same(function, hoist):
    program = trace(function, [random(4, 3)], hoist)
    for other in (random(4, 3), 2 * random(4, 3)):
        given, expected = program(other.clone()), function(other.clone())
        assert len(given) == len(expected)
        for one, two in zip(given, expected, strict=True):
            torch.testing.assert_close(one, two.detach(), rtol=0, atol=0, equal_nan=True)
            assert one.stride() == two.stride()


def test_what_is_reached_is_held_by_reference():
    def count(x):
        BUFFER.add_(x.sum(0))
        return (BUFFER * 1,)

    program = trace(count, [random(4, 3)])
    BUFFER.zero_()
    program(torch.ones(4, 3))
    (seen,) = program(torch.ones(4, 3))
    assert seen.tolist() == BUFFER.tolist() == [8, 8, 8]


def test_a_view_that_lasts_follows_its_tensor():
    def product(x):
        return (x @ WEIGHT.t().t().t(),)

    program = trace(product, [random(2, 3)])
    assert kernels(program) == ["aten.mm.default"]
    with torch.no_grad():
        WEIGHT.mul_(3)
    torch.testing.assert_close(program(random(2, 3))[0], random(2, 3) @ WEIGHT.detach().T)


def test_kernels_that_nobody_needs_are_left_out():
    def wasteful(x):
        x.exp()
        scale = torch.ones_like(x) / 2 + torch.zeros(3)
        return (x * scale,)

    program = trace(wasteful, [random(4, 3)])
    assert kernels(program) == ["aten.mul.Tensor"]
    assert torch.equal(program(random(4, 3))[0], wasteful(random(4, 3))[0])


def test_a_filled_tensor_that_is_written_into_is_filled_anew():
    def cumulated(x):
        total = torch.zeros(3)
        for row in x:
            total += row
        return (total,)

    program = trace(cumulated, [random(4, 3)])
    first = program(random(4, 3))[0].clone()
    assert torch.equal(program(random(4, 3))[0], first)


def test_running_statistics_are_kept_though_nobody_says_so():
    mean, var = torch.zeros(3), torch.ones(3)

    def normalized(x):
        F.batch_norm(x, mean, var, training=True)
        return (x + 1,)

    program = trace(normalized, [random(4, 3)])
    before = mean.clone()
    program(random(4, 3))
    assert not torch.equal(mean, before)


REFUSED = {
    "a branch": (lambda x: (x if x.sum() > 0 else -x,), "looks at a number"),
    "a number": (lambda x: (x * float(x.max()),), "looks at a number"),
    "a selection": (lambda x: (x[x > 0],), "of a size that depends on numbers"),
    "a draw": (lambda x: (F.dropout(x, 0.5),), "draws random numbers of its own"),
}


@pytest.mark.parametrize(("function", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_record_that_would_lie_is_refused(function, reason):
    with pytest.raises(Untraceable, match=reason):
        trace(function, [random(4, 3)])
