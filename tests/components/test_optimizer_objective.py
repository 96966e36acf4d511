"""Optimizers that take the objective itself, and the classes of torch.optim by target."""

import io
from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn, optim

from runner.components.optimizer.second_order import LIMIT, curvature
from runner.components.optimizer.torch_adapter import by_torch
from runner.config import Node, build, check, maker
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "optimizer"
SCHEMA = make_dataclass("Schema", [("optimizer", Node)], kw_only=True)
SOLO = ["backtracking", "lbfgs", "newton"]


@pytest.fixture(autouse=True)
def one_thread():
    """Keep tensors this small from waiting for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def checked(content):
    return check({"optimizer": content}, SCHEMA).optimizer


def node(option, **changes):
    return checked(OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml")) | changes)


def adapted(name, **arguments):
    made = checked({"_target_": f"torch.optim.{name}", **arguments})
    return by_torch(maker(made), made.arguments)


def start(seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(4, 3), (4,), (2, 4)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def network(parameters):
    """Return the loss of a small tanh network, smooth and not convex."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(20, 2, generator=generator, dtype=torch.float64)
    into, bias, out = parameters
    return (torch.tanh(x @ into.T + bias) @ out.T - y).square().mean()


def bowl(parameters):
    """Return a convex quadratic whose minimum is at 1 everywhere, its condition 1000."""
    flat = torch.cat([each.reshape(-1) for each in parameters]) - 1
    mixed = flat + flat.roll(1) / 3
    return mixed.square() @ torch.logspace(0, 3, len(flat), dtype=flat.dtype)


def plane(parameters):
    return sum(each.sum() for each in parameters)


def factor(step):
    return [1.0, 0.5, 2.0, 0.125][step % 4]


def followed(optimizer, objective, steps, factors=lambda step: 1.0):
    parameters, slots = start(), optimizer.init([each.requires_grad_() for each in start()])
    for step in range(steps):
        hyper = {**optimizer.hyper, "lr": optimizer.hyper["lr"] * factors(step)}
        parameters, slots = optimizer.update(parameters, objective, slots, hyper, step + 1)
    return parameters


def in_place(optimizer, objective, steps, factors=lambda step: 1.0):
    parameters = [each.requires_grad_() for each in start()]
    slots = optimizer.init(parameters)
    for step in range(steps):
        hyper = {**optimizer.hyper, "lr": optimizer.hyper["lr"] * factors(step)}
        optimizer.in_place(parameters, objective, slots, hyper, step + 1)
    assert all(each.grad is None for each in parameters)
    return [each.detach() for each in parameters]


def by_closure(reference, parameters, steps, lr, factors):
    """Take steps of torch's own, as its manual writes them."""

    def closure():
        reference.zero_grad()
        total = network(parameters)
        total.backward()
        return total

    for step in range(steps):
        reference.param_groups[0]["lr"] = lr * factors(step)
        reference.step(closure)
    return [each.detach() for each in parameters]


def assert_close(ours, theirs, tolerance=1e-10):
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("option", SOLO)
def test_update_changes_nothing_it_is_given(option):
    optimizer = build(node(option))
    assert optimizer.needs == "objective"
    parameters, before = start(), start()
    slots = optimizer.init([each.requires_grad_() for each in start()])
    with torch.no_grad():  # as the training step calls it
        updated, _ = optimizer.update(parameters, network, slots, optimizer.hyper, 1)
    assert_close(parameters, before, 0)
    assert not any(each.requires_grad for each in [*parameters, *updated])
    assert all(not torch.equal(new, old) for new, old in zip(updated, before, strict=True))
    assert network(updated) < network(before)
    if isinstance(slots, optim.Optimizer):
        assert not slots.state
        assert_close([each.detach() for each in slots.param_groups[0]["params"]], before, 0)


@pytest.mark.parametrize("changes", [{}, {"history": 3, "lr": 0.5}, {"iterations": 4}])
def test_lbfgs_is_torchs_over_many_steps(changes):
    given = node("lbfgs", **changes)
    parameters = [each.requires_grad_() for each in start()]
    reference = optim.LBFGS(
        parameters, lr=given.arguments["lr"], history_size=given.arguments["history"],
        max_iter=given.arguments["iterations"], line_search_fn="strong_wolfe",
    )  # fmt: skip
    theirs = by_closure(reference, parameters, 50, given.arguments["lr"], factor)
    assert network(theirs) < 0.5 * network(start())
    assert_close(in_place(build(given), network, 50, factor), theirs)
    assert_close(followed(build(given), network, 50, factor), theirs)


def test_newton_needs_one_step_on_a_quadratic():
    optimizer = build(node("newton", damping=0.0))
    assert_close(followed(optimizer, bowl, 1), [torch.ones_like(each) for each in start()])


def end_to_end(objective, parameters):
    """Return gradient and Hessian as torch computes them, of one vector."""
    shapes = [each.shape for each in parameters]

    def of_vector(vector):
        parts = vector.split([shape.numel() for shape in shapes])
        return objective([part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])

    vector = torch.cat([each.reshape(-1) for each in parameters]).requires_grad_()
    (gradient,) = torch.autograd.grad(of_vector(vector), vector)
    return gradient, torch.autograd.functional.hessian(of_vector, vector)


def test_curvature_is_that_of_torch():
    for ours, theirs in zip(curvature(start(), network), end_to_end(network, start()), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_curvature_of_a_plane_is_zero():
    gradient, hessian = curvature(start(), plane)
    assert torch.equal(gradient, torch.ones_like(gradient))
    assert not hessian.any()


def test_newton_step_solves_the_damped_system():
    damping, lr = 0.5, 0.25
    gradient, hessian = curvature(start(), network)
    system = hessian.numpy() + damping * torch.eye(len(hessian)).numpy()
    step = torch.as_tensor(np.linalg.solve(system, gradient.numpy()))
    ours = followed(build(node("newton", lr=lr, damping=damping)), network, 1)
    moved = torch.cat([(old - new).reshape(-1) for old, new in zip(start(), ours, strict=True)])
    torch.testing.assert_close(moved, lr * step, rtol=1e-9, atol=1e-12)


def test_curvature_goes_through_layers_that_keep_statistics():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3),
    ).double()  # fmt: skip
    x, y = torch.randn(12, 1, 6, 6, dtype=torch.float64), torch.randint(3, (12,))
    names = [name for name, _ in model.named_parameters()]

    def objective(given):
        outputs = torch.func.functional_call(model, dict(zip(names, given, strict=True)), (x,))
        return nn.functional.cross_entropy(outputs, y)

    parameters = [each.detach() for each in model.parameters()]
    pairs = zip(curvature(parameters, objective), end_to_end(objective, parameters), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_newton_refuses_what_it_cannot_solve():
    optimizer = build(node("newton"))
    assert optimizer.init([torch.zeros(LIMIT)]) == {}
    with pytest.raises(ValueError, match=r"one equation for each of 4,001 parameters.*lbfgs"):
        optimizer.init([torch.zeros(LIMIT), torch.zeros(1)])


@pytest.mark.parametrize("objective", [network, bowl])
def test_backtracking_takes_the_longest_step_that_falls_enough(objective):
    optimizer = build(node("backtracking", lr=4.0, shrink=0.3, decrease=0.2))
    parameters, sizes = start(), []
    for t in range(20):
        tracked = [each.clone().requires_grad_() for each in parameters]
        value = objective(tracked)
        slopes = torch.autograd.grad(value, tracked)
        slope = sum(each.square().sum() for each in slopes)

        def moved(size, parameters=parameters, slopes=slopes):
            return [w - size * g for w, g in zip(parameters, slopes, strict=True)]

        candidates = [4.0 * 0.3**k for k in range(40)]
        enough = [objective(moved(s)) - value <= -0.2 * s * slope for s in candidates]
        sizes.append(candidates[enough.index(True)])
        parameters, _ = optimizer.update(parameters, objective, {}, optimizer.hyper, t + 1)
        assert_close(parameters, moved(sizes[-1]))
    assert len(set(sizes)) > 1


def test_backtracking_stays_where_nothing_falls():
    minimum = [torch.ones_like(each) for each in start()]
    optimizer = build(node("backtracking", tries=3))
    assert_close(optimizer.update(minimum, bowl, {}, optimizer.hyper, 1)[0], minimum, 0)
    far = start()  # three tries from 1 on are not short enough in a bowl this steep
    assert_close(optimizer.update(far, bowl, {}, optimizer.hyper, 1)[0], far, 0)


def test_backtracking_shrinks_until_the_objective_is_a_number():
    optimizer = build(node("backtracking", lr=1e3))

    def fenced(parameters):
        return bowl(parameters) - (16 - parameters[1].square().sum()).log()

    parameters = followed(optimizer, fenced, 5)
    assert fenced(parameters).isfinite()
    assert fenced(parameters) < fenced(start())


CLASSES = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("Adam", {"amsgrad": True}),
    ("Adamax", {}),
    ("ASGD", {}),
    ("Adafactor", {}),
    ("LBFGS", {"max_iter": 4}),
    ("LBFGS", {"lr": 0.3, "max_iter": 4, "line_search_fn": "strong_wolfe"}),
]


@pytest.mark.parametrize(("name", "arguments"), CLASSES)
def test_a_class_of_torch_by_target_is_that_class(name, arguments):
    parameters = [each.requires_grad_() for each in start()]
    reference = getattr(optim, name)(parameters, **arguments)
    lr = reference.param_groups[0]["lr"]
    theirs = by_closure(reference, parameters, 20, lr, factor)
    optimizer = adapted(name, **arguments)
    assert optimizer.hyper == {"lr": lr}
    assert optimizer.needs == ("objective" if name == "LBFGS" else "gradient")
    assert optimizer.full_batch == (name == "LBFGS")

    given = [each.requires_grad_() for each in start()]
    slots, pure, kept = optimizer.init(given), start(), optimizer.init(given)
    for step in range(20):
        hyper = {"lr": lr * factor(step)}
        direction, sight = (network, network) if name == "LBFGS" else map(slopes, (given, pure))
        optimizer.in_place(given, direction, slots, hyper, step + 1)
        pure, kept = optimizer.update(pure, sight, kept, hyper, step + 1)
    assert_close([each.detach() for each in given], theirs)
    assert_close(pure, theirs)
    assert all((old - new).abs().max() > 1e-3 for old, new in zip(start(), pure, strict=True))


def slopes(parameters):
    tracked = [each.detach().clone().requires_grad_() for each in parameters]
    return torch.autograd.grad(network(tracked), tracked)


@pytest.mark.parametrize(("name", "arguments"), CLASSES)
def test_what_torch_remembers_survives_a_file_that_holds_no_code(name, arguments):
    optimizer = adapted(name, **arguments)
    given = [each.requires_grad_() for each in start()]
    slots = optimizer.init(given)

    def step(tensors, slots, t):
        direction = network if name == "LBFGS" else slopes(tensors)
        optimizer.in_place(tensors, direction, slots, {"lr": optimizer.hyper["lr"]}, t)

    for t in range(1, 4):
        step(given, slots, t)
    file = io.BytesIO()
    torch.save(slots.state_dict(), file)
    file.seek(0)
    again = [each.detach().clone().requires_grad_() for each in given]
    restored = optimizer.init(again)
    restored.load_state_dict(torch.load(file, weights_only=True))
    for t in range(4, 7):
        step(given, slots, t)
        step(again, restored, t)
    assert all(torch.equal(one, other) for one, other in zip(given, again, strict=True))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Adam", {"betas": [0.9]}, r"cannot be made with betas=\[0.9\]: list index out of range"),
        ("Adam", {"betas": [0.9, 1.0]}, "Invalid beta parameter at index 1: 1.0"),
        ("Rprop", {"etas": [1.2, 0.5]}, "Invalid eta values: 1.2, 0.5"),
        ("SGD", {"nesterov": True}, "Nesterov momentum requires a momentum"),
        ("SparseAdam", {}, "takes sparse gradients alone; use optimizer=adam"),
        ("lr_scheduler.StepLR", {"optimizer": None, "step_size": 1}, "it cannot be made with"),
    ],
)
def test_arguments_a_class_refuses_are_heard_of_before_there_is_a_model(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        adapted(name, **arguments)


def test_a_class_that_is_no_optimizer_is_refused():
    with pytest.raises(ValueError, match="ParameterList is no optimizer with an lr"):
        by_torch(nn.ParameterList, {})


def test_an_argument_that_torch_does_not_have_is_refused():
    with pytest.raises(Misconfigured, match=r"optimizer\.lrr: unknown key; did you mean"):
        adapted("Adamax", lrr=1.0)
