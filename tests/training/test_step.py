"""The training step: loss, gradient, clipping and update, each against the same done by hand."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from runner.components import clipping, loss, regularizer
from runner.components.averaging import Averaging, ema
from runner.components.dropout import Dropout
from runner.components.normalization.batchwise import full_data
from runner.components.optimizer import classical, moments, second_order
from runner.components.optimizer.torch_adapter import by_torch
from runner.foundation import rng
from runner.training.state import State
from runner.training.step import Rules, objective, prepare

RULES = {
    "sgd": partial(classical.sgd, lr=0.1),
    "momentum": partial(classical.momentum, lr=0.1, momentum=0.9, nesterov=False),
    "nesterov": partial(classical.momentum, lr=0.1, momentum=0.9, nesterov=True),
    "adam": partial(moments.adam, lr=0.01, betas=(0.9, 0.99), eps=1e-8),
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
    model = nn.Sequential(
        nn.Linear(4, 6), nn.Tanh(), Dropout(keep, "none", inverted=True), nn.Linear(6, 3)
    ).double()
    model.eval()(torch.zeros(2, 4).double())
    return model.train()


def batch(step: int = 0):
    generator = torch.Generator().manual_seed(100 + step)
    x = torch.rand(8, 4, generator=generator, dtype=torch.float64)
    return x, torch.randint(3, (8,), generator=generator)


def prepared(model, rule, *, averaging=None, seed=0, start=0, **given):
    state = State(model, rule.init(list(model.parameters())), {}, {}, step=start)
    average = averaging or Averaging(lambda tensors: {}, None, lambda t: False)
    state.averages = average.init(state.averaged_tensors())
    rules = {"loss": partial(loss.cross_entropy, eps=0.0, alpha=0.0), "penalties": [],
             "decays": [], "projections": [], "clips": [], "population": batch()[0]}  # fmt: skip
    return state, prepare(
        state, Rules(optimizer=rule, averaging=average, seed=seed, **rules | given)
    )


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
    rule = rule if fused else rule._replace(in_place=None)
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
    _, step = prepared(model, rule if fused else rule._replace(in_place=None))
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
    penalty = regularizer.l2(strength=0.3, over="weights").penalty
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
    tensors = [*model.parameters(), *(each for slot in state.slots.values() for each in slot)]
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

        penalty = regularizer.l2(strength=0.1, over="weights").penalty
        return objective(
            apply, parameters, x, y, partial(loss.cross_entropy, eps=0.0, alpha=0.0), [penalty]
        )[0]

    stacked = {name: torch.stack([each[name] for each in sets]) for name in sets[0]}
    close(torch.vmap(total)(stacked), [total(each) for each in sets])


def test_autocast_runs_the_forward_pass_in_bfloat16():
    model = nn.Linear(4, 3)
    state, step = prepared(model, RULES["sgd"](), autocast=True)
    x, y = batch()
    outcome = step(x.float(), y, 1.0, True)
    assert outcome.outputs.dtype is torch.bfloat16
    assert {each.dtype for each in model.parameters()} == {torch.float32}
    assert state.gradient_norm.dtype is torch.float32


@pytest.mark.parametrize("parts", [2, 3, 8, 20])
def test_a_batch_run_in_parts_gives_the_same_update(parts):
    whole, cut = network(), network()
    for model, accumulate in ((whole, 1), (cut, parts)):
        state, step = prepared(model, RULES["momentum"](), accumulate=accumulate)
        outcomes = [step(*batch(at), 1.0, True) for at in range(3)]
        if accumulate == 1:
            expected, norm = outcomes, state.gradient_norm
    close(cut.parameters(), whole.parameters())
    close([state.gradient_norm], [norm])
    for ours, theirs in zip(outcomes, expected, strict=True):
        close(ours, theirs)


def test_parts_draw_noise_of_their_own():
    model = network(keep=0.5)
    _, step = prepared(model, RULES["sgd"](), accumulate=2)
    x, y = batch()
    outputs = step(torch.cat([x[:4], x[:4]]), torch.cat([y[:4], y[:4]]), 1.0, False).outputs
    assert not torch.equal(outputs[:4], outputs[4:])


def test_projections_come_after_the_update_in_turn():
    model, twin = network(), network()
    shrink = regularizer.proximal_l1(strength=0.5, over="all").project
    bound = regularizer.max_norm(limit=0.1).project
    _, step = prepared(model, RULES["sgd"](), projections=[shrink, bound])
    _, plain = prepared(twin, RULES["sgd"]())
    step(*batch(), 0.5, False)
    plain(*batch(), 0.5, False)
    expected = []
    for parameter in twin.parameters():
        shrunk = parameter.detach().sign() * (parameter.detach().abs() - 0.1 * 0.5 * 0.5).clamp(0)
        if shrunk.dim() > 1:
            shrunk = shrunk * (0.1 / shrunk.norm(dim=1, keepdim=True)).clamp(max=1)
        expected.append(shrunk)
    close(model.parameters(), expected)


def test_adam_with_decoupled_decay_is_adamw():
    model, twin = network(), network()
    decay = regularizer.weight_decay(strength=0.3, over="all").decay
    _, step = prepared(model, RULES["adam"](), decays=[decay])
    other = torch.optim.AdamW(twin.parameters(), lr=0.01, betas=(0.9, 0.99), weight_decay=0.3)
    for at in range(10):
        x, y = batch(at)
        step(x, y, 1.0, False)
        twin[2].draw(len(x), rng.generator(9, "any"))
        other.zero_grad()
        F.cross_entropy(twin(x), y).backward()
        other.step()
    close(model.parameters(), twin.parameters())


def test_averages_follow_the_weights_and_change_nothing_else():
    model, twin = network(), network()
    state, step = prepared(model, RULES["sgd"](), averaging=ema(decay=0.6))
    _, plain = prepared(twin, RULES["sgd"]())
    seen = []
    for at in range(4):
        step(*batch(at), 1.0, False)
        plain(*batch(at), 1.0, False)
        seen.append([each.detach().clone() for each in twin.parameters()])
    close(model.parameters(), twin.parameters())
    shares = [0.4 * 0.6 ** (3 - k) / (1 - 0.6**4) for k in range(4)]
    expected = [sum(s * each[at] for s, each in zip(shares, seen, strict=True)) for at in range(4)]
    close(state.averages["mean"], expected)


def test_newton_on_least_squares_is_there_in_one_step():
    torch.manual_seed(0)
    model = nn.Linear(4, 2).double()
    x, _ = batch()
    y = torch.randn(8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    rule = second_order.newton(lr=1.0, damping=0.0)
    state, step = prepared(model, rule, loss=partial(loss.mse, one_hot=False))
    step(x, y, 1.0, True)
    design = torch.cat([x, torch.ones(8, 1).double()], 1)
    solution = torch.linalg.lstsq(design, y).solution
    close([model.weight, model.bias], [solution[:4].T, solution[4]])
    assert state.gradient_norm > 0.01
    step(x, y, 1.0, True)
    assert state.gradient_norm < 1e-12


def test_an_objective_holds_the_noise_of_its_step():
    """A line search compares values; with fresh masks for each it would compare noise."""
    model, values = network(keep=0.5), []

    def update(parameters, minimized, slots, hyper, t):
        values.extend(float(minimized(list(parameters))) for _ in range(2))
        values.append(float(minimized([each * 1.0 for each in parameters])))
        return list(parameters), slots

    rule = RULES["sgd"]()._replace(needs="objective", update=update, in_place=None)
    _, step = prepared(model, rule)
    step(*batch(), 1.0, False)
    step(*batch(), 1.0, False)
    assert values[0] == values[1] == values[2]
    assert values[0] != values[3]


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.LBFGS])
def test_a_class_of_torch_by_target_is_torch(kind):
    model, twin = network(), network()
    given = {"lr": 0.1, **({"max_iter": 3} if kind is torch.optim.LBFGS else {})}
    _, step = prepared(model, by_torch(partial(kind, **given), given))
    other = kind(twin.parameters(), **given)
    for at in range(5):
        x, y = batch(at)
        step(x, y, 1.0, False)
        twin[2].draw(len(x), rng.generator(9, "any"))

        def total(x=x, y=y):
            other.zero_grad()
            value = F.cross_entropy(twin(x), y)
            value.backward()
            return value

        other.step(total)
    close(model.parameters(), twin.parameters())


def test_layers_that_go_by_all_the_data_see_it_before_each_step():
    everything = torch.rand(30, 4, generator=torch.Generator().manual_seed(5)).double()
    norm = full_data(affine=False, eps=1e-5, position="before", layers="all")
    layer = nn.Linear(4, 6).double()
    hidden = Dropout(0.5, "none", inverted=True)
    model = nn.Sequential(layer, norm.make(layer).double(), hidden, nn.Linear(6, 3).double())
    model.eval()(everything)
    model.train()
    _, step = prepared(model, RULES["sgd"](), population=everything)
    for _ in range(2):
        expected = layer(everything).mean(0)
        step(*batch(), 1.0, False)
        torch.testing.assert_close(model[1].mean, expected)
        assert model[1].training
        assert hidden.training
        assert not model[1].collecting
