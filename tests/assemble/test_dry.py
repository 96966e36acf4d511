"""The dry step: it names the layer, and leaves model, generators and hooks as they were."""

import pytest
import torch
from torch import nn

from runner.assemble.dry import dry_step
from runner.components.dropout import Dropout
from runner.config import build, check_node
from runner.foundation import options
from runner.foundation.errors import Misconfigured

X, Y = torch.randn(2, 6, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])
BATCH = check_node(options.node("normalization", "batch"), "normalization", "normalization")


def minimized(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


def network(width=5):
    layer, dropout = nn.Linear(6, width), Dropout(0.5, "none", inverted=True)
    return nn.Sequential(layer, build(BATCH).make(layer), nn.ReLU(), dropout, nn.Linear(5, 2))


@pytest.mark.parametrize("training", [True, False])
def test_a_sound_model_is_left_as_it_was(training):
    model = network().train(training)
    before = {name: each.clone() for name, each in model.state_dict().items()}
    globally = torch.get_rng_state()
    dry_step(model, X, Y, minimized)
    assert torch.equal(torch.get_rng_state(), globally)
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert all(module.training == training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(not module._forward_hooks for module in model.modules())
    assert all(not module._forward_pre_hooks for module in model.modules())


def test_dropout_knows_the_shape_to_draw_for_afterwards():
    model = network()
    dry_step(model, X, Y, minimized)
    model[3].draw(7, torch.Generator())
    assert model[3].noise.shape == (7, 5)


def test_the_whole_training_objective_is_tried_on_a_copy_in_training_mode():
    model, seen = network(), []

    def watched(trial, x, y):
        seen.append((trial is model, trial.training, len(x)))
        return minimized(trial, x, y)

    dry_step(model.eval(), X, Y, watched)
    assert seen == [(False, True, 2)]


class Residual(nn.Module):
    """A block with a mistake of shape inside."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(7, 7)

    def forward(self, x):
        return x + self.inner(x)


@pytest.mark.parametrize(
    ("model", "name", "layer", "shape"),
    [
        (network(width=4), "4", r"Linear\(in_features=5.*", (2, 4)),
        (nn.Sequential(nn.Linear(6, 5), Residual()), "1.inner", r"Linear\(in_features=7.*", (2, 5)),
        (nn.Sequential(nn.Linear(6, 5), nn.Conv2d(1, 2, 3)), "1", r"Conv2d\(1, 2, .*", (2, 5)),
        (nn.Sequential(nn.Unflatten(1, (2, 4)), nn.Flatten()), "0", "Unflatten.*", (2, 6)),
    ],
)
def test_a_mistake_of_shape_names_its_layer_and_what_came(model, name, layer, shape):
    """B34: the layer, what it is, and the shape it was given."""
    expected = (
        rf"^architecture: layer '{name}' \({layer}\) cannot take input of shape \({shape[0]}, "
    )
    with pytest.raises(Misconfigured, match=expected + rf"{shape[1]}\): .") as caught:
        dry_step(model, X, Y, minimized)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    assert model.training
    assert all(not module._forward_hooks for module in model.modules())


def test_a_mistake_that_shows_in_training_mode_alone_is_found():
    model = network()  # a batch of one has no variance
    with pytest.raises(Misconfigured, match=r"architecture: layer '1' .* more than 1 value"):
        dry_step(model, X[:1], Y[:1], minimized)


def test_a_mistake_of_the_loss_names_no_layer():
    with pytest.raises(Misconfigured, match=r"^Target 9 is out of bounds"):
        dry_step(network(), X, torch.tensor([0, 9]), minimized)
