"""What the machine lends a run: threads and a device, decided with a reason."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import torch

from runner.assemble.settings import Settings, Trainer
from runner.config import Node
from runner.foundation import remembered
from runner.foundation.errors import Misconfigured

BETWEEN_STEPS = {"name", "seed", "objective", "output_root", "tensorboard", "summary", "metrics",
                 "stopping", "schedule", "hooks", "initializer", "device"}  # fmt: skip
Decided = dict[str, tuple[Any, str]]  # what `auto` became, and why


def machine(settings: Settings) -> tuple[int, torch.device, Decided]:
    """Decide threads and device, and say why; threads that were found the fastest are taken."""
    decided: Decided = {}
    threads, device = settings.threads, settings.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        decided["device"] = device, f"torch {'sees a' if device == 'cuda' else 'sees no'} GPU"
    if threads == "auto":
        known = remembered.recall(threads_key(settings, device)) if device == "cpu" else None
        threads = known["value"] if known else len(os.sched_getaffinity(0))
        reason = known["reason"] if known else "one for each processor this process may use"
        decided["threads"] = threads, reason
    if settings.precision == "tf32" and not device.startswith("cuda"):
        raise Misconfigured("precision: 'tf32' needs a CUDA device; use float32")
    if device.startswith("cuda"):
        decided |= _reproducible_cuda(settings.precision == "tf32")
        count, index = torch.cuda.device_count(), int(device.partition(":")[2] or 0)
        if index >= count:
            seen = f"{count} GPUs" if count else "no GPU"
            raise Misconfigured(f"device: '{device}' is not available (torch sees {seen}); use cpu")
    return int(threads), torch.device(device), decided


def threads_key(settings: Settings, device: str) -> str:
    """Return the key of the number of threads: the same however the step is run, as bits are."""
    return speed_key(replace(settings, compile="auto"), device)


def speed_key(settings: Settings, device: str, *more: Any) -> str:
    """Return the key of what a step's speed depends on here: machine, parts and sizes.

    Numbers that are not whole, such as learning rates, change nothing, nor does what happens
    between steps.
    """
    parts = {
        field.name: _sizes(getattr(settings, field.name))
        for field in fields(settings)
        if field.name not in BETWEEN_STEPS
    }
    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else ""
    return remembered.key(remembered.machine(), gpu, device, repr(parts), repr(more))


def _sizes(value: Any) -> Any:
    """Return a setting with a mark for each number that is not whole."""
    if isinstance(value, Node):
        return [f"{value.factory.__module__}.{value.factory.__qualname__}", _sizes(value.arguments)]
    if isinstance(value, Trainer):
        skipping = ["skip_step"] if value.skips else []
        return [value.batch_size, value.accumulate, value.drop_last, *skipping]
    if isinstance(value, Mapping):
        return {name: _sizes(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_sizes(each) for each in value]
    return "a number" if isinstance(value, float) else value


def _reproducible_cuda(tf32: bool) -> Decided:
    """Choose the kernels that give the same bits twice, and float32 that is float32.

    With `tf32`, products and convolutions take factors of 10 bits instead of 23. The switches are
    torch's older ones, which its compiler reads; it refuses a mixture with the newer.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    return {"deterministic": (True, "the same command gives the same numbers")}
