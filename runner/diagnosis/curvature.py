"""The landscape around the weights, and how inputs reach outputs, on a few rows.

L is the mean loss of the rows as a function of all parameters w, g its gradient, H its Hessian;
products H v come from differentiating g v (Pearlmutter 1994), never from H itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from runner.training.step import wide

Loss = Callable[[Tensor, Tensor], Tensor]
Tensors = Sequence[Tensor]
POWER_STEPS = 20
CHUNKS = 8
JACOBIAN_ROWS, JACOBIAN_OUTPUTS = 16, 32


def curvature(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> dict[str, float]:
    """Return how the loss bends.

    sharpness   g H g / g g, the curvature along the gradient: steps of gradient descent beyond
                2 / sharpness overshoot
    eigenvalue  the largest of H in absolute value, by 20 steps of the power method
    Empty where the model cannot be differentiated twice.
    """
    weights = [each for each in model.parameters() if each.requires_grad]
    try:
        with torch.enable_grad():
            value = loss(wide(model(x)), y).mean()
            gradient = torch.autograd.grad(
                value, weights, create_graph=True, materialize_grads=True
            )

            def product(direction: Tensors) -> list[Tensor]:
                """Return H v."""
                if not any(each.requires_grad for each in gradient):
                    return [torch.zeros_like(each) for each in weights]
                return list(torch.autograd.grad(
                    gradient, weights, direction, retain_graph=True, materialize_grads=True
                ))  # fmt: skip

            g = [each.detach() for each in gradient]
            along = _dot(g, product(g)) / _dot(g, g).clamp(min=1e-30)
            generator = torch.Generator().manual_seed(0)
            v = [torch.randn(each.shape, generator=generator).to(each) for each in weights]
            eigenvalue = along
            for _ in range(POWER_STEPS):
                length = _dot(v, v).sqrt().clamp(min=1e-30)
                v = [each / length for each in v]
                image = product(v)
                eigenvalue, v = _dot(v, image), image
    except RuntimeError:  # a kernel without a second derivative, such as fused attention
        return {}
    return {"sharpness": float(along), "eigenvalue": float(eigenvalue)}


def gradient_noise(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> dict[str, float]:
    """Return `noise_scale` = tr(S) / |g|^2, the batch at which noise and gradient are equal.

    S is the covariance of the gradient of one row, estimated from 8 equal parts of the rows
    (McCandlish et al. 2018, the simple noise scale).
    """
    weights = [each for each in model.parameters() if each.requires_grad]
    size = len(x) // CHUNKS
    if size < 2:
        return {}
    with torch.enable_grad():
        parts = [
            torch.autograd.grad(loss(wide(model(rows)), targets).mean(), weights,
                                materialize_grads=True)
            for rows, targets in zip(x.split(size)[:CHUNKS], y.split(size)[:CHUNKS], strict=True)
        ]  # fmt: skip
    mean = [torch.stack(each).mean(0) for each in zip(*parts, strict=True)]
    apart = [_dot(*[[a - b for a, b in zip(part, mean, strict=True)]] * 2) for part in parts]
    trace = size * torch.stack(apart).sum() / (CHUNKS - 1)
    squared = _dot(mean, mean) - trace / (CHUNKS * size)  # without what noise adds to it
    return {"noise_scale": float(trace / squared.clamp(min=1e-30))}


def jacobian(model: nn.Module, x: Tensor) -> dict[str, float]:
    """Return singular values of d outputs / d inputs, averaged over 16 rows.

    A network whose layers keep lengths has them near 1 (Saxe et al. 2014).
    """
    rows = x[:JACOBIAN_ROWS].detach()
    with torch.enable_grad():
        given = rows.clone().requires_grad_()
        outputs = model(given).flatten(1)[:, :JACOBIAN_OUTPUTS]
        slopes = [
            torch.autograd.grad(column.sum(), given, retain_graph=True, materialize_grads=True)[0]
            for column in outputs.unbind(1)
        ]
    matrices = torch.stack(slopes, 1).flatten(2).double()  # (B, C, D)
    if not matrices.isfinite().all():
        return {}
    values = torch.linalg.svdvals(matrices)  # (B, C)
    largest, smallest = values[:, 0].mean(), values[:, -1].mean()
    return {"jacobian_largest": float(largest), "jacobian_smallest": float(smallest)}


def conditioning(x: Tensor) -> dict[str, float]:
    """Return the condition number of the inputs' covariance (B, ...), constant columns left out.

    With more columns than rows only the directions that the rows span are compared.
    """
    rows = x.flatten(1).double()
    rows = rows - rows.mean(0)
    wide = rows.shape[1] > len(rows)
    values = torch.linalg.eigvalsh(rows @ rows.T if wide else rows.T @ rows)  # ascending
    values = values[values > values[-1] * 1e-12] if values[-1] > 0 else values[:0]
    return {"input_condition": float(values[-1] / values[0])} if len(values) else {}


def _dot(a: Tensors, b: Tensors) -> Tensor:
    return torch.stack([(x.double() * y.double()).sum() for x, y in zip(a, b, strict=True)]).sum()
