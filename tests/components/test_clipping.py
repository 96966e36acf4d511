"""Clipping against `torch.nn.utils`, at every option of `conf/clipping`."""

from dataclasses import make_dataclass

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn import utils

from runner.config import Node, check, maker
from runner.foundation.options import own_folder

FOLDER = own_folder() / "clipping"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("clipping", dict[str, Node])], kw_only=True)
SHAPES = [(4, 3), (3,), (2, 3, 3, 3), (1,)]


def adaptive(parameters, limit):
    """Clip row by row, in a loop: a bias as a whole, what enters a unit by itself."""
    for parameter in parameters:
        rows = [(parameter, parameter.grad)] if parameter.dim() < 2 else zip(
            parameter, parameter.grad, strict=True)  # fmt: skip
        for weight, gradient in rows:
            allowed = limit * max(float(weight.detach().norm()), 1e-3)
            if float(gradient.norm()) > allowed:
                gradient.mul_(allowed / gradient.norm())


REFERENCES = {
    "none": lambda parameters, limit: None,
    "norm": utils.clip_grad_norm_,
    "value": utils.clip_grad_value_,
    "adaptive": adaptive,
}
LIMITS = {"none": None, "norm": 1.0, "value": 0.1, "adaptive": 0.02}  # of the YAML files


def clips(option, **changes):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    content = {name: each | changes for name, each in content.items()}
    return [maker(node) for node in check({"clipping": content}, SCHEMA).clipping.values()]


def gradients(scale):
    generator = torch.Generator().manual_seed(0)
    return [
        scale * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES
    ]


def weights():
    """Return parameters, the first row of each far shorter than the others."""
    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]
    for each in drawn:
        each[0] *= 1e-6
    return drawn


def clipped_by_torch(option, given, limit):
    parameters = [torch.nn.Parameter(each) for each in weights()]
    for parameter, gradient in zip(parameters, given, strict=True):
        parameter.grad = gradient.clone()
    REFERENCES[option](parameters, limit)
    return [parameter.grad for parameter in parameters]


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(LIMITS) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("scale", [0.0, 1e-3, 0.13, 1.0, 1e6])
def test_gradients_are_those_of_torch(option, scale):
    given = gradients(scale)
    result = given
    for clip in clips(option):
        result = clip(result, weights())
    expected = clipped_by_torch(option, given, LIMITS[option])
    assert len(result) == len(expected)
    for each, reference in zip(result, expected, strict=True):
        torch.testing.assert_close(each, reference, rtol=1e-12, atol=0)
    for each, before in zip(given, gradients(scale), strict=True):
        assert torch.equal(each, before)  # a new list, the old gradients as they were


@pytest.mark.parametrize("option", [option for option in OPTIONS if LIMITS.get(option, True)])
@pytest.mark.parametrize("limit", [0.01, 0.5, 100.0])
def test_limit_is_what_was_asked_for(option, limit):
    (clip,) = clips(option, limit=limit)
    expected = clipped_by_torch(option, gradients(1.0), limit)
    for each, reference in zip(clip(gradients(1.0), weights()), expected, strict=True):
        torch.testing.assert_close(each, reference, rtol=1e-12, atol=0)


def test_norm_keeps_the_direction_and_value_the_bounds():
    given = torch.cat([each.flatten() for each in gradients(5.0)])
    (norm,), (value,) = clips("norm", limit=2.0), clips("value", limit=2.0)
    shortened = torch.cat([each.flatten() for each in norm(gradients(5.0), weights())])
    assert float(shortened.norm()) == pytest.approx(2.0, rel=1e-6)
    assert float(torch.nn.functional.cosine_similarity(given, shortened, 0)) == pytest.approx(1)
    clamped = torch.cat([each.flatten() for each in value(gradients(5.0), weights())])
    assert float(clamped.abs().max()) == 2.0
    inside = given.abs() < 2
    assert torch.equal(clamped[inside], given[inside])


@pytest.mark.parametrize("option", [option for option in OPTIONS if LIMITS.get(option, True)])
def test_lanes_with_limits_of_their_own_are_their_solo_selves(option):
    (node,) = check({"clipping": OmegaConf.to_container(
        OmegaConf.load(FOLDER / f"{option}.yaml"))}, SCHEMA).clipping.values()  # fmt: skip
    limits = torch.tensor([0.01, 0.1, 1.0], dtype=torch.float64)
    given, own = gradients(1.0), weights()
    rest = {name: value for name, value in node.arguments.items() if name != "limit"}
    stacked = torch.func.vmap(lambda limit: node.factory(given, own, limit=limit, **rest))(limits)
    for lane, limit in enumerate(limits.tolist()):
        solo = node.factory(given, own, limit=limit, **rest)
        for together, alone in zip(stacked, solo, strict=True):
            torch.testing.assert_close(together[lane], alone, rtol=1e-12, atol=0)
