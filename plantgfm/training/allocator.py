"""Keep freed memory in the process: on processors a quarter of a step goes to giving it back and asking again.

XLA allocates the buffers of every step anew; glibc hands large blocks to the system when they are freed, and the next
step pays a page fault for each of their pages. `python -m plantgfm.bench allocator` measures what it brings.
"""

from __future__ import annotations

import ctypes
import sys

# Parameters of mallopt(3), from malloc.h of glibc.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -2, -4, -8
_NEVER = -1


def keep_freed_memory() -> bool:
    """Tell glibc to keep what is freed; call it before JAX starts its threads.

    Returns:
        Whether the C library is glibc and took all settings; elsewhere nothing is changed.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, 2**28), (_M_ARENA_MAX, 1))
    return all([mallopt(name, value) == 1 for name, value in settings])
