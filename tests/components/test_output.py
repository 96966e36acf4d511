"""Output functions against scipy and numpy, at every option of `conf/output`."""

from dataclasses import make_dataclass

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from scipy import special
from torch import nn

from runner.components.output import Output
from runner.config import Node, build, check
from runner.foundation.options import own_folder

FOLDER = own_folder() / "output"
OPTIONS = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SCHEMA = make_dataclass("Schema", [("output", Node)], kw_only=True)
LANES = 3

REFERENCES = {  # what the model gives for scores (N, C)
    "identity": lambda z: z,
    "sigmoid": special.expit,
    "sine": lambda z: (np.sin(z) + 1) / 2,
    "softmax": lambda z: special.softmax(z, 1),
}
ONE_COLUMN = [option for option in REFERENCES if option != "softmax"]


def output(option):
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{option}.yaml"))
    return build(check({"output": content}, SCHEMA).output)


def scores(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_every_option_has_a_reference():
    assert OPTIONS
    assert set(REFERENCES) == set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_values_and_gradients_are_those_of_the_formula(option):
    made, z = output(option), scores(30, 4).requires_grad_()
    assert isinstance(made, Output)
    values, reference = made.make()(z), REFERENCES[option]
    np.testing.assert_allclose(values.detach().numpy(), reference(z.detach().numpy()), rtol=1e-12)
    for column in range(4):
        (slope,) = torch.autograd.grad(values[:, column].sum(), z, retain_graph=True)
        step = np.zeros((30, 4))
        for moved in range(4):
            step[:] = 0
            step[:, moved] = 1e-6
            up, down = (reference(z.detach().numpy() + each)[:, column] for each in (step, -step))
            np.testing.assert_allclose(slope[:, moved], (up - down) / 2e-6, atol=1e-8)


@pytest.mark.parametrize("option", OPTIONS)
def test_probabilities_are_between_0_and_1_and_scores_are_not(option):
    made = output(option)
    values = made.make()(10 * scores(200, 4))
    within = bool(((values >= 0) & (values <= 1)).all())
    assert within == (made.gives == "probabilities")
    assert made.gives in ("scores", "probabilities")


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("columns", [1, 4])
def test_logits_turn_back_into_what_the_model_gives(option, columns):
    if columns == 1 and option not in ONE_COLUMN:
        return
    made, z = output(option), scores(50, columns)
    values = made.make()(z)
    logits = made.logits(values)
    assert logits.shape == z.shape
    if made.gives == "scores":
        torch.testing.assert_close(logits, z)
    elif columns == 1:
        torch.testing.assert_close(logits.sigmoid(), values)
    else:
        torch.testing.assert_close(logits.softmax(1), values / values.sum(1, keepdim=True))
        assert torch.equal(logits.argmax(1), values.argmax(1))


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_are_finite_whatever_the_scores(option, dtype):
    made = output(option)
    z = torch.tensor([[0.0, 1e4], [-1e4, 1e4], [-torch.pi / 2, torch.pi / 2]], dtype=dtype)
    for given in (z, z[:, :1], z[:, 1:]):
        if given.shape[1] == 1 and option not in ONE_COLUMN:
            continue
        logits = made.logits(made.make()(given))
        assert logits.isfinite().all()
        assert logits.dtype == dtype
    probabilities = torch.tensor([[0.0], [1.0]], dtype=dtype)
    assert made.logits(probabilities).isfinite().all()


def test_softmax_of_one_column_is_refused():
    with pytest.raises(ValueError, match="always 1; use output=sigmoid"):
        output("softmax").make()(torch.zeros(5, 1))


@pytest.mark.parametrize("option", OPTIONS)
def test_each_call_gives_a_module_of_its_own(option):
    made = output(option)
    assert made.make() is not made.make()
    assert isinstance(made.make(), nn.Identity) == (option == "identity")  # which is left out


@pytest.mark.parametrize("option", OPTIONS)
def test_lanes_are_their_solo_selves(option):
    made, z = output(option), scores(LANES, 8, 4)

    def both(z):
        values = made.make()(z)
        return values, made.logits(values)

    together = torch.func.vmap(both)(z)
    for lane in range(LANES):
        ours = tuple(part[lane] for part in together)
        torch.testing.assert_close(ours, both(z[lane]), rtol=1e-10, atol=1e-12)
