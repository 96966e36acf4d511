"""Noise for layers and penalties, drawn outside the step and placed where it is used.

What wants noise has `draw(count, generator)`, for so many samples, and keeps it as `noise`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from runner.foundation import rng

Draw = Callable[[int, int], list[Tensor]]
Place = Callable[[Sequence[Tensor]], None]


def noise_of(
    candidates: Sequence[Any], seed: int, parts: int, device: torch.device
) -> tuple[Draw, Place]:
    """Return `draw(step, count)`, fresh noise for each candidate that wants some, and `place`.

    A batch that is run in parts has noise for each part, one after the other; `place(noise)` gives
    the candidates that of one part. What draws nothing keeps None.
    """
    noisy = [each for each in candidates if hasattr(each, "draw")]

    def draw(step: int, count: int) -> list[Tensor]:
        generator = rng.generator(seed, "dropout", step, device)
        drawn: list[Tensor] = []
        for size in part_sizes(count, parts):
            for each in noisy:
                each.draw(size, generator)
            drawn += [each.noise for each in noisy if each.noise is not None]
        return drawn

    def place(noise: Sequence[Tensor]) -> None:
        drawing = [each for each in noisy if each.noise is not None]
        for each, tensor in zip(drawing, noise, strict=True):
            each.noise = tensor

    return (draw, place) if noisy else (lambda step, count: [], lambda noise: None)


@contextlib.contextmanager
def placed(candidates: Sequence[Any], noise: Sequence[Tensor]) -> Iterator[None]:
    """Let those of the candidates that draw have this noise inside, and what they had after."""
    drawing = [each for each in candidates if hasattr(each, "draw") and each.noise is not None]
    before = [each.noise for each in drawing]
    try:
        for each, tensor in zip(drawing, noise, strict=True):
            each.noise = tensor
        yield
    finally:
        for each, kept in zip(drawing, before, strict=True):
            each.noise = kept


def noise_of_lanes(candidates: Sequence[Any], seeds: Sequence[int], device: torch.device) -> Draw:
    """Return `draw(step, count)`: for each candidate that wants some, every lane's noise (R, ...).

    A lane's noise is what a run of its seed has, whatever stands beside it.
    """
    draws = [noise_of(candidates, seed, 1, device)[0] for seed in seeds]

    def draw(step: int, count: int) -> list[Tensor]:
        each = [of_lane(step, count) for of_lane in draws]
        return [torch.stack(lanes) for lanes in zip(*each, strict=True)]

    return draw


def part_sizes(count: int, parts: int) -> list[int]:
    """Return how many of `count` rows each part of a batch has; empty parts are left out."""
    return [size for at in range(parts) if (size := count // parts + (at < count % parts))]
