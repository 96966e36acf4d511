"""Normalizations against `torch.nn` and numpy, at every option of `conf/normalization`."""

from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.func import functional_call, vmap

from runner.components.normalization import Normalization
from runner.components.normalization.batchwise import populating, populations
from runner.config import Node, build, check
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "normalization"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("normalization", Node)], kw_only=True)
WIDTH, GROUPS = 8, 4
LAYERS = {
    "linear": (lambda: nn.Linear(3, WIDTH), (16, WIDTH)),
    "tokens": (lambda: nn.Linear(3, WIDTH), (4, 5, WIDTH)),
    "signal": (lambda: nn.Conv1d(3, WIDTH, 3), (16, WIDTH, 7)),
    "convolution": (lambda: nn.Conv2d(3, WIDTH, 3), (16, WIDTH, 5, 4)),
}
BATCH_NORMS = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}
REFUSED = {("instance", "linear"), ("instance", "tokens")}  # a single number each
CASES = [(option, kind) for option in OPTIONS for kind in LAYERS if (option, kind) not in REFUSED]
CHANGES = {"group": {"groups": GROUPS}}
STATEFUL = {"batch", "batch_whitening", "full_data"}


class Scaled(nn.Module):
    """A function of (B, D, ...), with one scale and shift for each feature behind it."""

    def __init__(self, function, shift=True):
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.ones(WIDTH, dtype=torch.float64))
        if shift:
            self.bias = nn.Parameter(torch.zeros(WIDTH, dtype=torch.float64))

    def forward(self, x):
        column = (-1, *[1] * (x.dim() - 2))
        shift = self.bias.reshape(column) if hasattr(self, "bias") else 0
        return self.function(x) * self.weight.reshape(column) + shift


class TorchWhitening(Scaled):
    """Iterative normalization with an eigendecomposition: the same polynomial of eigenvalues."""

    def __init__(self, iterations=5, momentum=0.1, eps=1e-5):
        super().__init__(self.whitened)
        self.iterations, self.momentum, self.eps = iterations, momentum, eps
        self.register_buffer("running_mean", torch.zeros(WIDTH, dtype=torch.float64))
        self.register_buffer("running_root", torch.eye(WIDTH, dtype=torch.float64))

    def whitened(self, x):
        rows = x.movedim(1, -1)
        mean, root = self.running_mean, self.running_root
        if self.training:
            mean = rows.reshape(-1, WIDTH).mean(0)
            covariance = torch.cov(rows.reshape(-1, WIDTH).T, correction=0)
            values, vectors = torch.linalg.eigh(covariance + self.eps * torch.eye(WIDTH))
            power = torch.ones_like(values)
            for _ in range(self.iterations):
                power = (3 * power - power**3 * values / values.sum()) / 2
            root = vectors @ torch.diag(power / values.sum().sqrt()) @ vectors.T
            self.running_mean = torch.lerp(self.running_mean, mean.detach(), self.momentum)
            self.running_root = torch.lerp(self.running_root, root.detach(), self.momentum)
        return ((rows - mean) @ root).movedim(-1, 1)


def stored(x):
    """Full data before any collection: mean 0 and variance 1."""
    return x / np.sqrt(1 + 1e-5)


# (dimensions, of B D ...) -> reference with parameters weight and bias; shapes with features last
# are moved, and tokens made rows, before it sees them.
REFERENCES = {
    "none": lambda dimensions: nn.Identity(),
    "weight": lambda dimensions: nn.Identity(),
    "batch": lambda dimensions: BATCH_NORMS[dimensions](WIDTH, eps=1e-5, momentum=0.1),
    "batch_whitening": lambda dimensions: TorchWhitening(),
    "full_data": lambda dimensions: Scaled(stored),
    "layer": lambda dimensions: Scaled(
        lambda x: nn.functional.layer_norm(x, x.shape[1:], eps=1e-5)),
    "group": lambda dimensions: nn.GroupNorm(GROUPS, WIDTH, eps=1e-5),
    "instance": lambda dimensions: {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d}[dimensions](
        WIDTH, eps=1e-5, affine=True),
    "rms": lambda dimensions: Scaled(
        lambda x: nn.functional.rms_norm(x, x.shape[1:], eps=1e-5), shift=False),
}  # fmt: skip
# The formula: over which axes of (B, D, ...) a value is standardized in training.
AXES = {
    "batch": lambda axes: (0, *axes[2:]),
    "layer": lambda axes: axes[1:],
    "instance": lambda axes: axes[2:],
}


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"normalization": content | changes}, SCHEMA).normalization


def made(option, layer, **changes):
    """Return the module that the option puts behind a layer, in float64."""
    return build(node(option, **CHANGES.get(option, {}) | changes)).make(layer).double()


def uneven(module, seed=5):
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(module.named_parameters()):
        assert name in ("weight", "bias")
        nn.init.uniform_(parameter, 0.5, 2.0, generator=generator)
    return module


def pair(option, kind):
    """Return our module and the reference with the same, uneven scale and shift."""
    layer, shape = LAYERS[kind]
    dimensions = 2 if kind == "tokens" else len(shape)
    return uneven(made(option, layer())), uneven(REFERENCES[option](dimensions).double()), shape


def inputs(shape, seed, flat=False):
    generator = torch.Generator().manual_seed(seed)
    features = torch.arange(1.0, WIDTH + 1)
    if not flat:
        features = features.reshape(-1, *[1] * (len(shape) - 2))
    return 3 * features + features * torch.randn(shape, generator=generator, dtype=torch.float64)


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize(("option", "kind"), CASES)
def test_training_evaluation_gradients_and_running_statistics_are_those_of_torch(option, kind):
    ours, theirs, shape = pair(option, kind)
    assert dict(ours.named_parameters()).keys() == dict(theirs.named_parameters()).keys()
    for step in range(6):
        gradients = []
        for module in (ours, theirs):
            module.train(step % 4 != 3)  # every fourth pass is an evaluation
            x = inputs(shape, step, flat=kind == "tokens").requires_grad_()
            rows = x.flatten(0, -2) if module is theirs and kind == "tokens" else x
            outputs = module(rows).reshape(x.shape)
            gradients.append([outputs, *torch.autograd.grad(
                outputs.pow(3).sum(), [x, *dict(sorted(module.named_parameters())).values()]
            )])  # fmt: skip
        for mine, reference in zip(*gradients, strict=True):
            torch.testing.assert_close(mine, reference, rtol=1e-8, atol=1e-8)
        expected = dict(theirs.named_buffers())
        expected.pop("num_batches_tracked", None)
        if option != "full_data":
            assert dict(ours.named_buffers()).keys() == expected.keys()
        for name, buffer in expected.items():
            torch.testing.assert_close(ours.get_buffer(name), buffer, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("option", AXES)
@pytest.mark.parametrize("kind", ["linear", "signal", "convolution"])
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_training_is_the_formula(option, kind, eps):
    if (option, kind) in REFUSED:
        return
    layer, shape = LAYERS[kind]
    x = inputs(shape, 0).numpy()
    over = AXES[option](tuple(range(x.ndim)))
    mean, variance = x.mean(over, keepdims=True), x.var(over, keepdims=True)
    outputs = made(option, layer(), eps=eps)(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(outputs, (x - mean) / np.sqrt(variance + eps), atol=1e-10)


def test_rms_subtracts_nothing():
    x = inputs((6, WIDTH), 0).numpy()
    outputs = made("rms", nn.Linear(3, WIDTH), eps=0.2)(torch.from_numpy(x)).detach().numpy()
    expected = x / np.sqrt((x**2).mean(1, keepdims=True) + 0.2)
    np.testing.assert_allclose(outputs, expected, rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.1, 0.9, 1.0])
def test_running_statistics_of_batch_norm_are_the_recursion_of_its_docstring(momentum):
    layer, shape = LAYERS["convolution"]
    module = made("batch", layer(), momentum=momentum)
    mean, variance = np.zeros(WIDTH), np.ones(WIDTH)
    for step in range(5):
        x = inputs(shape, step)
        module(x)
        values = x.numpy().transpose(1, 0, 2, 3).reshape(WIDTH, -1)
        mean = (1 - momentum) * mean + momentum * values.mean(1)
        variance = (1 - momentum) * variance + momentum * values.var(1, ddof=1)
    np.testing.assert_allclose(module.running_mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(module.running_var.numpy(), variance, rtol=1e-12)


@pytest.mark.parametrize("option", sorted(STATEFUL))
def test_without_affine_nothing_is_learned(option):
    layer, shape = LAYERS["linear"]
    bare, full = (made(option, layer(), affine=affine) for affine in (False, True))
    assert not list(bare.parameters())
    assert sum(each.numel() for each in full.parameters()) == 2 * WIDTH
    torch.testing.assert_close(bare(inputs(shape, 0)), full(inputs(shape, 0)))


# Population statistics: what serves at test, taken anew after training.


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_population_statistics_are_the_means_over_all_minibatches(kind):
    layer, shape = LAYERS[kind]
    module = made("batch", layer(), inference="population")
    batches = [inputs(shape, seed) for seed in range(6)]
    module(inputs(shape, 99))  # training left other averages behind
    module.eval()
    with populating(populations(module)), torch.no_grad():
        for x in batches:
            module(x)
    values = [x.numpy().swapaxes(0, 1).reshape(WIDTH, -1) for x in batches]
    m = values[0].shape[1]
    mean = np.mean([each.mean(1) for each in values], axis=0)
    variance = m / (m - 1) * np.mean([each.var(1) for each in values], axis=0)
    np.testing.assert_allclose(module.running_mean.numpy(), mean, rtol=1e-12)
    np.testing.assert_allclose(module.running_var.numpy(), variance, rtol=1e-12)
    assert not module.training
    assert not module._forward_pre_hooks
    outputs = module(batches[0])
    expected = nn.functional.batch_norm(
        batches[0], torch.from_numpy(mean), torch.from_numpy(variance), eps=module.eps
    )
    torch.testing.assert_close(outputs, expected)


def test_only_norms_that_ask_for_population_statistics_are_found():
    running, population = (
        made("batch", nn.Linear(2, WIDTH), inference=inference)
        for inference in ("running", "population")
    )
    theirs, whitening = nn.BatchNorm1d(3), made("batch_whitening", nn.Linear(2, WIDTH))
    silent = nn.BatchNorm1d(3, track_running_stats=False)
    model = nn.Sequential(running, nn.ReLU(), population, theirs, whitening, silent)
    assert populations(model) == [population]
    assert populations(model, every=True) == [running, population, theirs, whitening]


def test_torchs_own_norms_and_whitening_are_taken_anew_too():
    shape = LAYERS["convolution"][1]
    batches = [inputs(shape, seed) for seed in range(4)]
    ours, theirs = made("batch", nn.Conv2d(3, WIDTH, 3)), nn.BatchNorm2d(WIDTH).double()
    whitening = made("batch_whitening", nn.Conv2d(3, WIDTH, 3), momentum=1.0)
    for norm in (ours, theirs, whitening):
        with populating([norm]), torch.no_grad():
            for x in batches:
                norm(x)
    torch.testing.assert_close(theirs.running_mean, ours.running_mean)
    torch.testing.assert_close(theirs.running_var, ours.running_var)
    alone = made("batch_whitening", nn.Conv2d(3, WIDTH, 3), momentum=1.0)
    roots = []
    for x in batches:
        alone(x)  # with momentum 1 the running root is the batch's own
        roots.append(alone.running_root.clone())
    torch.testing.assert_close(whitening.running_root, torch.stack(roots).mean(0))


def test_layers_behind_see_the_batch_statistics_of_those_before():
    first, second = (made("batch", nn.Linear(2, WIDTH), inference="population") for _ in range(2))
    model, x = nn.Sequential(first, second).eval(), inputs((16, WIDTH), 0)
    with populating(populations(model)), torch.no_grad():
        model(x)
    hidden = nn.functional.batch_norm(x, None, None, training=True, eps=first.eps)
    torch.testing.assert_close(second.running_var, hidden.var(0), rtol=1e-10, atol=0)


# Full data


@pytest.mark.parametrize("kind", LAYERS)
def test_full_data_stores_while_collecting_and_uses_it_ever_after(kind):
    layer, shape = LAYERS[kind]
    module, flat = made("full_data", layer(), eps=1e-3), kind in ("linear", "tokens")
    everything, x = inputs((40, *shape[1:]), 0, kind == "tokens"), inputs(shape, 1, flat)
    assert module.collecting is False
    module.collecting = True
    collected = module(everything)
    module.collecting = False
    axis = -1 if flat else 1
    values = everything.movedim(axis, 0).reshape(WIDTH, -1).numpy()
    np.testing.assert_allclose(module.mean.numpy(), values.mean(1), rtol=1e-12)
    np.testing.assert_allclose(module.var.numpy(), values.var(1), rtol=1e-12)
    outputs = module(x)
    assert not torch.equal(outputs, x)
    torch.testing.assert_close(module.eval()(x), outputs)
    torch.testing.assert_close(module(everything), collected)


# Whitening


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_many_iterations_whiten_as_an_eigendecomposition_does(kind):
    layer, shape = LAYERS[kind]
    shape = (64, *shape[1:])
    mixing = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(1)).double()
    x = (inputs(shape, 0).movedim(1, -1) @ mixing).movedim(-1, 1)
    outputs = made("batch_whitening", layer(), iterations=40)(x).detach()
    rows = x.movedim(1, -1).reshape(-1, WIDTH).numpy()
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True) + 1e-5 * np.eye(WIDTH))
    zca = vectors @ np.diag(values**-0.5) @ vectors.T
    mine = outputs.movedim(1, -1).reshape(-1, WIDTH).numpy()
    np.testing.assert_allclose(mine, (rows - rows.mean(0)) @ zca, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.cov(mine.T, bias=True), np.eye(WIDTH), atol=1e-3)


def test_few_iterations_stay_finite_where_the_batch_is_smaller_than_the_layer_is_wide():
    x = inputs((5, WIDTH), 0).requires_grad_()
    outputs = made("batch_whitening", nn.Linear(3, WIDTH))(x)
    (gradient,) = torch.autograd.grad(outputs.square().sum(), x)
    assert outputs.isfinite().all()
    assert gradient.isfinite().all()
    with pytest.raises(ValueError, match="two samples or more"):
        made("batch_whitening", nn.Linear(3, WIDTH))(x[:1])


# Weight normalization


@pytest.mark.parametrize("kind", LAYERS)
def test_weight_normalization_learns_length_and_direction(kind):
    layer = LAYERS[kind][0]().double()
    weight = layer.weight.detach().clone()
    made("weight", layer)
    torch.testing.assert_close(layer.weight, weight)
    length, direction = layer.parametrizations.weight.parameters()
    expected = weight.flatten(1).norm(dim=1)
    torch.testing.assert_close(length.detach().flatten(), expected)
    with torch.no_grad():
        length.mul_(2)
        direction.mul_(7)
    torch.testing.assert_close(layer.weight, 2 * weight)
    (gradient,) = torch.autograd.grad(layer.weight.pow(3).sum(), direction)
    inner = (gradient * direction).flatten(1).sum(1)  # no pull along the direction itself
    torch.testing.assert_close(inner, torch.zeros_like(inner), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("option", "kind"), CASES)
def test_half_precision_comes_close_and_stays_half(option, kind):
    make, shape = LAYERS[kind]
    module, x = made(option, make()).float(), inputs(shape, 0, kind == "tokens").float()
    expected = module(x)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = module(x.bfloat16())
    assert outputs.dtype is torch.bfloat16
    if option != "batch_whitening":  # it multiplies what rounding took away
        torch.testing.assert_close(outputs.float(), expected, rtol=0.05, atol=0.1)
    assert outputs.isfinite().all()


# Many models at once


@pytest.mark.parametrize(("option", "kind"), [each for each in CASES if each[1] != "signal"])
@pytest.mark.parametrize("training", [True, False])
def test_stacked_models_are_their_solo_selves(option, kind, training):
    make, shape = LAYERS[kind]
    flat = kind in ("linear", "tokens")
    models = []
    for seed in range(3):
        torch.manual_seed(seed)
        layer = make().double()
        norm = made(option, layer)
        if option != "weight":
            uneven(norm, seed)
        models.append(nn.Sequential(layer, norm).train(training))
        if option == "full_data":
            norm.collecting = training
    size = (*shape[:-1], 3) if flat else (shape[0], 3, *(side + 2 for side in shape[2:]))
    xs = torch.randn(len(models), *size, dtype=torch.float64)

    def state(model):
        parameters = {name: each.detach().clone() for name, each in model.named_parameters()}
        return parameters, {name: each.clone() for name, each in model.named_buffers()}

    def call(parameters, buffers, x):
        fresh = {name: each.clone() for name, each in buffers.items()}
        return functional_call(models[0], {**parameters, **fresh}, (x,)), fresh

    stacked = [
        {name: torch.stack([each[name] for each in trees]) for name in trees[0]}
        for trees in zip(*map(state, models), strict=True)
    ]
    outputs, buffers = vmap(call)(*stacked, xs)
    for at, model in enumerate(models):
        torch.testing.assert_close(outputs[at], model(xs[at]), rtol=0, atol=1e-10)
        for name, buffer in model.named_buffers():
            torch.testing.assert_close(buffers[name][at], buffer, rtol=0, atol=1e-10)


# What is refused


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_has_a_place_and_makes_modules_that_are_never_shared(option):
    normalization = build(node(option, **CHANGES.get(option, {}), layers=[1, 2]))
    assert isinstance(normalization, Normalization)
    assert normalization.layers == [1, 2]
    assert normalization.position == "before"
    make = LAYERS["convolution"][0]
    assert normalization.make(make()) is not normalization.make(make())


@pytest.mark.parametrize("option", sorted(set(OPTIONS) - {"none"}))
def test_a_layer_without_a_width_is_refused(option):
    with pytest.raises(ValueError, match="cannot normalize behind a Flatten"):
        made(option, nn.Flatten())


@pytest.mark.parametrize(
    ("option", "changes", "layer", "message"),
    [
        ("group", {"groups": 3}, nn.Conv2d(3, 32, 3), "may be 1, 2, 4, 8, 16, 32$"),
        ("group", {"groups": 3}, nn.Linear(3, 8), "3 groups do not divide 8 .* may be 1, 2, 4$"),
        ("group", {"groups": 8}, nn.Linear(3, 8), "the output would be constant 0"),
        ("instance", {}, nn.Linear(3, 8), "the output would be constant 0"),
        ("layer", {}, nn.Linear(3, 1), "the output would be constant 0"),
    ],
)
def test_constant_outputs_are_refused(option, changes, layer, message):
    with pytest.raises(ValueError, match=message):
        made(option, layer, **changes)


def test_images_of_a_single_pixel_are_refused_where_each_channel_is_on_its_own():
    with pytest.raises(ValueError, match="the output would be constant 0"):
        made("instance", nn.Conv2d(3, WIDTH, 1))(torch.ones(2, WIDTH, 1, 1).double())


@pytest.mark.parametrize(
    ("option", "changes", "message"),
    [
        ("group", {"groups": 0}, "a whole number >= 1"),
        ("batch", {"momentum": 2.0}, r"in \(0, 1\]"),
        ("batch", {"inference": "populaton"}, "population"),
        ("batch", {"position": "behind"}, "before, after"),
        ("batch", {"layers": [-1]}, "whole number >= 0"),
        ("batch", {"eps": 0.0}, "> 0"),
        ("weight", {"position": "after"}, "stands nowhere"),
    ],
)
def test_settings_are_checked(option, changes, message):
    with pytest.raises(Misconfigured, match=message):
        build(node(option, **changes))
