"""What probes see: against the same numbers by other ways, and without a trace in the model."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from runner.components import activation
from runner.components.dropout import Dropout
from runner.diagnosis import curvature
from runner.diagnosis.layers import layers, tails
from runner.diagnosis.probe import probe, trial


class Unit(nn.Sequential):
    """A layer and its activation, as the runner puts them together."""

    def __init__(self, layer: nn.Module, active: nn.Module):
        super().__init__()
        self.add_module("layer", layer)
        self.add_module("activation", active)


def loss(outputs, y):
    return F.cross_entropy(outputs, y, reduction="none")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(
        Unit(nn.Linear(5, 7), nn.Tanh()), Unit(nn.Linear(7, 6), nn.ReLU()), nn.Linear(6, 3)
    ).double()


@pytest.fixture
def rows():
    torch.manual_seed(1)
    return torch.randn(40, 5, dtype=torch.float64), torch.randint(0, 3, (40,))


def test_forward_and_backward_by_hand(network, rows):
    x, y = rows
    first, second, last = network
    h = first(x)
    z = second.layer(h)
    z.retain_grad()
    a = z.relu()
    value = loss(last(a), y).mean()
    value.backward()
    slope = z.grad
    value, h, z, a = (each.detach() for each in (value, h, z, a))
    found = probe(network, loss, x, y)
    assert list(found.layers) == ["0", "1", "2"]
    numbers = found.layers["1"]
    assert numbers["mean"] == pytest.approx(float(a.mean()))
    assert numbers["std"] == pytest.approx(float(a.std(correction=0)))
    assert numbers["flat"] == pytest.approx(float((z <= 0).double().mean()))
    assert numbers["dead"] == pytest.approx(float((z <= 0).all(0).double().mean()))
    assert numbers["gradient"] == pytest.approx(40 * float(slope.square().mean().sqrt()))
    weight_gradient = second.layer.weight.grad.square().mean().sqrt()
    assert numbers["weight_gradient"] == pytest.approx(float(weight_gradient))
    assert found.layers["0"]["flat"] == pytest.approx(
        float((1 - h.square() < 0.02).double().mean())
    )
    whole = torch.cat([each.weight.grad.flatten() for each in (first.layer, second.layer, last)])
    assert found.network == {"loss": pytest.approx(float(value)),
                             "gradient": pytest.approx(float(whole.norm()))}  # fmt: skip


def test_the_model_is_left_as_it_was(network, rows):
    network = nn.Sequential(nn.BatchNorm1d(5), Dropout(0.5, "none", inverted=True), *network)
    network = network.double().eval()
    before = copy.deepcopy(network.state_dict())
    probe(network, loss, *rows)
    assert all(torch.equal(each, before[name]) for name, each in network.state_dict().items())
    assert not network.training
    assert all(each.grad is None for each in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
    assert [part.training for part in trial(network)[:2]] == [True, False]


def test_units_that_are_all_alike_have_no_spread(network, rows):
    with torch.no_grad():
        network[1].layer.weight.fill_(0.1)
    found = probe(network, loss, *rows).layers
    assert found["1"]["spread"] < 1e-12 < found["0"]["spread"]


def test_a_dead_unit_is_off_on_every_row(network, rows):
    with torch.no_grad():
        network[1].layer.bias[:3] = -100.0
    assert probe(network, loss, *rows).layers["1"]["dead"] >= 0.5


def test_channels_are_the_units_of_a_convolution(rows):
    torch.manual_seed(0)
    network = nn.Sequential(Unit(nn.Conv2d(1, 4, 3), nn.ReLU()), nn.Flatten(), nn.Linear(4 * 36, 3))
    with torch.no_grad():
        network[0].layer.bias[0] = -100.0
    found = probe(network, loss, torch.randn(10, 1, 8, 8), rows[1][:10])
    assert found.layers["0"]["dead"] == pytest.approx(0.25)
    assert [each.axis for each in layers(network)] == [1, -1]


SQUASHING = ("sigmoid", "tanh", "softsign")
RECTIFYING = ("relu", "elu", "selu", "gelu", "silu", "softplus")


@pytest.mark.parametrize("name", [*SQUASHING, *RECTIFYING])
def test_tails_of_activations(name):
    arguments = {"alpha": 1.0} if name == "elu" else {}
    found = tails(getattr(activation, name)(**arguments))
    assert (found.squashes, found.rectifies) == (name in SQUASHING, name in RECTIFYING)


def test_curvature_is_that_of_the_whole_hessian(network, rows):
    x, y = rows
    names = list(dict(network.named_parameters()))
    shapes = [each.shape for each in network.parameters()]
    flat = torch.cat([each.detach().flatten() for each in network.parameters()])

    def value(vector):
        parts = vector.split([shape.numel() for shape in shapes])
        held = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return loss(torch.func.functional_call(network, held, (x,)), y).mean()

    hessian = torch.autograd.functional.hessian(value, flat)
    gradient = torch.autograd.functional.jacobian(value, flat)
    found = curvature.curvature(network, loss, x, y)
    along = gradient @ hessian @ gradient / (gradient @ gradient)
    assert found["sharpness"] == pytest.approx(float(along), rel=1e-6)
    largest = torch.linalg.eigvalsh(hessian).abs().max()
    assert abs(found["eigenvalue"]) == pytest.approx(float(largest), rel=0.1)


def test_the_jacobian_is_that_of_torch(network, rows):
    x = rows[0][:4]
    slopes = torch.func.vmap(torch.func.jacrev(lambda row: network(row[None])[0]))(x)
    values = torch.linalg.svdvals(slopes.detach())
    found = curvature.jacobian(network, x)
    assert found["jacobian_largest"] == pytest.approx(float(values[:, 0].mean()))
    assert found["jacobian_smallest"] == pytest.approx(float(values[:, -1].mean()))


def test_the_condition_number_of_inputs():
    torch.manual_seed(0)
    x = torch.randn(5000, 3, dtype=torch.float64) * torch.tensor([1.0, 10.0, 0.0])
    assert curvature.conditioning(x)["input_condition"] == pytest.approx(100, rel=0.1)


def test_gradient_noise_falls_with_the_signal():
    """For a linear model whose gradient is the mean of the rows the scale is tr(S) / |g|^2."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1, bias=False).double()
    x = 1 + 2 * torch.randn(4096, 4, dtype=torch.float64)
    found = curvature.gradient_noise(model, lambda outputs, y: outputs[:, 0], x, x[:, 0])
    assert found["noise_scale"] == pytest.approx(4 * 4 / 4, rel=0.8)
