"""Architectures against a forward pass written by hand, at every option of `conf/architecture`."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import make_dataclass
from itertools import pairwise
from math import prod
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from scipy.signal import correlate
from scipy.special import expit, softmax
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from runner.components.architecture.residual import Residual
from runner.config import Node, build, check
from runner.foundation import vision
from runner.foundation.errors import Misconfigured
from runner.foundation.options import own_folder

FOLDER = own_folder() / "architecture"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("architecture", Node)], kw_only=True)
IMAGE, SIGNAL, TABLE, OUTPUTS = (2, 9, 8), (3, 20), (7,), 5


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"architecture": content | changes}, SCHEMA).architecture


def rectified(layer, activation=None):
    """The unit of these tests: relu, unless the architecture wants none."""
    if activation == "identity":
        return nn.Sequential(layer)
    named = {None: nn.ReLU(), "relu": nn.ReLU(), "tanh": nn.Tanh(), "sigmoid": nn.Sigmoid()}
    return nn.Sequential(layer, named[activation])


def model_of(case, unit=rectified, seed=0):
    """Build a model and give every parameter a value of its own, so that none hides."""
    torch.manual_seed(seed)
    model = build(node(case.option, **case.changes), case.inputs, OUTPUTS, unit).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.4)
    return model.eval()


def samples(case, count=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, *case.inputs)))


# --- what the models compute, in numpy: `take()` gives the next parameter --------------------


def affine(x, weight, bias=0.0):
    return x @ weight.T + bias


def relu(x):
    return np.maximum(x, 0)


def linear(x, take, model, changes):
    return affine(x.reshape(len(x), -1), take(), take())


def perceptron(x, take, model, changes):
    x = x.reshape(len(x), -1)
    bias = take if changes.get("bias", True) else lambda: 0.0
    functions = {None: relu, "relu": relu, "tanh": np.tanh, "sigmoid": expit}
    for name in changes.get("activations") or [None] * len(changes["hidden"]):
        x = functions[name](affine(x, take(), bias()))
    return affine(x, take(), bias())


def one_map(x, take, model, changes):
    """The layers multiplied out: one matrix and one shift."""
    whole, shift = np.eye(prod(x.shape[1:])), 0.0
    for _ in range(len(changes["hidden"]) + 1):
        weight, bias = take(), take()
        whole, shift = weight @ whole, weight @ shift + bias if np.ndim(shift) else bias
    return affine(x.reshape(len(x), -1), whole, shift)


def residual_perceptron(x, take, model, changes):
    x = x.reshape(len(x), -1)
    widths = [x.shape[1], *changes["hidden"]]
    last = np.tanh if changes.get("activations") else lambda z: z
    for before, after in zip(widths[0::2], widths[2::2], strict=False):
        branch = last(affine(relu(affine(x, take(), take())), take(), take()))
        x = branch + (x if before == after else affine(x, take()))
    return affine(x, take(), take())


def convolved(x, weight, bias=0.0, stride=1, padding=None):
    """Correlate (B, C, ...) with every kernel, zeros around each map."""
    sides = weight.shape[2:]
    around = [(0, 0)] + [(side // 2 if padding is None else padding,) * 2 for side in sides]
    maps = [[correlate(np.pad(each, around), kernel, mode="valid")[0] for kernel in weight]
            for each in x]  # fmt: skip
    skipped = np.array(maps)[(..., *[slice(None, None, stride)] * len(sides))]
    return skipped + np.reshape(bias, (-1, *[1] * len(sides)))


def pooled(x, size):
    """Return the largest value of each block of (B, C, ...), leaving out what is over."""
    for axis in range(2, x.ndim):
        count = x.shape[axis] // size
        x = np.take(x, range(count * size), axis)
        x = x.reshape(*x.shape[:axis], count, size, *x.shape[axis + 1 :]).max(axis + 1)
    return x


def convolutional(x, take, model, changes):
    choice = node("cnn", **changes).arguments
    for _ in choice["channels"]:
        for at in range(choice["convolutions"]):
            x = relu(convolved(x, take(), take(), choice["stride"] if at == 0 else 1))
        x = pooled(x, choice["pool"]) if min(x.shape[2:]) >= choice["pool"] else x
    return affine(x.reshape(len(x), -1), take(), take())


def residual_network(x, take, model, changes):
    choice = node("resnet", **changes).arguments
    x = relu(convolved(x, take(), take()))
    for stage, width in enumerate(choice["channels"]):
        for block in range(choice["blocks"]):
            stride = 2 if stage and not block else 1
            branch = relu(convolved(x, take(), take(), stride))
            branch = convolved(branch, take(), take())
            if stride > 1 or x.shape[1] != width:
                x = convolved(x, take(), stride=stride)
            x = x + branch
    return affine(x.reshape(*x.shape[:2], -1).mean(2), take(), take())


def normed(x, weight, bias):
    centered = x - x.mean(-1, keepdims=True)
    return centered / np.sqrt((centered**2).mean(-1, keepdims=True) + 1e-5) * weight + bias


def attended(x, take, heads):
    """Every head, sample by sample and token by token."""
    mixed = []
    weight, bias = take(), take()
    for each in x:
        queries, keys, values = np.split(affine(each, weight, bias), 3, axis=1)
        parts = [np.split(part, heads, axis=1) for part in (queries, keys, values)]
        mixed.append(np.hstack([
            softmax(query @ key.T / np.sqrt(key.shape[1]), axis=1) @ value
            for query, key, value in zip(*parts, strict=True)
        ]))  # fmt: skip
    return affine(np.stack(mixed), take(), take())


def transformer(x, take, model, changes):
    choice = node("vit", **changes).arguments
    weight, bias, patch = take(), take(), choice["patch"]
    cuts = [[(slice(None), *corner) for corner in _corners(each.shape[1:], patch)] for each in x]
    x = np.array([[each[cut].ravel() for cut in of] for each, of in zip(x, cuts, strict=True)])
    x = affine(x, weight.reshape(len(weight), -1), bias)
    x = x + take().reshape(x.shape[1:])
    for _ in range(choice["depth"]):
        x = x + attended(normed(x, take(), take()), take, choice["heads"])
        hidden = relu(affine(normed(x, take(), take()), take()[..., 0], take()))
        x = x + affine(hidden, take(), take())
    return affine(normed(x, take(), take()).mean(1), take(), take())


def _corners(size, patch):
    grid = np.ndindex(*(side // patch for side in size))
    return [tuple(slice(at * patch, (at + 1) * patch) for at in corner) for corner in grid]


def powers(x, take, model, changes):
    return affine(np.vander(x.ravel(), 4, increasing=True)[:, 1:], take(), take())


def products(x, take, model, changes):
    x = x.reshape(len(x), -1)
    pairs = [x[:, i] * x[:, j] for i in range(x.shape[1]) for j in range(i, x.shape[1])]
    return affine(np.hstack([x, np.stack(pairs, 1)]), take(), take())


def cosines(x, take, model, changes):
    frequencies, phases = (each.numpy() for each in model.buffers())
    features = np.sqrt(2) * np.cos(affine(x.reshape(len(x), -1), frequencies, phases))
    return affine(features, take(), take())


def bells(x, take, model, changes):
    (centers,) = (each.numpy() for each in model.buffers())
    away = x.reshape(len(x), 1, -1) - centers
    scale = node("rbf", **changes).arguments["scale"]
    return affine(np.exp(-(away**2).mean(2) / (2 * scale**2)), take(), take())


def of_torchvision(x, take, model, changes):
    theirs = vision.torchvision().models.resnet18(num_classes=OUTPUTS)
    theirs.conv1 = nn.Conv2d(x.shape[1], 64, 7, stride=2, padding=3, bias=False)
    theirs.double().eval()
    left = theirs.load_state_dict(model.state_dict(), strict=False)
    assert not left.unexpected_keys
    assert all("num_batches_tracked" in key for key in left.missing_keys)
    for _ in model.parameters():
        take()
    return theirs(torch.from_numpy(x)).detach().numpy()


class Case(NamedTuple):
    """An option with changes, small enough for a test, and what it must compute."""

    option: str
    reference: Callable
    inputs: tuple
    changes: Mapping = MappingProxyType({})


CASES = [
    Case("linear", linear, IMAGE),
    Case("deep_linear", one_map, IMAGE, {"hidden": [6, 4]}),
    Case("mlp", perceptron, IMAGE, {"hidden": [128, 128]}),
    Case("mlp", perceptron, TABLE,
         {"hidden": [4, 9, 3], "activations": ["relu", "tanh", "sigmoid"]}),
    Case("mlp", residual_perceptron, TABLE, {"hidden": [6, 6, 6, 6, 4, 4], "residual": True}),
    Case("mlp", residual_perceptron, TABLE,
         {"hidden": [7, 7], "residual": True, "activations": ["relu", "tanh"]}),
    Case("mlp_512", perceptron, (1, 28, 28), {"hidden": [512, 512]}),
    Case("probe_6x4096", perceptron, TABLE, {"hidden": [8] * 6, "bias": False}),
    Case("probe_10x500", perceptron, TABLE, {"hidden": [500] * 10, "bias": False}),
    Case("cnn", convolutional, IMAGE),
    Case("cnn", convolutional, SIGNAL),
    Case("cnn", convolutional, IMAGE,
         {"channels": [3, 4], "kernel": 4, "convolutions": 2, "stride": 2, "pool": 1}),
    Case("cnn", convolutional, SIGNAL, {"channels": [3, 4], "kernel": 4, "stride": 3, "pool": 1}),
    Case("resnet", residual_network, IMAGE, {"channels": [4, 4, 6]}),
    Case("resnet", residual_network, SIGNAL, {"channels": [4, 6], "blocks": 1}),
    Case("vit", transformer, (2, 4, 8), {"patch": 2, "depth": 2, "width": 12, "heads": 3}),
    Case("vit", transformer, SIGNAL,
         {"patch": 5, "depth": 1, "width": 6, "heads": 1, "expansion": 3}),
    Case("cubic", powers, (1,)),
    Case("quadratic", products, TABLE),
    Case("random_fourier", cosines, TABLE, {"features": 30}),
    Case("rbf", bells, TABLE, {"features": 30}),
    Case("torchvision", of_torchvision, (2, 32, 32)),
]  # fmt: skip
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.option}{case.inputs}")


def test_every_option_has_a_reference():
    assert OPTIONS
    assert {case.option for case in CASES} == set(OPTIONS)


@each_case
def test_outputs_are_those_of_a_pass_by_hand(case):
    model, x = model_of(case), samples(case)
    parameters = iter([each.detach().numpy() for each in model.parameters()])
    expected = case.reference(x.numpy(), lambda: next(parameters), model, case.changes)
    outputs = model(x).detach().numpy()
    assert outputs.shape == (3, OUTPUTS)
    np.testing.assert_allclose(outputs, expected, rtol=1e-9, atol=1e-10)
    assert not list(parameters)  # each was used


@each_case
def test_three_stacked_models_are_three_models(case):
    models = [model_of(case, seed=seed).train() for seed in range(3)]
    x = torch.stack([samples(case, 2, seed) for seed in range(3)])
    parameters, buffers = stack_module_state(models)
    base = copy.deepcopy(models[0]).to("meta")

    def total(parameters, buffers, x):
        outputs = functional_call(base, (parameters, buffers), (x,))
        return outputs.square().sum(), outputs

    gradients, outputs = vmap(grad(total, has_aux=True))(parameters, buffers, x)
    for at, model in enumerate(models):
        alone = model(x[at])
        torch.testing.assert_close(outputs[at], alone, rtol=1e-10, atol=1e-10)
        alone.square().sum().backward()
        for name, parameter in model.named_parameters():
            scale = parameter.grad.abs().max()
            torch.testing.assert_close(
                gradients[name][at] / scale, parameter.grad / scale, rtol=1e-9, atol=1e-10
            )
        for name, buffer in model.named_buffers():
            torch.testing.assert_close(buffers[name][at], buffer, rtol=1e-10, atol=1e-10)


@each_case
def test_the_seed_of_the_construction_decides_and_a_pass_draws_nothing(case):
    once, again, other = (
        [*_built(case, seed).parameters(), *_built(case, seed).buffers()] for seed in (0, 0, 1)
    )
    assert all(map(torch.equal, once, again))
    assert not all(map(torch.equal, once, other))
    model = _built(case, 0).train()
    before = torch.get_rng_state()
    model(samples(case).float())
    assert torch.equal(torch.get_rng_state(), before)


def _built(case, seed):
    torch.manual_seed(seed)
    return build(node(case.option, **case.changes), case.inputs, OUTPUTS, rectified)


@each_case
def test_a_state_without_its_metadata_loads(case):
    model, other = _built(case, 0), _built(case, 1)
    other.load_state_dict(dict(model.state_dict()))
    assert all(map(torch.equal, model.state_dict().values(), other.state_dict().values()))


@each_case
def test_second_derivatives_exist(case):
    model, x = model_of(case), samples(case)
    first = torch.autograd.grad(
        model(x).square().sum(), list(model.parameters()), create_graph=True
    )
    second = torch.autograd.grad(sum(each.square().sum() for each in first), model.parameters())
    assert all(each.isfinite().all() for each in second)
    assert any(each.abs().max() > 0 for each in second)


# --- units -------------------------------------------------------------------------------------

UNITS = {  # the features of each layer that is given to `unit`, and the activation named for it
    "linear": [],
    "deep_linear": [(128, "identity")] * 2,
    "mlp": [(128, None)] * 2,
    "mlp_512": [(512, None)] * 2,
    "probe_6x4096": [(4096, None)] * 6,
    "probe_10x500": [(500, None)] * 10,
    "cnn": [(16, None), (32, None), (64, None)],
    "resnet": [(16, None), *[(width, name) for width in (16, 16, 32, 32, 64, 64)
                             for name in (None, "identity")]],
    "vit": [(128, None)] * 4,
    "cubic": [], "quadratic": [], "random_fourier": [], "rbf": [], "torchvision": [],
}  # fmt: skip
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


@pytest.mark.parametrize("option", OPTIONS)
def test_units_get_bare_layers_and_never_the_last(option):
    seen = []

    def unit(layer, activation=None):
        seen.append((layer, activation))
        return nn.Sequential(layer, nn.Tanh())

    inputs = (1,) if option == "cubic" else (2, 64, 64) if option == "torchvision" else (2, 8, 8)
    with torch.device("meta"):  # at full size without its memory
        model = build(node(option), inputs, OUTPUTS, unit)
    found = [(getattr(each, "out_features", 0) or each.out_channels, name) for each, name in seen]
    assert found == UNITS[option]
    assert all(type(layer) in LAYERS for layer, _ in seen)
    last = [each for each in model.modules() if isinstance(each, LAYERS)][-1]
    assert last.out_features == OUTPUTS
    assert all(last is not layer for layer, _ in seen)


class Largest(nn.Module):
    """The larger of two pieces: what a unit holds that has widened its layer."""

    def forward(self, x):
        return x.unflatten(1, (2, -1)).amax(1)


def doubled(layer, activation=None):
    if activation == "identity":
        return layer
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return nn.Sequential(nn.Linear(layer.in_features, 2 * layer.out_features, bias), Largest())
    shape = layer.in_channels, 2 * layer.out_channels, layer.kernel_size, layer.stride
    return nn.Sequential(type(layer)(*shape, padding=layer.padding, bias=bias), Largest())


@each_case
def test_a_unit_may_widen_its_layer(case):
    assert model_of(case, doubled)(samples(case)).shape == (3, OUTPUTS)


@pytest.mark.parametrize("option", ["mlp", "resnet", "vit"])
def test_residual_branches_are_found_by_their_name(option):
    changes = {"residual": True} if option == "mlp" else {}
    model = build(node(option, **changes), (1, 8, 8), OUTPUTS, rectified)
    found = [each for each in model.modules() if isinstance(each, Residual)]
    assert len(found) == {"mlp": 1, "resnet": 6, "vit": 8}[option]
    x = torch.ones(2, 3)
    block = Residual(nn.ReLU(), nn.Softplus())
    assert torch.equal(block(x), block.branch(x) + block.skip(x))


# --- shapes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [[1], [7], [300, 2, 40]])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("inputs", [(4,), (1, 8, 8)])
def test_mlp_has_the_widths_asked_for(hidden, bias, inputs):
    model = build(node("mlp", hidden=hidden, bias=bias), inputs, OUTPUTS, rectified)
    widths = [prod(inputs), *hidden, OUTPUTS]
    expected = sum(before * after + after * bias for before, after in pairwise(widths))
    assert sum(each.numel() for each in model.parameters()) == expected
    assert model(torch.zeros(2, *inputs)).shape == (2, OUTPUTS)


@pytest.mark.parametrize("channels", [[3], [4, 5]])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("pool", [1, 2, 3])
@pytest.mark.parametrize("size", [(9, 11), (28, 28), (11,), (40,)])
def test_cnn_fits_images_and_kernels(channels, kernel, pool, size):
    choice = node("cnn", channels=channels, kernel=kernel, pool=pool)
    model = build(choice, (2, *size), OUTPUTS, rectified)
    assert model(torch.zeros(2, 2, *size)).shape == (2, OUTPUTS)


@pytest.mark.parametrize("side", [1, 2, 3, 8, 33])
def test_resnet_takes_images_of_any_size(side):
    model = build(node("resnet"), (1, side, side), OUTPUTS, rectified)
    assert model(torch.zeros(2, 1, side, side)).shape == (2, OUTPUTS)


@pytest.mark.parametrize("option", ["cnn", "resnet", "vit"])
@pytest.mark.parametrize("inputs", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (1, 40)])
def test_defaults_take_the_images_and_signals_that_come_with_the_runner(option, inputs):
    model = build(node(option), inputs, 10, rectified)
    assert model(torch.zeros(2, *inputs)).shape == (2, 10)


def test_a_stride_divides_the_size_once_in_each_stage():
    choice = node("cnn", channels=[4, 4], convolutions=3, stride=2, pool=1)
    model = build(choice, (1, 16, 20), OUTPUTS, rectified)
    assert model[-1].in_features == 4 * (16 // 4) * (20 // 4)


# --- mistakes ----------------------------------------------------------------------------------

MISTAKES = [
    ("mlp", TABLE, {"hidden": []}, r"hidden=\[\] leaves no hidden layer; .* architecture=linear"),
    ("deep_linear", TABLE, {"hidden": []}, r"hidden=\[\] leaves no hidden layer"),
    ("mlp", TABLE, {"hidden": [0]}, r"hidden\[0\]: expected a whole number >= 1, got 0"),
    ("mlp", TABLE, {"hidden": 64}, "architecture.hidden: expected a list"),
    ("mlp", TABLE, {"hidden": [64, "a"]}, r"architecture.hidden\[1\]: expected a whole number"),
    ("mlp", TABLE, {"activations": ["relu"]},
     r"activations names 1 for 2 hidden layers; name one for each, or write .*=null"),
    ("mlp", TABLE, {"activations": ["relu", "rellu"]},
     r"architecture.activations\[1\]: .*did you mean 'relu'"),
    ("mlp", TABLE, {"residual": True, "hidden": [8]}, "residual .* two .* hidden has 1"),
    ("mlp", TABLE, {"residual": True, "hidden": [8, 8, 8]}, "residual .* two .* hidden has 3"),
    ("mlp", TABLE, {"residual": True, "hidden": [8, 8, 8, 4]},
     "layers 3 and 4 of hidden are 8 and 4 wide"),
    ("cnn", TABLE, {}, r"cnn needs images .*, got \(7,\); a table goes with architecture=mlp"),
    ("cnn", IMAGE, {"channels": []}, r"channels=\[\] leaves no stage; .* architecture=linear"),
    ("cnn", (1, 28, 28), {"kernel": 30},
     "stage 1, convolution 1: a kernel of 30 is larger than its input of 28 x 28; "
     "use architecture.kernel=28 or less"),
    ("cnn", (1, 40), {"kernel": 41}, "a kernel of 41 is larger than its input of 40;"),
    ("cnn", (1, 8, 8), {"kernel": 5, "convolutions": 2}, "stage 3, convolution 1: .* 2 x 2"),
    ("resnet", TABLE, {}, "resnet needs images"),
    ("resnet", IMAGE, {"channels": []}, r"channels=\[\] leaves no stage"),
    ("vit", TABLE, {}, "vit needs images"),
    ("vit", (1, 28, 42), {"patch": 5},
     "a patch of 5 does not divide the image of 28 x 42; use architecture.patch=1, 2, 7 or 14"),
    ("vit", (1, 28, 28), {"width": 12, "heads": 5},
     "5 heads do not divide a width of 12; use architecture.heads=1, 2, 3, 4, 6 or 12"),
    ("cubic", TABLE, {}, "powers are of a single input, and a sample has 7"),
    ("rbf", TABLE, {"scale": 0}, "architecture.scale: expected a number > 0"),
    ("torchvision", IMAGE, {"name": "resnet19"}, "no model 'resnet19'; did you mean 'resnet18'"),
    ("torchvision", TABLE, {}, r"resnet18 needs images .*, got \(7,\)"),
    ("torchvision", (3, 32, 30), {"name": "vit_b_16"}, "vit_b_16 cannot take images of 32 x 30"),
    ("torchvision", (3, 30, 30), {"name": "vit_b_16"}, "vit_b_16 cannot take images of 30 x 30"),
]  # fmt: skip


@pytest.mark.parametrize(("option", "inputs", "changes", "message"), MISTAKES)
def test_a_mistake_is_answered(option, inputs, changes, message):
    with pytest.raises(Misconfigured, match=message):
        build(node(option, **changes), inputs, OUTPUTS, rectified)


# --- torchvision -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "inputs"),
    [("alexnet", (1, 64, 64)), ("efficientnet_b0", (1, 32, 32)), ("vit_b_32", (4, 64, 64)),
     ("squeezenet1_1", (3, 32, 32)), ("swin_t", (1, 32, 32)), ("shufflenet_v2_x0_5", (1, 28, 28))],
)  # fmt: skip
def test_models_of_torchvision_draw_nothing_and_count_no_batches(name, inputs):
    with torch.random.fork_rng():
        model = build(node("torchvision", name=name), inputs, OUTPUTS, rectified).train()
        before = torch.get_rng_state()
        assert model(torch.ones(2, *inputs)).shape == (2, OUTPUTS)
        assert torch.equal(torch.get_rng_state(), before)
    assert all(
        buffer.is_floating_point() or "index" in key for key, buffer in model.named_buffers()
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3", "maxvit_t", "regnet_x_400mf"])
def test_models_of_torchvision_that_want_their_own_settings(name):
    inputs = (1, 299, 299) if name == "inception_v3" else (1, 224, 224)
    model = build(node("torchvision", name=name), inputs, OUTPUTS, rectified).train()
    before = torch.get_rng_state()
    assert model(torch.ones(2, *inputs)).shape == (2, OUTPUTS)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_first_convolution_for_three_channels_is_torchvisions_own():
    ours, theirs = (_resnet(inputs) for inputs in ((3, 32, 32), None))
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    assert _resnet((1, 32, 32)).conv1.weight.shape == (64, 1, 7, 7)


def _resnet(inputs):
    torch.manual_seed(0)
    if inputs is None:
        return vision.torchvision().models.resnet18(num_classes=OUTPUTS)
    return build(node("torchvision"), inputs, OUTPUTS, rectified)
