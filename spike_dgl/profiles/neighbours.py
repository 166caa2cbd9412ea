"""Which facts about an entity are worth telling: bounded, ordered lists of neighbours in compressed rows.

A profile has room for a few dozen names, a hub of the graph has thousands of neighbours. The choice follows
what a text vector is for: to say which nodes are alike.

- A neighbour that nothing else is linked to likens its entity to nobody: it comes last.
- Among the others the rarer come first: a director says more than a country.
- Equally rare ones come in the order of relations, then of entities.

So the choice depends on the graph alone, and on nothing random.
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
"""Facts of an entity that are followed to others, so that a hub costs no more than any entity."""
FACTS_A_NEIGHBOUR = 3
"""Facts told about each entity that is one hop away, so that they come from several."""


@dataclass(frozen=True)
class Neighbours:
    """Facts about each of n rows, most telling first; row i holds positions ``offsets[i]:offsets[i + 1]``.

    Parameters
    ----------
    offsets
        Row pointer [n + 1].
    nodes
        The entity at the other end of each fact.
    relations
        The relation of each fact: r where the row's entity is the head, r + R where it is the tail.
    """

    offsets: IndexArray
    nodes: IndexArray
    relations: IndexArray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def rows(self) -> IndexArray:
        """The row of each fact."""
        return np.repeat(np.arange(len(self)), self.counts)

    @cached_property
    def counts(self) -> IndexArray:
        """The number of facts in each row [n]."""
        return np.diff(self.offsets)

    def facts_of(self, row: int, limit: int) -> list[tuple[int, int]]:
        """At most so many facts (relation, node) of one row."""
        start = self.offsets[row]
        end = min(start + limit, self.offsets[row + 1])
        return list(zip(self.relations[start:end].tolist(), self.nodes[start:end].tolist(), strict=True))

    def first(self, limit: int) -> Neighbours:
        """At most so many facts a row."""
        return self._select(_places(self.offsets) < limit)

    def first_of_each_relation(self, limit: int) -> Neighbours:
        """At most so many facts a row and relation."""
        order = np.lexsort((self.relations, self.rows))  # stable: keeps the order within a relation
        rows, relations = self.rows[order], self.relations[order]
        starts = np.ones(len(order), dtype=bool)
        starts[1:] = (rows[1:] != rows[:-1]) | (relations[1:] != relations[:-1])
        keep = np.zeros(len(order), dtype=bool)
        keep[order] = _places(np.append(np.flatnonzero(starts), len(order))) < limit
        return self._select(keep)

    def below(self, end: int) -> Neighbours:
        """Only facts whose other end is one of the first so many entities."""
        return self._select(self.nodes < end)

    def from_row(self, start: int) -> Neighbours:
        """Only facts whose other end is none of the first so many entities."""
        return self._select(self.nodes >= start)

    def heaviest_first(self, weights: NDArray[Any]) -> Neighbours:
        """The same facts, in each row those first whose other end weighs most; of equal ones the lower node."""
        order = np.lexsort((self.relations, self.nodes, -weights[self.nodes], self.rows))
        return Neighbours(self.offsets, self.nodes[order], self.relations[order])

    def _select(self, keep: BoolArray) -> Neighbours:
        kept_before = np.concatenate([[0], np.cumsum(keep)])
        return Neighbours(kept_before[self.offsets], self.nodes[keep], self.relations[keep])


def neighbours_of(triples: Triples, num_entities: int, num_relations: int) -> Neighbours:
    """All facts about every entity [N], read both ways; self loops are left out."""
    proper = triples.heads != triples.tails
    heads, relations, tails = triples.heads[proper], triples.relations[proper], triples.tails[proper]
    rows, nodes = np.concatenate([heads, tails]), np.concatenate([tails, heads])
    relations = np.concatenate([relations, relations + num_relations])
    frequency = np.bincount(rows, minlength=num_entities)[nodes]
    rarity = np.where(frequency > 1, frequency, np.iinfo(np.int64).max)
    order = np.lexsort((nodes, relations, rarity, rows))
    return Neighbours(_row_pointer(rows[order], num_entities), nodes[order], relations[order])


def related_entities(neighbours: Neighbours, num_rows: int, limit: int) -> list[list[int]]:
    """The entities two hops from each of the first rows, most strongly linked first.

    A path counts 1 / (facts about the entity in its middle): two films with the same director are more alike
    than two from the same country. Of each entity the first `PATHS` facts are followed.

    Returns
    -------
    list of list of int
        At most `limit` entities a row [num_rows]; never the row itself, but maybe its direct neighbours.
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
    """Facts two hops away from a row: what its direct neighbours are linked to besides.

    Of the row's first `PATHS` facts, the neighbour with the fewest facts of its own comes first, and tells the
    `FACTS_A_NEIGHBOUR` first ones that do not lead back.

    Returns
    -------
    list of tuple
        At most `limit` triples (neighbour, relation, node), each once; the relation is read from the neighbour.
    """
    middles = dict.fromkeys(node for _, node in neighbours.facts_of(row, PATHS))
    facts: list[tuple[int, int, int]] = []
    for middle in sorted(middles, key=neighbours.counts.__getitem__):
        # Few relations lead back to one row, so a hub need not be read to its end.
        others = [fact for fact in neighbours.facts_of(middle, 4 * FACTS_A_NEIGHBOUR) if fact[1] != row]
        facts += [(middle, relation, node) for relation, node in others[:FACTS_A_NEIGHBOUR]]
    return facts[:limit]


def favourite_attributes(
    neighbours: Neighbours, train: Interactions, num_users: int, limit: int
) -> list[list[int]]:
    """The entities that most of a user's training items are linked to, for each user [U].

    Of each item the first `PATHS` facts count; of equally frequent entities the lower row comes first.
    """
    followed = neighbours.first(PATHS)
    facts, pairs = _expand(followed.offsets, train.items)
    ones = np.ones(len(facts))
    return _heaviest(train.users[pairs], followed.nodes[facts], ones, num_users, len(neighbours), limit)


def histories(train: Interactions, num_users: int, num_items: int) -> list[list[int]]:
    """The training items of each user [U], rarest first: what everybody has tells little about one."""
    popularity = np.bincount(train.items, minlength=num_items)
    order = np.lexsort((train.items, popularity[train.items], train.users))
    return as_lists(train.offsets(num_users), train.items[order])


def as_lists(offsets: IndexArray, values: IndexArray) -> list[list[int]]:
    """The values of each row as a plain list."""
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
    """For each row the nodes with the greatest sums of weights; of equal ones the lower node comes first."""
    keys, key_of = np.unique(rows * num_nodes + nodes, return_inverse=True)
    totals = np.bincount(key_of, weights=weights, minlength=len(keys))
    rows, nodes = np.divmod(keys, num_nodes)
    order = np.lexsort((nodes, -totals, rows))
    offsets = _row_pointer(rows, num_rows)
    kept = order[_places(offsets) < limit]
    return as_lists(_row_pointer(rows[kept], num_rows), nodes[kept])


def _row_pointer(rows: IndexArray, num_rows: int) -> IndexArray:
    """Where each row starts among ascending `rows`, and the last ends [num_rows + 1]."""
    return np.searchsorted(rows, np.arange(num_rows + 1)).astype(np.int64)


def _expand(offsets: IndexArray, rows: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Positions of all that some rows hold, and for each the index into `rows` it belongs to."""
    lengths = offsets[rows + 1] - offsets[rows]
    index = np.repeat(np.arange(len(rows)), lengths)
    first = np.cumsum(lengths) - lengths
    return np.arange(len(index)) + (offsets[rows] - first)[index], index


def _places(offsets: IndexArray) -> IndexArray:
    """The place of each position within its row, from 0."""
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
