"""Random numbers within compiled loops: a function of seed and position, the same for any number of threads."""

from __future__ import annotations

import numba
import numpy as np
import torch

LEVELS = 1 << 32
"""`draw` gives one of so many numbers."""


def random_seed() -> int:
    """A fresh seed from torch's generator: runs repeat and resume as they do with torch's own random numbers."""
    return int(torch.empty((), dtype=torch.int64).random_())


@numba.njit(inline="always")
def mixed(bits: int) -> int:
    """32 bits that look random, from 32 others: a hash by C. Wellons ("lowbias32", public domain)."""
    bits = np.uint32(bits)
    bits ^= bits >> np.uint32(16)
    bits = np.uint32(bits * np.uint32(0x7FEB352D))
    bits ^= bits >> np.uint32(15)
    bits = np.uint32(bits * np.uint32(0x846CA68B))
    result: int = bits ^ (bits >> np.uint32(16))
    return result


@numba.njit(inline="always")
def draw(seed: int, position: int) -> int:
    """32 random bits for one position, unsigned."""
    return mixed(mixed(position) ^ np.uint32(seed))


@numba.njit(inline="always")
def draw_in_row(row_bits: int, column: int) -> int:
    """The same for one column of a row, from what `draw` gave for the row: half the work of another `draw`."""
    return mixed(row_bits ^ np.uint32(column))
