"""Selection of an entity's facts for its profile: bounded, ordered lists of neighbours in compressed rows.

A profile has room for a few dozen names, but a hub of the graph has thousands of neighbours. Since text vectors are to
show which nodes are similar, the facts are ordered as follows:

- Neighbours without any other link come last: they make the entity similar to no other.
- The others are ordered by degree, lowest first: a director is more informative than a country.
- Ties are ordered by relation, then by entity.

So the order depends only on the graph, and nothing is random.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spike_dgl.data.dataset import Interactions, Triples
from spike_dgl.typing import BoolArray, IndexArray

PATHS = 12
"""Number of an entity's facts that are followed to the next hop, so that hubs cost no more than other entities."""
FACTS_A_NEIGHBOUR = 3
"""Number of facts of each direct neighbour, so that facts two hops away come from several neighbours."""


@dataclass(frozen=True)
class Neighbours:
    """Facts about each of n rows, most informative first; row i has positions ``offsets[i]:offsets[i + 1]``.

    Parameters
    ----------
    offsets
        Row pointer [n + 1].
    nodes
        Entity at the other end of each fact.
    relations
        Relation of each fact: r if the row's entity is the head, r + R if it is the tail.
    """

    offsets: IndexArray
    nodes: IndexArray
    relations: IndexArray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def rows(self) -> IndexArray:
        """Row of each fact."""
        return np.repeat(np.arange(len(self)), self.counts)

    @cached_property
    def counts(self) -> IndexArray:
        """Number of facts in each row [n]."""
        return np.diff(self.offsets)

    def facts_of(self, row: int, limit: int) -> list[tuple[int, int]]:
        """Return the first `limit` facts (relation, node) of one row."""
        start = self.offsets[row]
        end = min(start + limit, self.offsets[row + 1])
        return list(zip(self.relations[start:end].tolist(), self.nodes[start:end].tolist(), strict=True))

    def first(self, limit: int) -> Neighbours:
        """Keep the first `limit` facts of each row."""
        return self._select(_places(self.offsets) < limit)

    def first_of_each_relation(self, limit: int) -> Neighbours:
        """Keep the first `limit` facts of each row and relation."""
        order = np.lexsort((self.relations, self.rows))  # stable: keeps the order within a relation
        rows, relations = self.rows[order], self.relations[order]
        starts = np.ones(len(order), dtype=bool)
        starts[1:] = (rows[1:] != rows[:-1]) | (relations[1:] != relations[:-1])
        keep = np.zeros(len(order), dtype=bool)
        keep[order] = _places(np.append(np.flatnonzero(starts), len(order))) < limit
        return self._select(keep)

    def below(self, end: int) -> Neighbours:
        """Keep only facts whose other end is an entity below `end`."""
        return self._select(self.nodes < end)

    def from_row(self, start: int) -> Neighbours:
        """Keep only facts whose other end is the entity `start` or a later one."""
        return self._select(self.nodes >= start)

    def heaviest_first(self, weights: NDArray[Any]) -> Neighbours:
        """Sort the facts of each row by the weight of the other end, highest first; ties by node."""
        order = np.lexsort((self.relations, self.nodes, -weights[self.nodes], self.rows))
        return Neighbours(self.offsets, self.nodes[order], self.relations[order])

    def _select(self, keep: BoolArray) -> Neighbours:
        kept_before = np.concatenate([[0], np.cumsum(keep)])
        return Neighbours(kept_before[self.offsets], self.nodes[keep], self.relations[keep])


def neighbours_of(triples: Triples, num_entities: int, num_relations: int) -> Neighbours:
    """Return the facts of every entity [N], as head and as tail, without self loops."""
    proper = triples.heads != triples.tails
    heads, relations, tails = triples.heads[proper], triples.relations[proper], triples.tails[proper]
    rows, nodes = np.concatenate([heads, tails]), np.concatenate([tails, heads])
    relations = np.concatenate([relations, relations + num_relations])
    frequency = np.bincount(rows, minlength=num_entities)[nodes]
    rarity = np.where(frequency > 1, frequency, np.iinfo(np.int64).max)
    order = np.lexsort((nodes, relations, rarity, rows))
    return Neighbours(_row_pointer(rows[order], num_entities), nodes[order], relations[order])


def related_entities(neighbours: Neighbours, num_rows: int, limit: int) -> list[list[int]]:
    """Return the entities two hops from each of the first `num_rows` entities, highest weight first.

    A path weighs 1 / (number of facts of its middle entity): two films with the same director are more similar than
    two from the same country. Only the first `PATHS` facts of each entity are followed.

    Returns
    -------
    list of list of int
        At most `limit` entities per row [num_rows]; never the row itself, but possibly its direct neighbours.
    """
    followed = neighbours.first(PATHS)
    first_hop, starts = _expand(followed.offsets, np.arange(num_rows))
    middles = followed.nodes[first_hop]
    second_hop, through = _expand(followed.offsets, middles)
    rows, nodes = starts[through], followed.nodes[second_hop]
    weights = 1.0 / neighbours.counts[middles[through]]
    others = nodes != rows
    return _heaviest(rows[others], nodes[others], weights[others], num_rows, len(neighbours), limit)


def facts_of_neighbours(neighbours: Neighbours, row: int, limit: int) -> list[tuple[int, int, int]]:
    """Return facts two hops away from a row: the other facts of its direct neighbours.

    The neighbours are those of the row's first `PATHS` facts, fewest facts first. Each contributes its first
    `FACTS_A_NEIGHBOUR` facts that do not lead back to the row.

    Returns
    -------
    list of tuple
        At most `limit` distinct triples (neighbour, relation, node), with the relation as seen from the neighbour.
    """
    middles = dict.fromkeys(node for _, node in neighbours.facts_of(row, PATHS))
    facts: list[tuple[int, int, int]] = []
    for middle in sorted(middles, key=neighbours.counts.__getitem__):
        # Few facts lead back to one row, so a few facts of a hub are enough.
        others = [fact for fact in neighbours.facts_of(middle, 4 * FACTS_A_NEIGHBOUR) if fact[1] != row]
        facts += [(middle, relation, node) for relation, node in others[:FACTS_A_NEIGHBOUR]]
    return facts[:limit]


def favourite_attributes(
    neighbours: Neighbours, train: Interactions, num_users: int, limit: int
) -> list[list[int]]:
    """Return for each user [U] the entities most often linked to their training items.

    Only the first `PATHS` facts of each item count. Ties are ordered by row.
    """
    followed = neighbours.first(PATHS)
    facts, pairs = _expand(followed.offsets, train.items)
    ones = np.ones(len(facts))
    return _heaviest(train.users[pairs], followed.nodes[facts], ones, num_users, len(neighbours), limit)


def histories(train: Interactions, num_users: int, num_items: int) -> list[list[int]]:
    """Return the training items of each user [U], least popular first, since popular items say little about a user."""
    popularity = np.bincount(train.items, minlength=num_items)
    order = np.lexsort((train.items, popularity[train.items], train.users))
    return as_lists(train.offsets(num_users), train.items[order])


def as_lists(offsets: IndexArray, values: IndexArray) -> list[list[int]]:
    """Return the values of each row as a list."""
    flat = values.tolist()
    return [flat[start:end] for start, end in pairwise(offsets.tolist())]


def _heaviest(
    rows: IndexArray,
    nodes: IndexArray,
    weights: NDArray[Any],
    num_rows: int,
    num_nodes: int,
    limit: int,
) -> list[list[int]]:
    """Return for each row the `limit` nodes with the greatest sums of weights; ties by node."""
    keys, key_of = np.unique(rows * num_nodes + nodes, return_inverse=True)
    totals = np.bincount(key_of, weights=weights, minlength=len(keys))
    rows, nodes = np.divmod(keys, num_nodes)
    order = np.lexsort((nodes, -totals, rows))
    offsets = _row_pointer(rows, num_rows)
    kept = order[_places(offsets) < limit]
    return as_lists(_row_pointer(rows[kept], num_rows), nodes[kept])


def _row_pointer(rows: IndexArray, num_rows: int) -> IndexArray:
    """Return the row pointer [num_rows + 1] of ascending `rows`."""
    return np.searchsorted(rows, np.arange(num_rows + 1)).astype(np.int64)


def _expand(offsets: IndexArray, rows: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Return the positions of all entries of `rows`, and for each the index into `rows`."""
    lengths = offsets[rows + 1] - offsets[rows]
    index = np.repeat(np.arange(len(rows)), lengths)
    first = np.cumsum(lengths) - lengths
    return np.arange(len(index)) + (offsets[rows] - first)[index], index


def _places(offsets: IndexArray) -> IndexArray:
    """Return the index of each position within its row, from 0."""
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
