"""Ready for lanes: under vmap, models of unlike seeds and rates are their solo selves.

Every option of every group that a training step meets takes a turn on a small network; those that
cannot be stacked are named, with the reason.
"""

import copy
from functools import partial

import pytest
import torch
import yaml
from torch.func import functional_call, grad, vmap

from runner.assemble.initialize import initialize
from runner.assemble.model import named
from runner.assemble.settings import Settings
from runner.assemble.unit import brick
from runner.components.output import Output
from runner.compose import compose
from runner.config import build, check, maker
from runner.foundation import options, rng
from runner.training.state import State
from runner.training.step import Rules, objective, prepare

GROUPS = options.groups([options.own_folder()])
STACKED = ("activation", "averaging", "clipping", "dropout", "loss", "normalization", "optimizer",
           "output", "regularizer")  # fmt: skip
ALONE = {
    ("optimizer", "backtracking"): "its loop ends when the numbers say so",
    ("optimizer", "lbfgs"): "torch's own class, with a line search that looks at numbers",
    ("optimizer", "newton"): "needs the objective; its Hessian is taken of one model",
    ("normalization", "full_data"): "its statistics come from a pass of their own before the step",
}
CASES = [(group, option) for group in STACKED for option in GROUPS[group]
         if (group, option) not in ALONE]  # fmt: skip
NEEDS = {  # what an option needs beside itself
    ("loss", "bce_probabilities"): ["output=sigmoid"],
    ("output", "sigmoid"): ["loss=bce_probabilities"],
    ("output", "sine"): ["loss=bce_probabilities", "optimizer.lr=0.001"],
    ("dropout", "spatial"): ["architecture=cnn", "architecture.channels=[4,3]"],
    ("normalization", "instance"): ["architecture=cnn", "architecture.channels=[4,3]"],
    ("normalization", "group"): ["normalization.groups=3"],
    ("loss", "mse"): ["loss.one_hot=true"],
    ("loss", "l1"): ["loss.one_hot=true"],
    ("loss", "huber"): ["loss.one_hot=true"],
    ("averaging", "swa"): ["averaging.start=0steps", "averaging.every=1steps"],
}
BASE = compose(["normalization=batch", "regularizer=l2", "optimizer=momentum"]).config
LANES = [(0, 1.0), (1, 0.3), (5, 2.0)]  # seed, and what the option's own learning rate is times
STEPS, ROWS, OUTPUTS = 6, 24, 4


def settings(group, option):
    """Return the small run with this option, and what the option needs."""
    config = copy.deepcopy(BASE)
    config[group] = options.node(group, option)
    if (group, option) == ("regularizer", "jacobian") or group == "optimizer":
        # Samples must not see each other; and a bias in front of batch norm has no gradient but
        # rounding, whose sign some optimizers make much of.
        config["normalization"] = options.node("normalization", "layer")
    for need in NEEDS.get((group, option), []):
        key, _, value = need.partition("=")
        name, _, argument = key.partition(".")
        if argument:
            config[name][argument] = yaml.safe_load(value)
        else:
            config[name] = options.node(name, value)
    if "hidden" in config["architecture"]:
        config["architecture"]["hidden"] = [12, 9]
    return check(config, Settings)


def shape_of(given):
    return (1, 6, 6) if "channels" in given.architecture.arguments else (7,)


def columns(given):
    return 1 if "bce" in given.loss.factory.__name__ else OUTPUTS


def network(given, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unit = brick(
            maker(given.activation), build(given.normalization), maker(given.dropout), named
        )
        model = build(given.architecture, shape_of(given), columns(given), unit)
    output: Output = build(given.output)
    model = torch.nn.Sequential(model, output.make()).double()
    initialize(model, build(given.initializer), rng.generator(seed, "initialization"))
    model.eval()(torch.zeros(2, *shape_of(given), dtype=torch.float64))  # shapes of the masks
    return model.train()


def batch(given, seed, step):
    generator = rng.generator(seed, "order", step)
    x = torch.randn(ROWS, *shape_of(given), generator=generator, dtype=torch.float64)
    classes = 2 if columns(given) == 1 else OUTPUTS
    return 2 * x + 1, torch.randint(classes, (ROWS,), generator=generator)


def factor(step):
    return 0.5 + step / STEPS


def copied(tensors):
    return {name: each.detach().clone() for name, each in tensors}


def rules(given, lr_scale=1.0):
    regularizers = [build(each) for each in given.regularizer.values()]
    for each in regularizers:
        if hasattr(each.penalty, "draw"):
            each.penalty.outputs = columns(given)  # as the dry step shows it
    optimizer, averaging = build(given.optimizer), build(given.averaging, clock=CLOCK)
    lr = optimizer.hyper["lr"] * lr_scale
    return Rules(
        loss=maker(given.loss),
        penalties=[each.penalty for each in regularizers if each.penalty],
        decays=[each.decay for each in regularizers if each.decay],
        projections=[each.project for each in regularizers if each.project],
        clips=[maker(each) for each in given.clipping.values()],
        optimizer=optimizer._replace(hyper={**optimizer.hyper, "lr": lr}, in_place=None),
        averaging=averaging,
        population=torch.zeros(1),
        seed=0,
    ), averaging


class CLOCK:
    """Durations in these runs are whole steps."""

    @staticmethod
    def steps(duration):
        return int(duration.removesuffix("steps"))


def alone(given, seed, scale):
    """Return the losses of a solo run, and its parameters, buffers and averages at the end."""
    model, (obeyed, averaging) = network(given, seed), rules(given, scale)
    state = State(model, obeyed.optimizer.init(list(model.parameters())), {}, {})
    state.averages = averaging.init([each.detach() for each in model.parameters()])
    state.averaged_tensors = lambda: list(model.parameters())  # buffers go their own way here
    step = prepare(state, Rules(**{**vars(obeyed), "seed": seed}))
    losses = [step(*batch(given, seed, at), factor(at), False).loss for at in range(STEPS)]
    buffers = {name: each for name, each in model.named_buffers() if "noise" not in name}
    return torch.stack(losses), copied(model.named_parameters()), buffers, state.averages


def stacked(trees):
    """Stack equal trees of tensors on a leading axis."""
    first = trees[0]
    if isinstance(first, dict):
        return {name: stacked([each[name] for each in trees]) for name in first}
    if isinstance(first, list):
        return [stacked(list(each)) for each in zip(*trees, strict=True)]
    return torch.stack(trees)


def noise(model, penalties, seed, step):
    """Draw as the solo step does: modules first, then penalties, from one generator."""
    generator = rng.generator(seed, "dropout", step)
    for each in [*model.modules(), *penalties]:
        if hasattr(each, "draw"):
            each.draw(ROWS, generator)
    return (
        {name: each.clone() for name, each in model.named_buffers() if "noise" in name},
        [each.noise for each in penalties if hasattr(each, "draw")],
    )


def together(given):
    """Return what `alone` does, for all lanes at once, lanes first."""
    obeyed, averaging = rules(given)
    optimizer = obeyed.optimizer
    models = [network(given, seed) for seed, _ in LANES]
    skeleton = network(given, 99)  # lends its code, none of its numbers
    names = [name for name, _ in skeleton.named_parameters()]
    tensors = [[each.detach().clone() for each in model.parameters()] for model in models]
    parameters = stacked([copied(model.named_parameters()) for model in models])
    buffers = stacked([copied(model.named_buffers()) for model in models])
    slots = stacked([optimizer.init(each) for each in tensors])
    averages = stacked([averaging.init(each) for each in tensors])
    noisy = [each for each in obeyed.penalties if hasattr(each, "draw")]

    def minimized(parameters, buffers, masks, directions, x, y):
        fresh = {name: each.clone() for name, each in buffers.items()}
        for penalty, direction in zip(noisy, directions, strict=True):
            penalty.noise = direction

        def apply(own, x):
            return functional_call(skeleton, {**own, **fresh, **masks}, (x,))

        total, outcome = objective(apply, parameters, x, y, obeyed.loss, obeyed.penalties)
        return total, (outcome.loss, fresh)

    def advance(t, parameters, buffers, slots, averages, hyper, noises, x, y):
        gradients, (loss, fresh) = grad(minimized, has_aux=True)(parameters, buffers, *noises, x, y)
        own, direction = list(parameters.values()), [gradients[name] for name in names]
        for clip in obeyed.clips:
            direction = clip(direction, own)
        decayed = dict(parameters)
        for decay in obeyed.decays:
            decayed |= decay(decayed, hyper["lr"])
        own = list(decayed.values())
        updated, slots = optimizer.update(own, direction, slots, hyper, t)
        weights = dict(zip(names, updated, strict=True))
        for project in obeyed.projections:
            weights |= project(weights, hyper["lr"])
        if averages:
            averages = averaging.update(averages, list(weights.values()), t)
        return loss, weights, fresh, slots, averages

    losses = []
    for at in range(STEPS):
        batches = [batch(given, seed, at) for seed, _ in LANES]
        xs, ys = (torch.stack(each) for each in zip(*batches, strict=True))
        draws = stacked([
            list(noise(model, obeyed.penalties, seed, at))
            for model, (seed, _) in zip(models, LANES, strict=True)
        ])  # fmt: skip
        hyper = {name: torch.full((len(LANES),), value, dtype=torch.float64)
                 for name, value in optimizer.hyper.items()}  # fmt: skip
        scales = torch.tensor([scale for _, scale in LANES], dtype=torch.float64)
        hyper["lr"] = hyper["lr"] * scales * factor(at)
        loss_now, parameters, buffers, slots, averages = vmap(partial(advance, at + 1))(
            parameters, buffers, slots, averages, hyper, draws, xs, ys
        )
        losses.append(loss_now)
    return torch.stack(losses, 1), parameters, buffers, averages


def test_what_cannot_be_stacked_is_an_option():
    assert all(option in GROUPS[group] and reason for (group, option), reason in ALONE.items())
    assert len(CASES) >= 75


def close(ours, theirs, lane):
    """Compare a stacked tree with a solo one."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name, each in theirs.items():
            close(ours[name], each, lane)
    elif isinstance(theirs, list):
        for mine, each in zip(ours, theirs, strict=True):
            close(mine, each, lane)
    else:
        torch.testing.assert_close(ours[lane], theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("group", "option"), CASES, ids=["=".join(each) for each in CASES])
def test_lanes_are_their_solo_selves(group, option):
    given = settings(group, option)
    result = together(given)
    for lane, (seed, scale) in enumerate(LANES):
        solo = alone(given, seed, scale)
        for ours, theirs in zip(result, solo, strict=True):
            close(ours, theirs, lane)
