"""Random numbers in compiled loops: a function of seed and position, so independent of the number of threads."""

from __future__ import annotations

import numba
import numpy as np
import torch

LEVELS = 1 << 32
"""`draw` returns an integer in 0..LEVELS-1."""


def random_seed() -> int:
    """Draw a seed from torch's generator, so that compiled random numbers are reproducible and resumable too."""
    return int(torch.empty((), dtype=torch.int64).random_())


@numba.njit(inline="always")
def mixed(bits: int) -> int:
    """Hash 32 bits to 32 pseudo-random bits: "lowbias32" by C. Wellons (public domain)."""
    bits = np.uint32(bits)
    bits ^= bits >> np.uint32(16)
    bits = np.uint32(bits * np.uint32(0x7FEB352D))
    bits ^= bits >> np.uint32(15)
    bits = np.uint32(bits * np.uint32(0x846CA68B))
    result: int = bits ^ (bits >> np.uint32(16))
    return result


@numba.njit(inline="always")
def draw(seed: int, position: int) -> int:
    """Return 32 unsigned random bits for a position."""
    return mixed(mixed(position) ^ np.uint32(seed))


@numba.njit(inline="always")
def draw_in_row(row_bits: int, column: int) -> int:
    """Return 32 random bits for a column of a row, from the row's `draw`; half the work of another `draw`."""
    return mixed(row_bits ^ np.uint32(column))
