"""What the machine lends a run: threads and a device, decided with a reason."""

from __future__ import annotations

import os
from typing import Any

import torch

from runner.assemble.settings import Settings
from runner.foundation.errors import Misconfigured

Decided = dict[str, tuple[Any, str]]  # what `auto` became, and why


def machine(settings: Settings) -> tuple[int, torch.device, Decided]:
    """Decide threads and device, and say why."""
    decided: Decided = {}
    threads, device = settings.threads, settings.device
    if threads == "auto":
        threads = len(os.sched_getaffinity(0))
        decided["threads"] = threads, "one for each processor this process may use"
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        decided["device"] = device, f"torch {'sees a' if device == 'cuda' else 'sees no'} GPU"
    if device.startswith("cuda"):
        decided |= _reproducible_cuda()
        count, index = torch.cuda.device_count(), int(device.partition(":")[2] or 0)
        if index >= count:
            seen = f"{count} GPUs" if count else "no GPU"
            raise Misconfigured(f"device: '{device}' is not available (torch sees {seen}); use cpu")
    return int(threads), torch.device(device), decided


def _reproducible_cuda() -> Decided:
    """Choose the kernels that give the same bits twice, and float32 that is float32."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    return {"deterministic": (True, "the same command gives the same numbers")}
