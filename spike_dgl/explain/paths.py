"""Paths between a user and an item along which messages of one node reach both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spike_dgl.explain.arcs import NO_ARC, Arcs, ranges
from spike_dgl.typing import IndexArray

MAX_LEGS = 200_000
"""Maximum number of partial paths from one end; those with the largest weights are kept."""
MAX_LEGS_AT_NODE = 200
"""Maximum number of partial paths of two or more links between the item and any one node."""


@dataclass(frozen=True)
class Paths:
    """Simple paths of n links from a user to an item.

    The middle of a path is ``ceil(n / 2)`` links from the user. The arcs lead from the middle to both ends; see
    `Arcs.reverse` for the other direction.

    Parameters
    ----------
    nodes
        Rows [C, n + 1] from user to item, in 0..U+N-1.
    arcs
        One arc [C, n] per link.
    """

    nodes: IndexArray
    arcs: IndexArray

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def num_links(self) -> int:
        """Number of links, n."""
        return int(self.arcs.shape[1])

    @property
    def middle(self) -> int:
        """Position of the node from which the arcs lead to both ends."""
        return (self.num_links + 1) // 2

    def select(self, chosen: IndexArray | np.ndarray) -> Paths:
        """Return a subset of the paths, given by positions or a mask."""
        return Paths(self.nodes[chosen], self.arcs[chosen])

    def links(self, arcs: Arcs) -> list[IndexArray]:
        """Return for each path the arcs of its links in both directions."""
        both = np.column_stack([self.arcs, arcs.reverse[self.arcs]])
        return [of_path[of_path != NO_ARC] for of_path in both]

    def first_over_each_bridge(self) -> IndexArray:
        """Return ascending positions of the first path over each sequence of bridges; see `Path.bridges`."""
        _, first = np.unique(self.nodes[:, 2:-1], axis=0, return_index=True)
        # Paths of one and two links have no bridges; they differ in the item of the history.
        return np.sort(first) if self.num_links > 2 else np.arange(len(self))

    def towards_user(self, arcs: Arcs) -> IndexArray:
        """Return the arcs [C, n] of the links towards the user; `NO_ARC` if there is none."""
        return np.where(np.arange(self.num_links) < self.middle, self.arcs, arcs.reverse[self.arcs])

    def towards_item(self, arcs: Arcs) -> IndexArray:
        """Return the arcs [C, n] of the links towards the item; `NO_ARC` if there is none."""
        return np.where(np.arange(self.num_links) < self.middle, arcs.reverse[self.arcs], self.arcs)


@dataclass(frozen=True)
class _Legs:
    """Partial paths to one end: `arcs` [n, k] starting at the end, the node they `begin` at, and product of weights."""

    arcs: IndexArray
    begin: IndexArray
    weight: np.ndarray

    def select(self, chosen: np.ndarray) -> _Legs:
        return _Legs(self.arcs[chosen], self.begin[chosen], self.weight[chosen])

    def strongest(self, number: int) -> _Legs:
        if len(self.begin) <= number:
            return self
        return self.select(np.sort(np.argpartition(-self.weight, number)[:number]))


def paths_between(arcs: Arcs, weights: np.ndarray, user: int, item: int, num_layers: int) -> list[Paths]:
    """Find all paths of 1 to 2L links, by length; if there are too many, those with the largest weights.

    Parameters
    ----------
    arcs
        The graph.
    weights
        Weight [E + X] of each arc; used only if there are too many paths.
    user, item
        Rows of both ends in 0..U+N-1.
    num_layers
        L. Messages pass over L links, so no node on a path of more than 2L links reaches both ends.
    """
    legs = [[_Legs(np.empty((1, 0), np.int64), np.array([end]), np.ones(1))] for end in (user, item)]
    for of_end in legs:
        for _ in range(num_layers):
            of_end.append(_longer(arcs, weights, of_end[-1]))
    found = []
    for num_links in range(1, 2 * num_layers + 1):
        middle = (num_links + 1) // 2
        paths = _joined(arcs, legs[0][middle], legs[1][num_links - middle], user, item)
        if len(paths):
            found.append(paths)
    return found


def _longer(arcs: Arcs, weights: np.ndarray, legs: _Legs) -> _Legs:
    """Extend partial paths by one link at their beginning."""
    further, which = arcs.in_arcs(legs.begin)
    longer = np.column_stack([legs.arcs[which], further])
    return _Legs(longer, arcs.src[further], legs.weight[which] * weights[further]).strongest(MAX_LEGS)


def _joined(arcs: Arcs, to_user: _Legs, to_item: _Legs, user: int, item: int) -> Paths:
    """Join partial paths that begin at the same node."""
    to_user = to_user.select(np.isin(to_user.begin, to_item.begin))
    if to_item.arcs.shape[1] > 1:
        to_item = _strongest_at_each_node(to_item)
    order = np.argsort(to_item.begin, kind="stable")
    begins = to_item.begin[order]
    low, high = (np.searchsorted(begins, to_user.begin, side=side) for side in ("left", "right"))
    places, first = ranges(low, high - low)
    second = order[places]
    back, forth = to_user.arcs[first], to_item.arcs[second][:, ::-1]
    # The later node of the path is the src of arcs towards the user, and the dst of arcs towards the item.
    nodes = np.column_stack([np.full(len(first), user), arcs.src[back], arcs.dst[forth]])
    paths = Paths(nodes, np.column_stack([back, forth]))
    ordered = np.sort(nodes, axis=1)
    return paths.select((ordered[:, 1:] != ordered[:, :-1]).all(axis=1) & (nodes[:, -1] == item))


def _strongest_at_each_node(legs: _Legs) -> _Legs:
    order = np.lexsort((-legs.weight, legs.begin))
    begins = legs.begin[order]
    place = np.arange(len(order)) - np.searchsorted(begins, begins)
    return legs.select(order[place < MAX_LEGS_AT_NODE])
