"""The grid of settings that a model's tuning draws from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from spike_dgl.data.splits import random_priorities

Point: TypeAlias = dict[str, Any]
"""One value for each setting of a grid, by dotted key such as ``model.num_layers``."""


@dataclass(frozen=True)
class Grid:
    """All combinations of some values of some settings, numbered from 0.

    Parameters
    ----------
    values
        Those that each setting takes, by dotted key.
    """

    values: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return math.prod(len(values) for values in self.values.values())

    def point(self, number: int) -> Point:
        """The combination of that number."""
        point = {}
        for key, values in self.values.items():
            number, position = divmod(number, len(values))
            point[key] = values[position]
        return point

    def points_at_random(self, seed: int) -> list[Point]:
        """All combinations in random order, each once."""
        order = np.argsort(random_priorities(len(self), seed), kind="stable")
        return [self.point(number) for number in order.tolist()]


def as_grid(search: Mapping[str, Sequence[Any]]) -> Grid:
    """A model's own grid, with tuples as the lists that they are in a configuration."""
    return Grid(
        {
            key: [list(value) if isinstance(value, tuple) else value for value in values]
            for key, values in search.items()
        }
    )
