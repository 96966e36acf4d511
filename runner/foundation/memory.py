"""Memory: pages that a step finds again, and imports that the collector of cycles leaves alone.

A step allocates and frees the same few megabytes. glibc gives such blocks back to the system and
fetches them, page by page, in the next step; where small results are kept in between, that costs
a small network a tenth of its speed and more. Blocks above 32 MB, data sets among them, are still
returned.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h


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
