"""Dropout: how much stays, what it is scaled by, whose masks they are, for `conf/dropout`."""

from dataclasses import make_dataclass

import pytest
import torch
from omegaconf import OmegaConf
from torch.func import functional_call, vmap

from runner.config import Node, build, check
from runner.foundation.options import own_folder

FOLDER = own_folder() / "dropout"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("dropout", Node)], kw_only=True)

# keep in the YAML files, what a kept unit is multiplied by in training, and any unit at test
REFERENCES = {
    "none": (1.0, 1.0, 1.0),
    "inverted": (0.5, 2.0, 1.0),
    "monte_carlo": (0.5, 2.0, 1.0),
    "classic": (0.5, 1.0, 0.5),
    "spatial": (0.8, 1.25, 1.0),
}
SHAPES = [(50,), (4, 5, 6)]
CASES = [(option, shape) for option in OPTIONS for shape in SHAPES
         if option != "spatial" or len(shape) > 1]  # fmt: skip


def node(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return check({"dropout": content | changes}, SCHEMA).dropout


def ready(option, shape=(50,), **changes):
    """Return a module in training mode that has seen the shape of a sample."""
    module = build(node(option, **changes)).eval()
    module(torch.ones(2, *shape))
    return module.train()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(module, count, seed=0):
    if hasattr(module, "draw"):
        module.draw(count, generator(seed))


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize(("option", "shape"), CASES)
def test_training_keeps_its_share_and_the_mean_of_training_is_that_of_the_test(option, shape):
    module, (keep, scale, at_test) = ready(option, shape), REFERENCES[option]
    draw(module, 2000)
    outputs = module(torch.ones(2000, *shape, dtype=torch.float64))
    assert set(outputs.unique().tolist()) == ({1.0} if keep == 1 else {0.0, scale})
    independent = outputs[:, :, 0, 0] if option == "spatial" and len(shape) == 3 else outputs
    spread = (keep * (1 - keep) / independent.numel()) ** 0.5
    assert (outputs != 0).double().mean() == pytest.approx(keep, abs=5 * spread)
    assert outputs.mean() == pytest.approx(at_test, abs=5 * spread * scale)


@pytest.mark.parametrize(("option", "shape"), CASES)
def test_evaluation_scales_as_it_says(option, shape):
    module = ready(option, shape).eval()
    x = torch.randn(7, *shape, generator=generator())
    assert torch.equal(module(x), x * REFERENCES[option][2])


def test_spatial_dropout_takes_whole_channels():
    with pytest.raises(ValueError, match="there are no channels; use dropout=inverted"):
        ready("spatial", (50,))
    module = ready("spatial", (4, 5, 6))
    module.draw(100, generator())
    kept = (module(torch.ones(100, 4, 5, 6)) != 0).flatten(2)
    assert torch.equal(kept.any(2), kept.all(2))
    assert 0 < kept.any(2).double().mean() < 1


@pytest.mark.parametrize("keep", [0.1, 0.8, 1.0])
def test_keep_is_the_probability_that_a_unit_stays(keep):
    module = ready("inverted", keep=keep)
    module.draw(4000, generator())
    outputs = module(torch.ones(4000, 50, dtype=torch.float64))
    kept = outputs != 0
    assert kept.double().mean() == pytest.approx(keep, abs=0.01)
    assert outputs[kept].unique().tolist() == pytest.approx([1 / keep])
    for over in (0, 1):  # every unit of every sample has a chance of its own
        assert kept.double().mean(over).std() < 0.1


def test_equal_generators_give_equal_masks_and_others_do_not():
    x, globally = torch.ones(64, 50), torch.get_rng_state()
    modules = [ready("inverted") for _ in range(3)]
    for module, seed in zip(modules, (5, 5, 6), strict=True):
        module.draw(64, generator(seed))
    first, same, other = (module(x) for module in modules)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(first, modules[0](x))  # a pass draws nothing
    assert torch.equal(torch.get_rng_state(), globally)
    assert len({tuple(row) for row in first.tolist()}) == 64


def test_gradient_goes_through_what_was_kept():
    module, x = ready("inverted", keep=0.25), torch.ones(8, 50, requires_grad=True)
    module.draw(8, generator())
    outputs = module(x)
    (gradient,) = torch.autograd.grad(outputs.sum(), x)
    assert torch.equal(gradient, outputs)


def test_noise_passed_as_a_buffer_under_vmap_is_that_of_solo_modules():
    x = torch.randn(3, 16, 50, generator=generator())
    noises, solo = [], []
    for lane in range(3):
        module = ready("inverted")
        module.draw(16, generator(lane))
        noises.append(module.noise)
        solo.append(module(x[lane]))
    one = ready("inverted")
    one.draw(16, generator(99))

    def call(noise, x):
        return functional_call(one, {"noise": noise}, (x,))

    assert torch.equal(vmap(call)(torch.stack(noises), x), torch.stack(solo))


def test_noise_is_no_part_of_what_a_checkpoint_keeps():
    module = ready("inverted")
    module.draw(4, generator())
    assert not module.state_dict()
