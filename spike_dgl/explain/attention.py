"""The attention of a whole graph as arrays, with the names of what they are about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spike_dgl.errors import UnknownIdError, nearest
from spike_dgl.typing import BoolArray, FloatArray, IndexArray


@dataclass(frozen=True)
class AttentionEdge:
    """One message of one hop, with names: ``dst`` receives from ``src``, with a weight for each attention head."""

    dst: str
    relation: str
    src: str
    weight: tuple[float, ...]


@dataclass(frozen=True)
class Attention:
    """Weights of all messages that entities receive, in every hop and head.

    The head of a fact receives from its tail. Facts are read both ways, the inverse under
    the name of the relation with ``(inverse)``, and items receive from their users by ``liked by`` and from items with
    similar texts by ``similar text``. The weights that enter an entity sum to one in each hop and head.

    Parameters
    ----------
    dst
        [E] rows, among `names`, of the entities that receive; ascending.
    relation
        [E] rows among `relations`.
    src
        [E] rows, among `names`, of the nodes they receive from.
    weight
        [L, E, H].
    names
        [U + N] names of all nodes, users first.
    kinds
        [U + N] "user", "item" or "entity".
    relations
        [2R + 2] names of the relation rows.
    """

    dst: IndexArray
    relation: IndexArray
    src: IndexArray
    weight: FloatArray
    names: tuple[str, ...]
    kinds: np.ndarray
    relations: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.dst)

    @property
    def num_layers(self) -> int:
        """L."""
        return len(self.weight)

    @property
    def num_heads(self) -> int:
        """H."""
        return int(self.weight.shape[2])

    def edges(self, layer: int = 1) -> Iterator[AttentionEdge]:
        """The messages of a hop, counted from 1, one after the other."""
        for dst, relation, src, weight in zip(
            self.dst, self.relation, self.src, self.weight[self._layer(layer)], strict=True
        ):
            yield AttentionEdge(
                self.names[dst], self.relations[relation], self.names[src], tuple(map(float, weight))
            )

    def select(self, chosen: BoolArray | IndexArray) -> Attention:
        """Only some of the messages: positions, or a mask [E]."""
        return Attention(
            self.dst[chosen],
            self.relation[chosen],
            self.src[chosen],
            self.weight[:, chosen],
            self.names,
            self.kinds,
            self.relations,
        )

    def to_node(self, name: str) -> Attention:
        """The messages that nodes of some name receive. Raises `UnknownIdError` where none is called so."""
        rows = [row for row, known in enumerate(self.names) if known == name]
        if not rows:
            raise UnknownIdError(f"unknown node '{name}'; {nearest(name, self.names)}")
        return self.select(np.isin(self.dst, rows))

    def by_relation(self, layer: int = 1) -> dict[str, FloatArray]:
        """For each relation its share [H] of all attention: the mean, over entities that receive it, of their sums."""
        weight = self.weight[self._layer(layer)]
        shares = {}
        for row in np.unique(self.relation):
            chosen = self.relation == row
            receivers = len(np.unique(self.dst[chosen]))
            shares[self.relations[row]] = (weight[chosen].sum(axis=0) / receivers).astype(np.float32)
        return shares

    def entropy(self, layer: int = 1) -> tuple[IndexArray, FloatArray]:
        """How evenly each entity attends: rows [n] of those with messages, and entropies [n, H] in bits.

        An entity that attends to k neighbours alike has log2(k) bits, one that attends to a single one has none.
        """
        weight = self.weight[self._layer(layer)]
        logarithm = np.log2(weight, where=weight > 0, out=np.zeros_like(weight))
        heads, first = np.unique(self.dst, return_index=True)
        return heads, -np.add.reduceat(weight * logarithm, first, axis=0)

    def _layer(self, layer: int) -> int:
        if not 1 <= layer <= self.num_layers:
            raise ValueError(f"layer {layer}: this model has layers 1 to {self.num_layers}")
        return layer - 1
