"""Fold-in of new users and items with SPiKE's own layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from spike_dgl.graph import SIMILAR
from spike_dgl.models.fold_in import FoldIn, NewItems
from spike_dgl.models.spike.injection import ProfileInjection
from spike_dgl.models.spike.options import SpikeOptions
from spike_dgl.nn.graphs.messages import MessageGraph
from spike_dgl.nn.graphs.text_neighbours import text_neighbours
from spike_dgl.nn.kernels.rows import normalise
from spike_dgl.nn.layers.spike_conv import SpikeConv
from spike_dgl.typing import FloatArray, IndexArray


@dataclass(frozen=True)
class SpikeFoldIn(FoldIn):
    """Fold-in of SPiKE: new users average their items in each layer, new items attend to their neighbours.

    New nodes have the ID embedding zero. The states of the training nodes do not change.

    Parameters
    ----------
    conv, inject, options
        Parts of the trained model, in evaluation mode; `inject` is None without text vectors.
    num_items
        Number of items in the training data.
    entities
        States h^0 to h^L of the entities, [N, D] each.
    items
        States h^0 to h^L of the items, [I, D] each; added items are last.
    by_text
        Fold-in for users of whom only a text is known. The layers cannot embed them, since no hop computes a user's
        state from the user's profile.
    """

    conv: SpikeConv
    inject: ProfileInjection | None
    options: SpikeOptions
    num_items: int
    entities: tuple[Tensor, ...]
    items: tuple[Tensor, ...]
    by_text: FoldIn

    @torch.no_grad()
    def users_of_items(self, histories: Sequence[IndexArray]) -> FloatArray:
        """Return [b, D], the sum over layers of the normalised mean of the items' states in the layer below."""
        embedded = torch.stack([self._user(torch.from_numpy(rows)) for rows in histories])
        return self._scored(embedded)

    def _user(self, items: Tensor) -> Tensor:
        means = torch.stack([state[items].mean(dim=0) for state in self.items[:-1]])
        return normalise(self.conv.transformed(means)).sum(dim=0)

    def users_of_profiles(self, vectors: FloatArray) -> FloatArray:
        """Embed users [b, D] from text vectors [b, d_t]."""
        return self.by_text.users_of_profiles(vectors)

    @torch.no_grad()
    def with_items(self, new: NewItems) -> tuple[SpikeFoldIn, FloatArray]:
        """Add items; the model's layers compute their states from their texts and neighbours."""
        injected = self._injected(new)
        states = [injected]
        messages, tails = _messages(self._with_similar_items(new))
        for below in self.entities[:-1]:
            state, _ = self.conv.hop(messages, torch.cat([states[-1], below[tails]]))
            states.append(state[: new.number])
        total = torch.stack(states).sum(dim=0)
        if self.options.injection == "inject-and-remove":
            total = total - injected
        items = tuple(torch.cat(pair) for pair in zip(self.items, states, strict=True))
        return replace(self, items=items), self._scored(total)

    def _with_similar_items(self, new: NewItems) -> NewItems:
        """Link items without triples to their text neighbours among the training items.

        Without neighbours their states h^1 to h^L would be zero. For items with triples, text neighbours lowered
        recall@20 among new items by 0.02 on validation (bundled data, with each of three seeds).
        """
        number = self.options.similar_items if self.inject is not None else 0
        without_triples = np.setdiff1d(np.arange(new.number), new.heads)
        if new.vectors is None or not number or not len(without_triples):
            return new
        queries = torch.from_numpy(new.vectors[without_triples])
        assert self.inject is not None
        if new.rows is not None:
            number += 1  # a training item is its own nearest neighbour
        found = text_neighbours(
            self.inject.entity_vectors[: self.num_items].to(queries.dtype), number, queries
        )
        items, neighbours = (rows.numpy() for rows in found)
        if new.rows is not None:
            others = neighbours != new.rows[without_triples[items]]
            items, neighbours = items[others], neighbours[others]
        similar = self.conv.etypes.index(("entity", SIMILAR, "entity"))
        return replace(
            new,
            heads=np.concatenate([new.heads, without_triples[items]]),
            relations=np.concatenate([new.relations, np.full_like(items, similar)]),
            tails=np.concatenate([new.tails, neighbours]),
        )

    def _injected(self, new: NewItems) -> Tensor:
        """Return the injected profiles g s [n, D]."""
        if new.vectors is None or self.inject is None or self.options.injection == "none":
            return self.entities[0].new_zeros(new.number, self.options.embedding_dim)
        return self.inject.of_new_entities(torch.from_numpy(new.vectors))

    def _scored(self, embedded: Tensor) -> FloatArray:
        cosine = self.options.score_temperature is not None
        scored: FloatArray = (normalise(embedded) if cosine else embedded).numpy()
        return scored


def _messages(new: NewItems) -> tuple[MessageGraph, Tensor]:
    """Return the edges to the new items, rows 0..n-1, from their neighbours, rows n and up; and the neighbours' ids."""
    tails, position = torch.unique(torch.from_numpy(new.tails), return_inverse=True)
    edges = new.number + position, torch.from_numpy(new.heads), torch.from_numpy(new.relations)
    nothing = torch.empty(0, dtype=torch.int64)
    return MessageGraph.from_edges(edges, (nothing, nothing), 0, new.number + len(tails)), tails
