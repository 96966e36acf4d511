"""Operations over all lanes: those of torch, with their gradients, for many models and for one."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import vmap

from runner.training.stacked import Stacking


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def linear(x, weight, bias):
    return F.linear(x, weight, bias)


def norm(x, weight, bias):
    mean, var = torch.zeros_like(weight), torch.ones_like(weight)
    normal = F.batch_norm(x, mean, var, weight, bias, True, 0.3, 1e-5)
    return torch.cat([normal, mean[None], var[None]])


CASES = {
    "linear": (linear, [(7, 5), (4, 5), (4,)]),
    "batch norm": (norm, [(7, 4), (4,), (4,)]),
}


def left(function, tensors):
    """Return the result and the gradients of a function of tensors."""
    own = [each.clone().requires_grad_() for each in tensors]
    result = function(*own)
    weights = torch.linspace(-1, 2, result.numel(), dtype=result.dtype).view_as(result)
    return [result.detach(), *torch.autograd.grad((result.sin() * weights).sum(), own)]


@pytest.mark.parametrize("case", CASES)
def test_one_model_alone(case):
    function, shapes = CASES[case]
    tensors = [numbers(*shape) for shape in shapes]
    with Stacking():
        ours = left(function, tensors)
    torch.testing.assert_close(ours, left(function, tensors), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_many_models(case):
    function, shapes = CASES[case]
    tensors = [numbers(3, *shape) for shape in shapes]

    def stacked(*own):
        with Stacking():
            return vmap(function)(*own)

    torch.testing.assert_close(
        left(stacked, tensors), left(vmap(function), tensors), rtol=1e-10, atol=1e-12
    )
