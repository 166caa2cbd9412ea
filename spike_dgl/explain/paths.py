"""Paths between a user and an item over which messages from one node reach both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spike_dgl.explain.arcs import NO_ARC, Arcs, ranges
from spike_dgl.typing import IndexArray

MAX_LEGS = 200_000
"""Ways from one end that are followed at a time; of more, the ones with the largest weights are."""
MAX_LEGS_AT_NODE = 200
"""Largest number of ways of two and more steps from the item that end where a way of the user's ends."""


@dataclass(frozen=True)
class Paths:
    """Paths of n links from a user to an item, without a node twice.

    A path has a middle, ``ceil(n / 2)`` links from the user. Its arcs lead from there to both ends; `Arcs.reverse`
    gives the other way.

    Parameters
    ----------
    nodes
        [C, n + 1] rows, in 0..U+N-1, from user to item.
    arcs
        [C, n] one arc for each link.
    """

    nodes: IndexArray
    arcs: IndexArray

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def num_links(self) -> int:
        """n."""
        return int(self.arcs.shape[1])

    @property
    def middle(self) -> int:
        """Position, among the nodes, from which the arcs lead to both ends."""
        return (self.num_links + 1) // 2

    def select(self, chosen: IndexArray | np.ndarray) -> Paths:
        """Those at some positions, or where a mask is true."""
        return Paths(self.nodes[chosen], self.arcs[chosen])

    def links(self, arcs: Arcs) -> list[IndexArray]:
        """For each path all arcs of its links, both ways."""
        both = np.column_stack([self.arcs, arcs.reverse[self.arcs]])
        return [of_path[of_path != NO_ARC] for of_path in both]

    def first_over_each_bridge(self) -> IndexArray:
        """Ascending positions of the first path over each sequence of bridges; see `Path.bridges`."""
        _, first = np.unique(self.nodes[:, 2:-1], axis=0, return_index=True)
        # Paths of one and two links have no bridge, and are told apart by the item of the history.
        return np.sort(first) if self.num_links > 2 else np.arange(len(self))

    def towards_user(self, arcs: Arcs) -> IndexArray:
        """[C, n] the arcs of the links that lead to the user; `NO_ARC` where there is none."""
        return np.where(np.arange(self.num_links) < self.middle, self.arcs, arcs.reverse[self.arcs])

    def towards_item(self, arcs: Arcs) -> IndexArray:
        """[C, n] the arcs of the links that lead to the item; `NO_ARC` where there is none."""
        return np.where(np.arange(self.num_links) < self.middle, arcs.reverse[self.arcs], self.arcs)


@dataclass(frozen=True)
class _Legs:
    """Ways that end at one node: `arcs` [n, k] back from it, the node they begin at, and the product of weights."""

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
    """All paths of 1 to 2L links, by length; where there are too many, those over the largest weights.

    Parameters
    ----------
    arcs
        The graph.
    weights
        [E + X] how much each arc counts; decides only what is left out of very many paths.
    user, item
        Rows of both ends in 0..U+N-1.
    num_layers
        L: a message travels L links, so no node on a longer path reaches both ends.
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
    """The ways one link longer, back from where these begin."""
    further, which = arcs.in_arcs(legs.begin)
    longer = np.column_stack([legs.arcs[which], further])
    return _Legs(longer, arcs.src[further], legs.weight[which] * weights[further]).strongest(MAX_LEGS)


def _joined(arcs: Arcs, to_user: _Legs, to_item: _Legs, user: int, item: int) -> Paths:
    """Pairs of ways that begin at the same node."""
    to_user = to_user.select(np.isin(to_user.begin, to_item.begin))
    if to_item.arcs.shape[1] > 1:
        to_item = _strongest_at_each_node(to_item)
    order = np.argsort(to_item.begin, kind="stable")
    begins = to_item.begin[order]
    low, high = (np.searchsorted(begins, to_user.begin, side=side) for side in ("left", "right"))
    places, first = ranges(low, high - low)
    second = order[places]
    back, forth = to_user.arcs[first], to_item.arcs[second][:, ::-1]
    # Towards the user an arc's src is the later node of the path; towards the item its dst is.
    nodes = np.column_stack([np.full(len(first), user), arcs.src[back], arcs.dst[forth]])
    paths = Paths(nodes, np.column_stack([back, forth]))
    ordered = np.sort(nodes, axis=1)
    return paths.select((ordered[:, 1:] != ordered[:, :-1]).all(axis=1) & (nodes[:, -1] == item))


def _strongest_at_each_node(legs: _Legs) -> _Legs:
    order = np.lexsort((-legs.weight, legs.begin))
    begins = legs.begin[order]
    place = np.arange(len(order)) - np.searchsorted(begins, begins)
    return legs.select(order[place < MAX_LEGS_AT_NODE])
