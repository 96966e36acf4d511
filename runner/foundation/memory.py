"""Keep freed memory in the process, so that a training step finds its pages again.

A step allocates and frees the same few megabytes. glibc gives such blocks back to the system and
fetches them, page by page, in the next step; where small results are kept in between, that costs
a small network a tenth of its speed and more. Blocks above 32 MB, data sets among them, are still
returned.
"""

from __future__ import annotations

import ctypes
import sys

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
