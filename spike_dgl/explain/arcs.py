"""Message edges as numpy arrays, for walks from node to node."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spike_dgl.nn.graphs.messages import MessageGraph
from spike_dgl.typing import BoolArray, IndexArray

NO_ARC = -1


@dataclass(frozen=True)
class Arcs:
    """Directed edges of a `MessageGraph`: first the E attended edges, then the X edges that users average over.

    A link between two nodes is a triple, an interaction, or a pair of text neighbours. It has two arcs, one per
    direction, or only one if the model sends no messages in the other direction.

    Parameters
    ----------
    num_users, num_attended
        U and E.
    src, dst
        Rows [E + X] of both ends, in 0..U+N-1.
    relation
        Relation row [E + X]: r from tail to head, R + r from head to tail, 2R for interactions, and 2R + 1 from a
        text neighbour to an item.
    first
        First in-arc [U + N] of each node; the others follow it.
    count
        Number [U + N] of in-arcs of each node.
    reverse
        Arc [E + X] of the same link in the other direction, or `NO_ARC`.
    """

    num_users: int
    num_attended: int
    src: IndexArray
    dst: IndexArray
    relation: IndexArray
    first: IndexArray
    count: IndexArray
    reverse: IndexArray

    @classmethod
    def from_messages(cls, messages: MessageGraph, num_relations: int) -> Arcs:
        """Create from a message graph of data with `num_relations` relations, without inverses."""
        U, E, X = messages.num_users, len(messages.attended), len(messages.pooled)
        attended, pooled = (edges.csc_start.cpu().numpy() for edges in (messages.attended, messages.pooled))
        parts = (
            (messages.src, messages.pooled.src),
            (messages.attended.dst + U, messages.pooled.dst),
            (messages.relation, messages.relation.new_full((X,), 2 * num_relations)),
        )
        src, dst, relation = (np.concatenate([part.cpu().numpy() for part in both]) for both in parts)
        return cls(
            U,
            E,
            src,
            dst,
            relation,
            first=np.concatenate([pooled[:-1] + E, attended[:-1]]),
            count=np.concatenate([np.diff(pooled), np.diff(attended)]),
            reverse=_reverse(src, dst, relation, num_relations),
        )

    def __len__(self) -> int:
        return len(self.src)

    def in_arcs(self, nodes: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return all in-arcs of some nodes [n], and for each arc the position of its dst among the n."""
        return ranges(self.first[nodes], self.count[nodes])

    def out_arcs(self, nodes: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return all out-arcs of some nodes [n], and for each arc the position of its src among the n."""
        order, ordered = self._by_src
        low, high = (np.searchsorted(ordered, nodes, side=side) for side in ("left", "right"))
        places, which = ranges(low, high - low)
        return order[places], which

    @cached_property
    def _by_src(self) -> tuple[IndexArray, IndexArray]:
        order = np.argsort(self.src, kind="stable")
        return order, self.src[order]

    def is_pooling(self, arcs: IndexArray) -> BoolArray:
        """Return True for the arcs to users."""
        pooling: BoolArray = arcs >= self.num_attended
        return pooling


def ranges(first: IndexArray, count: IndexArray) -> tuple[IndexArray, IndexArray]:
    """Concatenate ranges of `count` numbers from `first`; also return the range of each number."""
    which = np.repeat(np.arange(len(count)), count)
    return first[which] + np.arange(len(which)) - (count.cumsum() - count)[which], which


def _reverse(src: IndexArray, dst: IndexArray, relation: IndexArray, num_relations: int) -> IndexArray:
    """Return for each arc the arc of the same link in the other direction, or `NO_ARC`."""
    opposite = np.where(
        relation >= 2 * num_relations, relation, (relation + num_relations) % max(2 * num_relations, 1)
    )
    size, rows = int(max(src.max(initial=0), dst.max(initial=0))) + 1, 2 * num_relations + 2
    keys = (dst * size + src) * rows + relation
    wanted = (src * size + dst) * rows + opposite
    order = np.argsort(keys, kind="stable")
    place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    found = order[place]
    return np.where(keys[found] == wanted, found, NO_ARC) if len(keys) else found
