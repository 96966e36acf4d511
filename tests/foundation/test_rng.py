"""Randomness: a function of (seed, purpose, step), the same in every process."""

import itertools
import random
import subprocess
import sys

import numpy as np
import pytest
import torch

from runner.foundation import rng

DRAW = """
import torch
from runner.foundation import rng
torch.manual_seed(12345)
print(torch.rand(4, generator=rng.generator(3, "dropout", 17)).tolist())
"""


def draw(seed: int, purpose: str, step: int = 0) -> list[float]:
    return torch.rand(4, generator=rng.generator(seed, purpose, step)).tolist()


def test_the_same_in_another_process():
    done = subprocess.run(
        [sys.executable, "-c", DRAW], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == str(draw(3, "dropout", 17))


def test_unlike_seeds_purposes_and_steps_differ():
    keys = list(itertools.product([0, 1, 2**32 - 1], ["order", "dropout", "split"], [0, 1, 10]))
    assert len({rng.derive(*key) for key in keys}) == len(keys)
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


def test_parts_of_a_key_do_not_run_together():
    """(1, "a", 23) and (12, "a", 3) hold the same characters."""
    assert rng.derive(1, "a", 23) != rng.derive(12, "a", 3)
    assert rng.derive(0, "a/1", 2) != rng.derive(0, "a", 12)


def test_a_derived_seed_fits_63_bits():
    seeds = [rng.derive(0, "order", step) for step in range(1000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62  # not 32 bits either


@pytest.mark.parametrize("times", [1, 2])
def test_a_generator_has_no_memory_of_others(times):
    for _ in range(times):
        rng.generator(0, "order").seed()
    assert draw(0, "order") == draw(0, "order")


def test_global_generators_are_left_alone():
    before = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    draw(5, "split")
    after = torch.random.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
