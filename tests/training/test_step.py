"""The training step: loss, gradient, clipping and update, each against the same done by hand."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from runner.components import clipping, loss, optimizer, regularizer
from runner.components.dropout import Inverted
from runner.foundation import rng
from runner.training.state import State
from runner.training.step import objective, prepare

RULES = {
    "sgd": partial(optimizer.sgd, lr=0.1),
    "momentum": partial(optimizer.momentum, lr=0.1, momentum=0.9, nesterov=False),
    "nesterov": partial(optimizer.momentum, lr=0.1, momentum=0.9, nesterov=True),
    "adam": partial(optimizer.adam, lr=0.01, betas=(0.9, 0.99), eps=1e-8),
}
TORCH = {
    "sgd": partial(torch.optim.SGD, lr=0.1),
    "momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "nesterov": partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    "adam": partial(torch.optim.Adam, lr=0.01, betas=(0.9, 0.99), eps=1e-8),
}


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(keep: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), Inverted(keep), nn.Linear(6, 3)).double()
    model.eval()(torch.zeros(2, 4).double())
    return model.train()


def batch(step: int = 0):
    generator = torch.Generator().manual_seed(100 + step)
    x = torch.rand(8, 4, generator=generator, dtype=torch.float64)
    return x, torch.randint(3, (8,), generator=generator)


def prepared(model, rule, *, penalties=(), clips=(), seed=0, start=0):
    state = State(model, [rule.init(each.detach()) for each in model.parameters()], {}, {}, start)
    step = prepare(state, loss=loss.cross_entropy, penalties=penalties, clips=clips,
                   optimizer=rule, seed=seed, autocast=False)  # fmt: skip
    return state, step


def gradients(model, x, y, penalty=lambda model: 0.0):
    total = F.cross_entropy(model(x), y) + penalty(model)
    return torch.autograd.grad(total, list(model.parameters()))


def close(a, b):
    for left, right in zip(a, b, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)


def descended(model, gradients, lr):
    pairs = zip(model.parameters(), gradients, strict=True)
    return [parameter.detach() - lr * gradient for parameter, gradient in pairs]


@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_one_update_is_minus_lr_times_the_gradient(factor):
    model, by_hand = network(), network()
    state, step = prepared(model, RULES["sgd"]())
    x, y = batch()
    outcome = step(x, y, factor, True)
    outputs = by_hand[3](by_hand[1](by_hand[0](x)))
    wanted = torch.autograd.grad(F.cross_entropy(outputs, y), list(by_hand.parameters()))
    close(model.parameters(), descended(by_hand, wanted, 0.1 * factor))
    close([outcome.loss, outcome.outputs], [F.cross_entropy(outputs, y), outputs])
    close([state.gradient_norm], [torch.cat([g.flatten() for g in wanted]).norm()])
    assert outcome.targets is y
    assert not outcome.loss.requires_grad
    assert not outcome.outputs.requires_grad
    assert state.step == 1


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", RULES)
def test_twenty_updates_are_those_of_torch(name, fused):
    model, twin = network(), network()
    rule = RULES[name]()
    rule = rule if fused else rule._replace(fused=None)
    state, step = prepared(model, rule)
    other = TORCH[name](twin.parameters())
    for at in range(20):
        x, y = batch(at)
        step(x, y, 1.0, False)
        twin[2].draw(len(x), rng.generator(9, "any"))
        other.zero_grad()
        F.cross_entropy(twin(x), y).backward()
        other.step()
    close(model.parameters(), twin.parameters())
    assert state.step == 20
    assert state.gradient_norm is None


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", RULES)
def test_a_convolution_is_updated_like_any_other_layer(name, fused):
    """`autograd.grad` may give its gradient channels last, which a fused kernel would misread."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten())
    model.append(nn.Linear(5 * 4 * 4, 3))
    twin = copy.deepcopy(model)
    rule = RULES[name]()
    _, step = prepared(model, rule if fused else rule._replace(fused=None))
    other = TORCH[name](twin.parameters())
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(8, 3, 8, 8, generator=generator), torch.arange(8) % 3
    for layout in (torch.contiguous_format, torch.channels_last):
        given = x.to(memory_format=layout)
        step(given, y, 1.0, False)
        other.zero_grad()
        F.cross_entropy(twin(given), y).backward()
        other.step()
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_a_penalty_joins_the_objective_but_not_the_logged_loss():
    model, twin = network(), network()
    penalty = partial(regularizer.l2, strength=0.3)
    _, step = prepared(model, RULES["sgd"](), penalties=[penalty, penalty])
    x, y = batch()
    outcome = step(x, y, 1.0, False)
    twin[2].draw(len(x), rng.generator(9, "any"))
    wanted = gradients(
        twin, x, y, lambda model: 0.6 * sum(model[at].weight.square().sum() for at in (0, 3))
    )
    close(model.parameters(), descended(twin, wanted, 0.1))
    close([outcome.loss], [F.cross_entropy(twin(x), y)])


def test_a_penalty_may_run_the_model_with_other_parameters():
    model = network()
    seen = []

    def penalty(apply, parameters, x):
        zeros = {name: torch.zeros_like(tensor) for name, tensor in parameters.items()}
        seen.append((apply(zeros, x).abs().sum().item(), apply(parameters, x).abs().sum().item()))
        return torch.zeros(())

    _, step = prepared(model, RULES["sgd"](), penalties=[penalty])
    step(*batch(), 1.0, False)
    assert seen[0][0] == 0 < seen[0][1]


def test_clips_are_applied_in_turn_and_the_norm_is_that_before_them():
    model, twin = network(), network()
    clips = [partial(clipping.value, limit=0.05), partial(clipping.norm, limit=0.02)]
    state, step = prepared(model, RULES["sgd"](), clips=clips)
    x, y = batch()
    step(x, y, 1.0, True)
    twin[2].draw(len(x), rng.generator(9, "any"))
    twin.zero_grad()
    F.cross_entropy(twin(x), y).backward()
    before = torch.cat([each.grad.flatten() for each in twin.parameters()]).norm()
    nn.utils.clip_grad_value_(twin.parameters(), 0.05)
    nn.utils.clip_grad_norm_(twin.parameters(), 0.02)
    assert before > 0.05
    close([state.gradient_norm], [before])
    with torch.no_grad():
        close(model.parameters(), [w - 0.1 * w.grad for w in twin.parameters()])


def test_without_measure_no_norm_is_left():
    state, step = prepared(network(), RULES["sgd"]())
    step(*batch(), 1.0, False)
    assert state.gradient_norm is None


@pytest.mark.parametrize("name", RULES)
def test_tensors_keep_their_storage(name):
    model = network()
    state, step = prepared(model, RULES[name]())
    tensors = [*model.parameters(), *(each for slot in state.slots for each in slot.values())]
    before = [(each.data_ptr(), each.detach().clone()) for each in tensors]
    step(*batch(), 1.0, False)
    for tensor, (place, value) in zip(tensors, before, strict=True):
        assert tensor.data_ptr() == place
        assert not torch.equal(tensor, value)


def after(seed: int, start: int) -> torch.Tensor:
    model = network(keep=0.5)
    _, step = prepared(model, RULES["sgd"](), seed=seed, start=start)
    return step(*batch(), 1.0, False).outputs


def test_noise_is_a_function_of_seed_and_step():
    assert torch.equal(after(0, 0), after(0, 0))
    torch.manual_seed(77)
    assert torch.equal(after(0, 5), after(0, 5))
    assert not torch.equal(after(0, 0), after(1, 0))
    assert not torch.equal(after(0, 0), after(0, 1))


def test_the_global_generator_is_left_alone():
    _, step = prepared(network(keep=0.5), RULES["adam"]())
    before = torch.random.get_rng_state()
    step(*batch(), 1.0, True)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_objective_of_one_is_that_of_stacked_models():
    """The function is pure: `vmap` over two sets of parameters gives what each gives alone."""
    model = network().eval()
    x, y = batch()
    sets = [{name: each.detach() * scale for name, each in model.named_parameters()}
            for scale in (1.0, 2.0)]  # fmt: skip

    def total(parameters):
        def apply(given, x):
            return torch.func.functional_call(model, given, (x,))

        penalty = partial(regularizer.l2, strength=0.1)
        return objective(apply, parameters, x, y, loss.cross_entropy, [penalty])[0]

    stacked = {name: torch.stack([each[name] for each in sets]) for name in sets[0]}
    close(torch.vmap(total)(stacked), [total(each) for each in sets])


def test_autocast_runs_the_forward_pass_in_bfloat16():
    model = nn.Linear(4, 3)
    state = State(model, [{}, {}], {}, {})
    step = prepare(state, loss=loss.cross_entropy, penalties=[], clips=[],
                   optimizer=RULES["sgd"](), seed=0, autocast=True)  # fmt: skip
    x, y = batch()
    outcome = step(x.float(), y, 1.0, True)
    assert outcome.outputs.dtype is torch.bfloat16
    assert {each.dtype for each in model.parameters()} == {torch.float32}
    assert state.gradient_norm.dtype is torch.float32
