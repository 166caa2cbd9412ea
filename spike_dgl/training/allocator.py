"""How the C library keeps memory between training steps."""

from __future__ import annotations

import ctypes
from contextlib import suppress

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # from malloc.h
NEVER, NONE, SPARE_BYTES = -1, 0, 1 << 26


def keep_freed_memory() -> bool:
    """Let glibc keep freed blocks for reuse instead of returning them to the system; true where that worked.

    Every step allocates and frees the same tensors. By default glibc gives blocks of a few MB back at once, and the
    system hands them out again page by page, zeroed, which can take as long as the arithmetic. The process
    holds on to its peak memory instead. Elsewhere than with glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; Windows has no library of that kind
        return False
    settings = ((M_MMAP_MAX, NONE), (M_TRIM_THRESHOLD, NEVER), (M_TOP_PAD, SPARE_BYTES))
    accepted = [mallopt(name, value) for name, value in settings]
    return all(accepted)


def return_freed_memory() -> None:
    """Let glibc give the system back what is free, so that the next peak does not hide in it; elsewhere nothing."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
