"""Settings of the C library's memory allocator for training."""

from __future__ import annotations

import ctypes
from contextlib import suppress

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # from malloc.h
NEVER, NONE, SPARE_BYTES = -1, 0, 1 << 26


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for reuse instead of returning it to the system; return whether that worked.

    Every step allocates and frees the same tensors. By default glibc returns blocks of a few MB to the system at
    once, and allocating them again, page by page and zeroed, can take as long as the arithmetic. With this setting the
    process keeps its peak memory. It has no effect with other C libraries.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or Windows
        return False
    settings = ((M_MMAP_MAX, NONE), (M_TRIM_THRESHOLD, NEVER), (M_TOP_PAD, SPARE_BYTES))
    accepted = [mallopt(name, value) for name, value in settings]
    return all(accepted)


def return_freed_memory() -> None:
    """Make glibc return freed memory to the system, so that the next memory peak can be measured."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
