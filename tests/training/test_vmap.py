"""Ready for lanes: under vmap, models of unlike seeds and rates are their solo selves."""

from functools import partial

import pytest
import torch
from omegaconf import OmegaConf
from torch.func import functional_call, grad, vmap

from runner.assemble.initialize import initialize
from runner.assemble.settings import Settings
from runner.assemble.unit import brick
from runner.compose import compose
from runner.config import build, check, maker
from runner.foundation import rng
from runner.foundation.options import own_folder
from runner.training.state import State
from runner.training.step import objective, prepare

FOLDER = own_folder() / "optimizer"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
CHOICES = {"architecture": "mlp", "normalization": "batch", "regularizer": "l2"}
BASE = compose([f"{group}={option}" for group, option in CHOICES.items()]).config
LANES = [(0, 1.0), (1, 0.3), (5, 2.0)]  # seed, and what the option's own learning rate is times
STEPS, ROWS, INPUTS, OUTPUTS = 30, 24, (7,), 4


def settings(option, scale=1.0):
    optimizer = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    optimizer["lr"] = optimizer["lr"] * scale
    architecture = BASE["architecture"] | {"hidden": [12, 9]}
    return check(BASE | {"optimizer": optimizer, "architecture": architecture}, Settings)


def network(given, seed):
    unit = brick(maker(given.activation), maker(given.normalization), maker(given.dropout))
    model = build(given.architecture, INPUTS, OUTPUTS, unit).double()
    initialize(model, maker(given.initializer), rng.generator(seed, "initialization"))
    return model


def batch(seed, step):
    generator = rng.generator(seed, "order", step)
    x = torch.randn(ROWS, *INPUTS, generator=generator, dtype=torch.float64)
    return 2 * x + 1, torch.randint(OUTPUTS, (ROWS,), generator=generator)


def factor(step):
    return 0.5 + step / STEPS


def copied(tensors):
    return {name: each.detach().clone() for name, each in tensors}


def parts(given):
    return maker(given.loss), [maker(each) for each in given.regularizer.values()]


def alone(option, seed, scale):
    """Return the losses of a solo run, and its parameters, buffers and slots at the end."""
    given = settings(option, scale)
    model, optimizer, (loss, penalties) = network(given, seed), build(given.optimizer), parts(given)
    state = State(model, [optimizer.init(each.detach()) for each in model.parameters()], {}, {})
    step = prepare(
        state, loss=loss, penalties=penalties, clips=[], optimizer=optimizer, seed=seed,
        autocast=False,
    )  # fmt: skip
    losses = [step(*batch(seed, at), factor(at), False).loss for at in range(STEPS)]
    names = [name for name, _ in model.named_parameters()]
    slots = dict(zip(names, state.slots, strict=True))
    return torch.stack(losses), copied(model.named_parameters()), dict(model.named_buffers()), slots


def stacked(trees):
    """Stack equal mappings of tensors on a leading axis."""
    first = trees[0]
    if not isinstance(first, dict):
        return torch.stack(trees)
    return {name: stacked([each[name] for each in trees]) for name in first}


def together(option):
    """Return what `alone` does, for all lanes at once, lanes first."""
    given = settings(option)
    optimizer, (loss, penalties) = build(given.optimizer), parts(given)
    models = [network(given, seed) for seed, _ in LANES]
    skeleton = network(given, 99)  # lends its code, none of its numbers
    parameters = stacked([copied(model.named_parameters()) for model in models])
    buffers = stacked([copied(model.named_buffers()) for model in models])
    slots = stacked([
        {name: optimizer.init(each.detach()) for name, each in model.named_parameters()}
        for model in models
    ])  # fmt: skip

    def minimized(parameters, buffers, x, y):
        fresh = {name: each.clone() for name, each in buffers.items()}

        def apply(given, x):
            return functional_call(skeleton, {**given, **fresh}, (x,))

        total, outcome = objective(apply, parameters, x, y, loss, penalties)
        return total, (outcome.loss, fresh)

    def advance(t, parameters, buffers, slots, hyper, x, y):
        gradients, (loss, fresh) = grad(minimized, has_aux=True)(parameters, buffers, x, y)
        updated = {
            name: optimizer.update(each, gradients[name], slots[name], hyper, t)
            for name, each in parameters.items()
        }
        weights, remembered = ({name: pair[at] for name, pair in updated.items()} for at in (0, 1))
        return loss, weights, fresh, remembered

    losses = []
    for at in range(STEPS):
        batches = [batch(seed, at) for seed, _ in LANES]
        xs, ys = (torch.stack(each) for each in zip(*batches, strict=True))
        hyper = {name: torch.full((len(LANES),), value, dtype=torch.float64)
                 for name, value in optimizer.hyper.items()}  # fmt: skip
        scales = torch.tensor([scale for _, scale in LANES], dtype=torch.float64)
        hyper["lr"] = hyper["lr"] * scales * factor(at)
        loss_now, parameters, buffers, slots = vmap(partial(advance, at + 1))(
            parameters, buffers, slots, hyper, xs, ys
        )
        losses.append(loss_now)
    return torch.stack(losses, 1), parameters, buffers, slots


def test_optimizers_were_found():
    assert OPTIONS


@pytest.mark.parametrize("option", OPTIONS)
def test_stacked_models_are_their_solo_selves(option):
    solo = stacked([
        dict(enumerate(alone(option, seed, scale))) for seed, scale in LANES
    ])  # fmt: skip
    lanes = dict(enumerate(together(option)))
    assert solo[0].shape == (len(LANES), STEPS)
    assert len(solo[2]) == 4  # running mean and variance of two layers
    torch.testing.assert_close(lanes, solo, rtol=0, atol=1e-10)
    assert (solo[0][:, 0] - solo[0][:, -1]).abs().min() > 0.01  # it did train
    assert not torch.allclose(solo[0][0], solo[0][1])
