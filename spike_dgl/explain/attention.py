"""Attention of the whole graph as arrays, with names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from spike_dgl.errors import UnknownIdError, nearest
from spike_dgl.typing import BoolArray, FloatArray, IndexArray


@dataclass(frozen=True)
class AttentionEdge:
    """Message of one hop from ``src`` to ``dst``, by name, with a weight for each attention head."""

    dst: str
    relation: str
    src: str
    weight: tuple[float, ...]


@dataclass(frozen=True)
class Attention:
    """Attention weights of all messages to entities, in every hop and head.

    The head of a triple attends to its tail by the relation, and the tail to the head by the relation with
    ``(inverse)``. Items attend to their users by ``liked by``, and to their text neighbours by ``similar text``. The
    weights of the messages to an entity sum to one in each hop and head.

    Parameters
    ----------
    dst
        Rows [E] in `names` of the entities; ascending.
    relation
        Rows [E] in `relations`.
    src
        Rows [E] in `names` of the nodes they attend to.
    weight
        Attention weights [L, E, H].
    names
        Names [U + N] of all nodes, users first.
    kinds
        "user", "item" or "entity" [U + N].
    relations
        Names [2R + 2] of the relation rows.
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
        """Number of layers, L."""
        return len(self.weight)

    @property
    def num_heads(self) -> int:
        """Number of attention heads, H."""
        return int(self.weight.shape[2])

    def edges(self, layer: int = 1) -> Iterator[AttentionEdge]:
        """Yield the messages of a hop; `layer` counts from 1."""
        for dst, relation, src, weight in zip(
            self.dst, self.relation, self.src, self.weight[self._layer(layer)], strict=True
        ):
            yield AttentionEdge(
                self.names[dst], self.relations[relation], self.names[src], tuple(map(float, weight))
            )

    def select(self, chosen: BoolArray | IndexArray) -> Attention:
        """Return a subset of the messages, given by positions or a mask [E]."""
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
        """Return the messages to all nodes of a name. Raises `UnknownIdError` if there is none."""
        rows = [row for row, known in enumerate(self.names) if known == name]
        if not rows:
            raise UnknownIdError(f"unknown node '{name}'; {nearest(name, self.names)}")
        return self.select(np.isin(self.dst, rows))

    def by_relation(self, layer: int = 1) -> dict[str, FloatArray]:
        """Return each relation's share [H] of attention: its sum per entity, averaged over the entities with it."""
        weight = self.weight[self._layer(layer)]
        shares = {}
        for row in np.unique(self.relation):
            chosen = self.relation == row
            num_entities = len(np.unique(self.dst[chosen]))
            shares[self.relations[row]] = (weight[chosen].sum(axis=0) / num_entities).astype(np.float32)
        return shares

    def entropy(self, layer: int = 1) -> tuple[IndexArray, FloatArray]:
        """Return the entropy of the attention: rows [n] of entities with messages, and entropies [n, H] in bits.

        Uniform attention to k neighbours has log2(k) bits, attention to a single neighbour has 0 bits.
        """
        weight = self.weight[self._layer(layer)]
        logarithm = np.log2(weight, where=weight > 0, out=np.zeros_like(weight))
        entities, first = np.unique(self.dst, return_index=True)
        return entities, -np.add.reduceat(weight * logarithm, first, axis=0)

    def _layer(self, layer: int) -> int:
        if not 1 <= layer <= self.num_layers:
            raise ValueError(f"layer {layer}: this model has layers 1 to {self.num_layers}")
        return layer - 1
