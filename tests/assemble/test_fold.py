"""Folding: the outputs stay, the batch norms go where they can."""

import pytest
import torch
from torch import nn

from runner.assemble.fold import folded
from runner.assemble.unit import brick
from runner.components.dropout import Dropout
from runner.components.normalization import Normalization
from runner.components.normalization.absent import weight
from runner.components.normalization.batchwise import BatchNorm, FullDataNorm, batch, full_data
from runner.components.normalization.samplewise import layer as layer_norm

NORMS = (BatchNorm, FullDataNorm)


def batch_norm(position, affine=True):
    return batch(affine=affine, momentum=0.1, eps=1e-3, inference="population",
                 position=position, layers="all")  # fmt: skip


def all_data(position):
    return full_data(affine=True, eps=1e-3, position=position, layers="all")


def unit_of(normalization, activation=nn.Tanh, dropout=nn.Identity):
    return brick(activation, normalization, dropout, {"identity": nn.Identity}.__getitem__)


def perceptron(unit):
    return nn.Sequential(nn.Flatten(), unit(nn.Linear(12, 8)), unit(nn.Linear(8, 7)),
                         nn.Linear(7, 3, bias=False))  # fmt: skip


def valid(unit, pool=nn.MaxPool2d):
    """Convolutions that pad nothing, for images (3, 9, 9)."""
    return nn.Sequential(unit(nn.Conv2d(3, 6, 3)), pool(2), unit(nn.Conv2d(6, 4, 2, bias=False)),
                         nn.Flatten(), nn.Linear(16, 3))  # fmt: skip


def padded(unit, mode="zeros"):
    return nn.Sequential(unit(nn.Conv2d(3, 6, 3, padding=1)),
                         unit(nn.Conv2d(6, 4, 3, padding=1, padding_mode=mode)),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))  # fmt: skip


def signals(unit):
    return nn.Sequential(unit(nn.Conv1d(3, 6, 3)), unit(nn.Conv1d(6, 4, 3, padding="valid")),
                         nn.Flatten(), nn.Linear(20, 3))  # fmt: skip


class Residual(nn.Module):
    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, x):
        return x + self.branch(x)


def residual(unit):
    block = Residual(nn.Sequential(unit(nn.Linear(12, 9)), unit(nn.Linear(9, 12), "identity")))
    return nn.Sequential(nn.Flatten(), block, nn.Linear(12, 3))


SHAPES = {perceptron: (12,), valid: (3, 9, 9), padded: (3, 9, 9), signals: (3, 9), residual: (12,)}


def uneven(model, negative=True):
    """Give every tensor numbers far from where it began."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, NORMS):
            for name, each in [*module.named_parameters(), *module.named_buffers()]:
                low = -2.0 if negative and name == "weight" else 0.3
                nn.init.uniform_(each, low, 2.0, generator=generator)
    return model


def left(model):
    return sum(isinstance(module, NORMS) for module in model.modules())


def assert_equal(model, shape, norms):
    """Hold a model and its folded copy to each other, and to how many norms are left."""
    parameters = {name: each.clone() for name, each in model.state_dict().items()}
    copy, before = folded(model), left(model)
    x = torch.randn(5, *shape, generator=torch.Generator().manual_seed(1))
    expected = model.eval()(x)
    assert expected.std() > 0.01
    torch.testing.assert_close(copy(x), expected, rtol=1e-5, atol=1e-5)
    assert left(copy) == norms
    assert left(model) == before > 0
    for name, each in model.state_dict().items():
        assert torch.equal(each, parameters[name])
    assert not any(module.training for module in copy.modules())


@pytest.mark.parametrize("make", SHAPES)
@pytest.mark.parametrize("normalization", [batch_norm, all_data])
def test_before_the_activation_every_norm_goes_into_its_layer(make, normalization):
    model = uneven(make(unit_of(normalization("before"))))
    assert_equal(model, SHAPES[make], norms=0)


@pytest.mark.parametrize(
    ("make", "norms"), [(perceptron, 0), (valid, 0), (signals, 0), (padded, 1), (residual, 0)]
)
@pytest.mark.parametrize("normalization", [batch_norm, all_data])
def test_after_the_activation_norms_go_into_the_next_layer_that_pads_nothing(
    make, norms, normalization
):
    # In a branch "identity" leaves nothing between layer and norm, which goes into its layer.
    model = uneven(make(unit_of(normalization("after"))), negative=False)
    assert_equal(model, SHAPES[make], norms)


@pytest.mark.parametrize("position", ["before", "after"])
def test_norms_without_scale_and_shift_are_folded(position):
    model = uneven(perceptron(unit_of(batch_norm(position, affine=False))))
    assert_equal(model, (12,), norms=0)


def test_the_largest_of_features_with_a_negative_scale_is_another():
    unit = unit_of(batch_norm("after"))
    assert_equal(uneven(valid(unit)), (3, 9, 9), norms=1)
    means = valid(unit, pool=lambda factor: nn.AdaptiveAvgPool2d(7 // factor))
    assert_equal(uneven(means), (3, 9, 9), norms=0)


def test_padding_by_the_image_itself_is_no_obstacle():
    unit = unit_of(batch_norm("after"))
    assert_equal(uneven(padded(unit, "circular")), (3, 9, 9), norms=0)


@pytest.mark.parametrize(
    ("inverted", "average", "norms"), [(True, "none", 0), (False, "none", 0), (True, 3, 1)]
)
def test_dropout_that_is_a_factor_at_test_is_passed(inverted, average, norms):
    def dropout():
        return Dropout(0.6, average, inverted=inverted)

    unit = unit_of(batch_norm("after"), dropout=dropout)
    model = nn.Sequential(unit(nn.Linear(12, 8)), nn.Linear(8, 3))
    assert_equal(uneven(model), (12,), norms)


def test_the_end_of_a_branch_keeps_its_norm():
    unit = unit_of(batch_norm("after"))
    block = Residual(nn.Sequential(unit(nn.Linear(12, 9)), unit(nn.Linear(9, 12))))
    assert_equal(uneven(nn.Sequential(block, nn.Linear(12, 3))), (12,), norms=1)


def test_tokens_are_folded_along_their_features():
    unit = unit_of(batch_norm("after"))
    model = nn.Sequential(unit(nn.Linear(12, 8)), unit(nn.Linear(8, 5)), nn.Flatten(),
                          nn.Linear(20, 3))  # fmt: skip
    assert_equal(uneven(model), (4, 12), norms=1)  # flattened, a feature is in several places


def test_grouped_and_weight_normed_layers_keep_their_norms():
    unit = unit_of(batch_norm("after"))
    grouped = nn.Sequential(unit(nn.Conv2d(3, 6, 3)), nn.Conv2d(6, 4, 3, groups=2), nn.Flatten(),
                            nn.Linear(4 * 25, 3))  # fmt: skip
    assert_equal(uneven(grouped), (3, 9, 9), norms=1)
    normed = nn.Linear(8, 3)
    weight(position="before", layers="all").make(normed)
    assert_equal(uneven(nn.Sequential(unit(nn.Linear(12, 8)), normed)), (12,), norms=1)


def test_other_modules_are_untouched():
    norm = layer_norm(eps=1e-5, position="before", layers="all")
    model = perceptron(unit_of(norm))
    copy = folded(model)
    assert [type(each) for each in copy.modules()] == [type(each) for each in model.modules()]
    for name, each in copy.state_dict().items():
        assert torch.equal(each, model.state_dict()[name])
    assert isinstance(norm, Normalization)
