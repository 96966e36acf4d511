"""Threads and devices: what auto becomes, and what torch is told about precision."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from runner.assemble.machine import machine
from runner.foundation.errors import Misconfigured


@dataclass(frozen=True)
class Wanted:
    """The keys that concern the machine."""

    threads: int | str = 1
    device: str = "cpu"
    precision: str = "float32"


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch):
    """Have torch count one GPU; put back what the choice of one changes."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    switches = [(torch.backends.cudnn, "allow_tf32"), (torch.backends.cuda.matmul, "allow_tf32"),
                (torch.backends.cudnn, "benchmark")]  # fmt: skip
    before = [getattr(*each) for each in switches]
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(deterministic)
    for (module, name), value in zip(switches, before, strict=True):
        setattr(module, name, value)


@pytest.mark.parametrize("precision", ["float32", "tf32", "float64", "bfloat16"])
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_products_are_rounded_only_if_asked_for(one_gpu, precision: str, device: str) -> None:
    torch.backends.cudnn.benchmark = True
    _, chosen, decided = machine(Wanted(device=device, precision=precision))
    assert chosen.type == "cuda"
    assert "deterministic" in decided
    assert torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")
    assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")
    assert torch.backends.cudnn.benchmark is False
    assert torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_tf32_needs_cuda(monkeypatch: pytest.MonkeyPatch, device: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Misconfigured, match="precision: 'tf32' needs a CUDA device; use float32"):
        machine(Wanted(device=device, precision="tf32"))
