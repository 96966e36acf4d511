"""Penalties and projections against numpy and torch, at every option of `conf/regularizer`."""

from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn, optim
from torch.func import functional_call, vmap

from runner.components.regularizer import Regularizer
from runner.config import Node, build, check
from runner.foundation.options import own_folder

FOLDER = own_folder() / "regularizer"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("regularizer", dict[str, Node])], kw_only=True)
X = torch.linspace(-1, 1, 27, dtype=torch.float64).reshape(3, 1, 3, 3)
LR = 0.3


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    content = {name: each | changes for name, each in content.items()}
    (checked,) = check({"regularizer": content}, SCHEMA).regularizer.values()
    return checked


def model(seed=0):
    """Return a network whose biases and norm scales are far from 0."""
    network = nn.Sequential(
        nn.Conv2d(1, 3, 2), nn.GroupNorm(1, 3), nn.Tanh(), nn.Flatten(), nn.Linear(12, 4)
    ).double()
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        nn.init.uniform_(parameter, -1.5, 1.5, generator=generator)
    return network


def arrays(network, on):
    """Return weights, or every parameter, as numpy arrays."""
    return [each.detach().numpy() for each in network.parameters() if on == "all" or each.dim() > 1]


def gram_distance(weight):
    matrix = weight.reshape(len(weight), -1)
    matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    return np.square(matrix @ matrix.T - np.eye(len(matrix))).sum()


def jacobian_norm(network):
    """Return the mean squared Frobenius norm, sample by sample."""
    one = [torch.autograd.functional.jacobian(network, x[None])[0, :, 0] for x in X]
    return float(torch.stack(one).square().sum() / len(X))


PENALTIES = {  # from a network and what `over` says
    "l2": lambda n, on: 1e-4 * sum((w**2).sum() for w in arrays(n, on)),
    "l1": lambda n, on: 1e-5 * sum(np.abs(w).sum() for w in arrays(n, on)),
    "elastic": lambda n, on: sum(1e-5 * np.abs(w).sum() + 1e-4 * (w**2).sum()
                                 for w in arrays(n, on)),
    "lp_norm": lambda n, on: 1e-3 * np.linalg.norm(
        np.concatenate([w.ravel() for w in arrays(n, on)])),
    "orthonormal": lambda n, on: 1e-3 * sum(map(gram_distance, arrays(n, on))),
    "jacobian": lambda n, on: 1e-3 * jacobian_norm(n),
}  # fmt: skip
PROJECTIONS = {  # of one array
    "weight_decay": lambda w: w - LR * 1e-2 * w,
    "proximal_l1": lambda w: np.sign(w) * np.maximum(np.abs(w) - LR * 1e-3, 0),
    "max_norm": lambda w: np.stack([row * min(1, 3.0 / np.linalg.norm(row)) for row in w]),
    "binary": lambda w: 0.99 * w + 0.01 * np.abs(w).mean() * np.sign(w),
}
BOTH = [option for option in OPTIONS if option != "none" and "over" in node(option).arguments]


def penalized(network, made: Regularizer):
    def apply(parameters, x):
        return functional_call(network, dict(parameters), (x,))

    total = made.penalty(apply, dict(network.named_parameters()), X)
    assert total.shape == ()
    return total


def changed(made, parameters, lr):
    """Let a rule change parameters, before or after the update."""
    return (made.decay or made.project)(parameters, lr)


def test_every_option_has_a_reference():
    assert OPTIONS
    assert {*PENALTIES, *PROJECTIONS, "none"} == set(OPTIONS)
    assert not set(PENALTIES) & set(PROJECTIONS)


def cases(table):
    return [(option, on) for option in table for on in ("weights", "all")
            if on == "weights" or option in BOTH]  # fmt: skip


def changes(option, on):
    exact = {"projections": "exact"} if option == "jacobian" else {}
    return exact | ({"over": on} if option in BOTH else {})


@pytest.mark.parametrize(("option", "on"), cases(PENALTIES))
def test_a_penalty_is_the_formula_in_numpy(option, on):
    made = build(node(option, **changes(option, on)))
    assert made.project is None
    expected = PENALTIES[option](model(), on)
    assert float(penalized(model(), made).detach()) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("option", "on"), cases(PROJECTIONS))
def test_a_projection_is_the_formula_in_numpy(option, on):
    made, network = build(node(option, **changes(option, on))), model()
    assert made.penalty is None
    assert (made.decay is None) is not (made.project is None)
    before = {name: each.detach().clone() for name, each in network.named_parameters()}
    projected = changed(made, dict(network.named_parameters()), LR)
    wanted = {name for name, each in before.items() if on == "all" or each.dim() > 1}
    assert projected.keys() == wanted
    for name, each in projected.items():
        np.testing.assert_allclose(
            each.detach().numpy(), PROJECTIONS[option](before[name].numpy()), rtol=1e-12
        )
    for name, each in network.named_parameters():
        assert torch.equal(each, before[name])


def test_the_gradient_of_l2_is_that_of_weight_decay_on_weights_alone():
    ours, theirs = model(), model()
    (penalized(ours, build(node("l2", strength=0.1)))).backward()
    optim.SGD(ours.parameters(), lr=LR).step()
    weights = [each for each in theirs.parameters() if each.dim() > 1]
    for each in theirs.parameters():
        each.grad = torch.zeros_like(each)
    optim.SGD(weights, lr=LR, weight_decay=0.2).step()
    for mine, reference in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-14)


def test_decoupled_decay_is_that_of_adamw():
    network = model()
    weights = [each for each in network.parameters() if each.dim() > 1]
    made = build(node("weight_decay"))
    projected = made.decay(dict(network.named_parameters()), LR)
    for each in weights:
        each.grad = torch.zeros_like(each)
    optim.AdamW(weights, lr=LR, weight_decay=1e-2).step()
    for mine, reference in zip(projected.values(), weights, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-12, atol=1e-14)


def test_projected_jacobian_has_the_mean_of_the_exact_one():
    network = model()
    exact = float(penalized(network, build(node("jacobian", projections="exact"))).detach())
    made = build(node("jacobian"))
    penalized(network, made)  # shows it the number of outputs
    drawn, generator = [], torch.Generator().manual_seed(0)
    for _ in range(600):
        made.penalty.draw(len(X), generator)
        drawn.append(float(penalized(network, made).detach()))
    spread = np.std(drawn) / len(drawn) ** 0.5
    assert spread < 0.05 * exact
    assert np.mean(drawn) == pytest.approx(exact, abs=4 * spread)
    made.penalty.draw(len(X), torch.Generator().manual_seed(5))
    assert float(penalized(network, made).detach()) == float(penalized(network, made).detach())


def test_a_jacobian_penalty_can_be_descended():
    network, made = model(), build(node("jacobian", projections="exact", strength=1.0))
    before = penalized(network, made)
    before.backward()
    with torch.no_grad():
        for each in network.parameters():
            if each.grad is not None:  # the last bias moves no derivative
                each.sub_(1e-3 * each.grad)
    assert penalized(network, made) < before


def test_repeated_proximal_steps_give_exact_zeros_and_a_subgradient_does_not():
    network = model()
    made = build(node("proximal_l1", strength=0.5))
    for _ in range(5):
        for name, each in made.project(dict(network.named_parameters()), LR).items():
            network.get_parameter(name).data = each.detach()
    assert 0 < (network[0].weight == 0).double().mean() < 1


@pytest.mark.parametrize("p", [1.0, 3.0, 50.0, 400.0])
def test_lp_norm_of_high_powers_neither_vanishes_nor_overflows(p):
    for scale in (1e-3, 1e3):
        network = model()
        for each in network.parameters():
            each.data *= scale
        total = penalized(network, build(node("lp_norm", p=p, strength=1.0)))
        flat = np.concatenate([w.ravel() for w in arrays(network, "weights")]).astype(np.longdouble)
        expected = (np.abs(flat) ** p).sum() ** (1 / np.longdouble(p))
        assert float(total.detach()) == pytest.approx(float(expected), rel=1e-9)
        gradient = torch.autograd.grad(total, network[0].weight)[0]
        reference = np.sign(flat) * (np.abs(flat) / expected) ** (p - 1)
        np.testing.assert_allclose(
            gradient.flatten().numpy(), reference[: gradient.numel()].astype(float), rtol=1e-8,
            atol=1e-300,
        )  # fmt: skip


def test_lp_norm_of_zeros_has_a_finite_gradient():
    network = model()
    for each in network.parameters():
        nn.init.zeros_(each)
    penalized(network, build(node("lp_norm"))).backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in network.parameters())


@pytest.mark.parametrize("option", [option for option in OPTIONS if option != "none"])
def test_lanes_with_strengths_of_their_own_are_their_solo_selves(option):
    given = node(option, **changes(option, "weights"))
    name = next(key for key in ("strength", "limit", "pull", "l1") if key in given.arguments)
    numbers = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)
    networks, skeleton = [model(seed) for seed in range(3)], model(9)

    def of(parameters, number):
        made = given.factory(**given.arguments | {name: number})
        if made.penalty is None:
            return changed(made, parameters, LR)
        return made.penalty(lambda own, x: functional_call(skeleton, own, (x,)), parameters, X)

    each = [{key: p.detach() for key, p in network.named_parameters()} for network in networks]
    stacked = {key: torch.stack([one[key] for one in each]) for key in each[0]}
    together = vmap(of)(stacked, numbers)
    for lane in range(3):
        alone = of(each[lane], float(numbers[lane]))
        ours = together[lane] if isinstance(alone, torch.Tensor) else {
            key: value[lane] for key, value in together.items()}  # fmt: skip
        torch.testing.assert_close(ours, alone, rtol=1e-10, atol=1e-12)
