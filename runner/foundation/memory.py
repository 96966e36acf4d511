"""Memory: how much there is, pages that a step finds again, imports without looking for cycles.

A step allocates and frees the same few megabytes. glibc gives such blocks back to the system and
fetches them, page by page, in the next step; where small results are kept in between, that costs
a small network a tenth of its speed and more. Blocks above 32 MB, data sets among them, are still
returned.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_GROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h


def limit() -> int:
    """Return the bytes that this process could have at most: the machine's, less if it is limited.

    By a limit on its addresses (`ulimit -v`), or by the group that a container is.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    for path in _GROUPS:
        with contextlib.suppress(OSError, ValueError):  # no such group, or "max"
            limits.append(int(Path(path).read_text()))
    return min(limits)


def layer_of(error: BaseException) -> str:
    """Return the layer that was made or called when an error came, or nothing."""
    torch, found, step = sys.modules.get("torch"), "", error.__traceback__
    while torch is not None and step is not None:
        at_work = step.tb_frame.f_locals.get("self")
        if isinstance(at_work, torch.nn.Module):
            found = described(at_work)
        step = step.tb_next
    return found


def described(module: Any) -> str:
    """Return a layer with its sizes, which may not be finished: `Linear(in_features=64, ...)`."""
    sizes = [f"{name}={value}" for name, value in vars(module).items()
             if type(value) is int and not name.startswith("_")]  # fmt: skip
    return f"{type(module).__name__}({', '.join(sizes)})"


@contextlib.contextmanager
def for_parameters() -> Iterator[None]:
    """Raise a MemoryError for a model, made inside, whose training no memory here can hold.

    Beside it stand the copy that a step is tried on and its gradients. Parameters are counted
    before they are filled: the system promises memory that it has not, and kills who then uses it.
    """
    from torch.nn.modules.module import register_module_parameter_registration_hook

    needed, most = 0, limit()

    def count(module: Any, name: str, parameter: Any) -> None:
        nonlocal needed
        needed += 3 * parameter.nbytes
        if needed > most:
            raise MemoryError(
                f"parameters up to the {name} of {described(module)}, a copy to try and its "
                f"gradients need {needed / 1e9:,.1f} GB, and there are {most / 1e9:,.1f} of memory"
            )

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def keep_freed() -> None:
    """Tell glibc's malloc; other systems have their own ways and are left alone."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 32 << 20)
        mallopt(_TRIM_THRESHOLD, 1 << 30)
        mallopt(_TOP_PAD, 64 << 20)


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Import torch and its like inside, as a decorator too, without collecting cycles.

    They make 300,000 objects that stay. To look through them again and again takes a fifth of the
    time, and nearly a second at the exit, so they are kept from the collector for good. Where
    torch is loaded already, in a notebook or a test, the collector is left as it is.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
