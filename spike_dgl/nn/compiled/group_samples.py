"""Random shares of groups, compiled for the CPU."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from spike_dgl.nn.compiled.compilation import Array, arrays, compiled
from spike_dgl.nn.compiled.random_bits import LEVELS, draw, random_seed


def sample_groups(group: Tensor, sizes: Tensor, wanted: Tensor, total: int) -> Tensor:
    """Draw `wanted` [G] members of each group at random, one pass from first to last.

    Whoever comes next is taken with probability (still wanted) / (still to come): selection sampling, Algorithm S of
    Knuth, The Art of Computer Programming, vol. 2, 3.4.2.

    Parameters
    ----------
    group
        [n] group of each member, 0 to G - 1.
    sizes
        [G] members of each group.
    wanted
        [G] how many of them to take.
    total
        n', the sum of `wanted`.

    Returns
    -------
    Tensor
        [n'] positions of the members drawn, ascending.
    """
    taken = group.new_empty(total + 1)  # the pass writes every position, and goes on after those it takes
    _sample(random_seed(), *arrays(group, sizes.clone(), wanted.clone(), taken))
    return taken[:-1]


@compiled
def _sample(seed: int, group: Array, to_come: Array, still_wanted: Array, taken: Array) -> None:
    count = 0
    for member in range(len(group)):
        g = group[member]
        # No branch, because the processor cannot guess which way it would go.
        is_taken = int(np.int64(draw(seed, member)) * to_come[g] < still_wanted[g] * LEVELS)
        taken[count] = member
        count += is_taken
        still_wanted[g] -= is_taken
        to_come[g] -= 1
