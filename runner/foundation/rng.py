"""Randomness as a function of (seed, purpose, step), so that a position in a run needs no state.

Nothing in the runner draws from a global generator. Each purpose (initialization, order,
augmentation, dropout, split ...) has its own stream: changing one leaves the others as they were.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, purpose: str, step: int = 0) -> int:
    """Hash (seed, purpose, step) to a 63-bit seed; unlike purposes never share a stream."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{step}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(
    seed: int, purpose: str, step: int = 0, device: str | torch.device = "cpu"
) -> torch.Generator:
    """Return a fresh generator for this purpose and step."""
    import torch

    return torch.Generator(device).manual_seed(derive(seed, purpose, step))
