"""How much memory there is; loading without the collector of cycles, each in its own process."""

import subprocess
import sys

import pytest
import torch

from runner.foundation import memory
from runner.foundation.errors import out_of_memory

# What stands before loading, inside and behind: whether cycles are collected, how much is kept.
CASES = {
    "the first time": ("", "pass", (False, True, True)),
    "where it fails": ("", "raise KeyError", (False, True, True)),
    "torch is there": ("sys.modules['torch'] = None", "pass", (True, True, False)),
    "never collected": ("gc.disable()", "pass", (False, False, False)),
}
SCRIPT = """
import contextlib, gc, sys
from runner.foundation import memory
{before}
@memory.loading()
def load():
    global inside
    inside = gc.isenabled()
    {body}
with contextlib.suppress(KeyError):
    load()
print(inside, gc.isenabled(), gc.get_freeze_count() > 0)
"""


@pytest.mark.parametrize("case", CASES)
def test_loading(case):
    before, body, expected = CASES[case]
    script = SCRIPT.format(before=before, body=body)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True,
                          timeout=60, check=True)  # fmt: skip
    assert done.stdout.split() == list(map(str, expected))


def test_memory_that_is_limited_is_that_much(tmp_path, monkeypatch):
    assert 1 << 28 < memory.limit() < 1 << 50
    group = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_GROUPS", [str(group), str(tmp_path / "none")])
    group.write_text("max\n")
    before = memory.limit()
    group.write_text("7000\n")
    assert memory.limit() == 7000 < before
    monkeypatch.setattr(memory.resource, "getrlimit", lambda kind: (5000, 6000))
    assert memory.limit() == 5000


def refusal(error: BaseException, group: str = "") -> tuple[int, str] | None:
    short = out_of_memory(error, group)
    return (short.exit_code, str(short)) if short else None


@pytest.fixture
def limited(monkeypatch):
    """Pretend a machine of 8 GB."""
    monkeypatch.setattr(memory, "limit", lambda: 8e9)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("can't allocate memory: you tried to allocate 4000000000 bytes. Error"),
         (1, "cannot allocate 4.0 GB")),
        (RuntimeError("can't allocate memory: you tried to allocate 256000000000 bytes. Error"),
         (2, "model: 256.0 GB, and there are 8.0 GB of memory")),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"),
         (1, "cannot allocate 2.1 GB")),
        (MemoryError("Unable to allocate 72.8 TiB for an array with shape (10000000000000,)"),
         (2, "model: 80,044.4 GB, and there are 8.0 GB of memory")),
        (MemoryError(), (1, "out of memory")),
        (MemoryError("much"), (2, "model: much")),
        (RuntimeError("another"), None),
        (ValueError("you tried"), None),
    ],
)  # fmt: skip
def test_memory_asked_for_in_vain(limited, error, expected):
    """F37: a mistake where no memory here holds it, else a line that says how much."""
    assert refusal(error, "model") == expected


def test_the_layer_at_work_is_named(limited):
    """F37: while it is made, half made too, and while it is called."""

    class Greedy(torch.nn.Module):
        def __init__(self, width, much):
            super().__init__()
            self.width = width
            if much:
                self._ask()

        def forward(self, x):
            return self._ask()

        def _ask(self):
            raise RuntimeError("you tried to allocate 4000000000 bytes")

    for trial in (lambda: Greedy(7, True), lambda: Greedy(7, False)(torch.zeros(1))):
        with pytest.raises(RuntimeError) as caught:
            trial()
        assert refusal(caught.value) == (1, "cannot allocate 4.0 GB for layer Greedy(width=7)")


def test_parameters_are_counted_before_they_are_filled(monkeypatch):
    """F37: with what else a first step takes; the layer is named, and nothing is left behind."""
    monkeypatch.setattr(memory, "limit", lambda: 3 * 4 * (30 * 20 + 20 + 20 * 10))
    with memory.for_parameters():
        torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.Linear(20, 10, bias=False))
    message = (r"parameters up to the bias of Linear\(in_features=20, out_features=10\), a copy to "
               r"try and its gradients need 0.0 GB, and there are 0.0 of memory")  # fmt: skip
    with pytest.raises(MemoryError, match=message), memory.for_parameters():
        torch.nn.Sequential(torch.nn.Linear(30, 20), torch.nn.Linear(20, 10))
    torch.nn.Linear(1000, 1000)
