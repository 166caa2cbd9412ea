"""Stratified sampling, compiled for the CPU."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from spike_dgl.nn.compiled.compilation import Array, arrays, compiled
from spike_dgl.nn.compiled.random_bits import LEVELS, draw, random_seed


def sample_groups(group: Tensor, sizes: Tensor, wanted: Tensor, total: int) -> Tensor:
    """Draw `wanted` [G] members of each group at random, in one pass.

    Each member is taken with probability (still wanted) / (still to come) of its group: selection sampling, Algorithm
    S of Knuth, The Art of Computer Programming, vol. 2, 3.4.2.

    Parameters
    ----------
    group
        Group [n] of each member, 0 to G - 1.
    sizes
        Size [G] of each group.
    wanted
        Number [G] of members to draw from each group.
    total
        n', the sum of `wanted`.

    Returns
    -------
    Tensor
        Positions [n'] of the members drawn, ascending.
    """
    taken = group.new_empty(
        total + 1
    )  # the loop writes every position, and advances only after those it takes
    _sample(random_seed(), *arrays(group, sizes.clone(), wanted.clone(), taken))
    return taken[:-1]


@compiled
def _sample(seed: int, group: Array, to_come: Array, still_wanted: Array, taken: Array) -> None:
    count = 0
    for member in range(len(group)):
        g = group[member]
        # No branch, because it would be unpredictable.
        is_taken = int(np.int64(draw(seed, member)) * to_come[g] < still_wanted[g] * LEVELS)
        taken[count] = member
        count += is_taken
        still_wanted[g] -= is_taken
        to_come[g] -= 1
