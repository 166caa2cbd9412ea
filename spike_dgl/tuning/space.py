"""Search space of a model: a grid of settings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from spike_dgl.data.splits import random_priorities

Point: TypeAlias = dict[str, Any]
"""Value of each setting of a grid, by dotted key such as ``model.num_layers``."""


@dataclass(frozen=True)
class Grid:
    """All combinations of the values of some settings, numbered from 0.

    Parameters
    ----------
    values
        Values of each setting, by dotted key.
    """

    values: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return math.prod(len(values) for values in self.values.values())

    def point(self, number: int) -> Point:
        """Return the combination of a number."""
        point = {}
        for key, values in self.values.items():
            number, position = divmod(number, len(values))
            point[key] = values[position]
        return point

    def points_at_random(self, seed: int) -> list[Point]:
        """Return all combinations in random order."""
        order = np.argsort(random_priorities(len(self), seed), kind="stable")
        return [self.point(number) for number in order.tolist()]


def as_grid(search: Mapping[str, Sequence[Any]]) -> Grid:
    """Create the grid of a model's search space, with tuples as lists, as in configurations."""
    return Grid(
        {
            key: [list(value) if isinstance(value, tuple) else value for value in values]
            for key, values in search.items()
        }
    )
