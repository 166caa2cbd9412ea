"""Random shares of groups, compiled for the CPU."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from spike_dgl.nn.kernels.compilation import Array, arrays, compiled
from spike_dgl.nn.kernels.random_bits import LEVELS, draw, random_seed


def sample_groups(group: Tensor, sizes: Tensor, wanted: Tensor) -> Tensor:
    """Mark `wanted` [G] members of each group at random, one pass from first to last.

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

    Returns
    -------
    Tensor
        [n] booleans.
    """
    taken = torch.empty(len(group), dtype=torch.bool)
    seed = random_seed()
    _sample(seed, *arrays(group, sizes.clone(), wanted.clone(), taken))
    return taken


@compiled
def _sample(seed: int, group: Array, to_come: Array, still_wanted: Array, taken: Array) -> None:
    for member in range(len(group)):
        g = group[member]
        # No branch, because the processor cannot guess which way it would go.
        is_taken = int(np.int64(draw(seed, member)) * to_come[g] < still_wanted[g] * LEVELS)
        taken[member] = is_taken
        still_wanted[g] -= is_taken
        to_come[g] -= 1
