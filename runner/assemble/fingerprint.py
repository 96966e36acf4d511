"""What the bits of a run depend on and no configuration says: the fingerprint in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from runner.assemble.run import Run
from runner.foundation import remembered

REPLAYED = {False: "plain", "trace": "traced", True: "compiled"}  # by what `compile` became
SAME_BITS = {"plain", "traced"}  # a traced step has the kernels of the plain one


def fingerprint(run: Run, lanes: bool = False) -> dict[str, Any]:
    """Return what a run's bits depend on here; `lanes` is one that trains together with others."""
    step = run.begun.way if run.begun else REPLAYED[run.decided["compile"][0]]
    return {
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "device": _device(run.device),
        "processor": remembered.processor(),
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "step": step,
        "trained": "as lanes" if lanes else "alone",
    }


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Say what differs between two fingerprints, so that bits may differ too: `threads 2 -> 1`.

    Of an empty one, as checkpoints had it once, nothing is known.
    """
    pairs = {name: (str(then.get(name, "unknown")), str(value)) for name, value in now.items()}
    return [
        f"{name} {before} -> {after}"
        for name, (before, after) in pairs.items()
        if then and before != after and {before, after} != SAME_BITS
    ]


def _device(device: torch.device) -> str:
    """Name a device by its kind, a GPU by its model too."""
    return "cpu" if device.type == "cpu" else f"{device.type} {torch.cuda.get_device_name(device)}"
