"""The edges that messages travel on, as plain arrays that can be walked from node to node."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spike_dgl.nn.graphs.messages import MessageGraph
from spike_dgl.typing import BoolArray, IndexArray

NO_ARC = -1


@dataclass(frozen=True)
class Arcs:
    """Directed edges of a `MessageGraph`: first the E that attention weighs, then the X by which users pool.

    A fact, an interaction, or a likeness of texts is a link between two nodes; messages travel over it by two arcs,
    one each way, or by one where the model sends none the other way.

    Parameters
    ----------
    num_users, num_attended
        U and E.
    src, dst
        [E + X] rows, in 0..U+N-1, of both ends.
    relation
        [E + X] relation row: r as the data has it, R + r the other way round, 2R for interactions, and 2R + 1 from
        an item to one with a similar text.
    first
        [U + N] the first arc that enters each node; the others follow it.
    count
        [U + N] how many enter it.
    reverse
        [E + X] the arc of the same link the other way, or `NO_ARC`.
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
        """The arcs of a graph whose data has so many relations, inverses not counted."""
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
        """All arcs into some nodes [n], and for each of these arcs which of the n it enters."""
        return ranges(self.first[nodes], self.count[nodes])

    def out_arcs(self, nodes: IndexArray) -> tuple[IndexArray, IndexArray]:
        """All arcs out of some nodes [n], and for each of these arcs which of the n it leaves."""
        order, ordered = self._by_src
        low, high = (np.searchsorted(ordered, nodes, side=side) for side in ("left", "right"))
        places, which = ranges(low, high - low)
        return order[places], which

    @cached_property
    def _by_src(self) -> tuple[IndexArray, IndexArray]:
        order = np.argsort(self.src, kind="stable")
        return order, self.src[order]

    def is_pooling(self, arcs: IndexArray) -> BoolArray:
        """Which of some arcs enter a user."""
        pooling: BoolArray = arcs >= self.num_attended
        return pooling


def ranges(first: IndexArray, count: IndexArray) -> tuple[IndexArray, IndexArray]:
    """The numbers of some ranges one after the other, and which range each is of."""
    which = np.repeat(np.arange(len(count)), count)
    return first[which] + np.arange(len(which)) - (count.cumsum() - count)[which], which


def _reverse(src: IndexArray, dst: IndexArray, relation: IndexArray, num_relations: int) -> IndexArray:
    """For each arc the one from its dst to its src that stands for the same fact, interaction or likeness."""
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
