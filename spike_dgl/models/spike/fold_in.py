"""New users and items, embedded by SPiKE's own layers."""

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
    """New users average the states of their items layer by layer; new items attend to their neighbours.

    New nodes have no ID embedding: zeros stand in for it. Nothing changes for the nodes that were there in training.

    Parameters
    ----------
    conv, inject, options
        Of the trained model, in evaluation mode; `inject` is None without text vectors.
    num_items
        Items of the training data.
    entities
        [N, D] a layer, h^0 to h^L, as they were trained.
    items
        The same of the items, added ones last: [I, D].
    by_text
        Embeds users of whom there is a text only: no hop reads the profile of a user, so that the layers do not say
        what it means.
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
        """[b, D] the sum over layers of the normalised mean of the items' states in the layer below."""
        embedded = torch.stack([self._user(torch.from_numpy(rows)) for rows in histories])
        return self._scored(embedded)

    def _user(self, items: Tensor) -> Tensor:
        means = torch.stack([state[items].mean(dim=0) for state in self.items[:-1]])
        return normalise(self.conv.transformed(means)).sum(dim=0)

    def users_of_profiles(self, vectors: FloatArray) -> FloatArray:
        """[b, D] from text vectors [b, d_t]."""
        return self.by_text.users_of_profiles(vectors)

    @torch.no_grad()
    def with_items(self, new: NewItems) -> tuple[SpikeFoldIn, FloatArray]:
        """Items whose states are computed by the layers of all others, from their texts and neighbours."""
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
        """Link items without facts to their text neighbours among the items of the training data.

        Their states would be zero otherwise. For items with facts, text neighbours cost 0.02 of recall@20 among new
        items on validation (bundled data, with each of three seeds).
        """
        number = self.options.similar_items if self.inject is not None else 0
        without_facts = np.setdiff1d(np.arange(new.number), new.heads)
        if new.vectors is None or not number or not len(without_facts):
            return new
        asked = torch.from_numpy(new.vectors[without_facts])
        assert self.inject is not None
        found = text_neighbours(self.inject.entity_vectors[: self.num_items], number, asked)
        items, neighbours = (rows.numpy() for rows in found)
        similar = self.conv.etypes.index(("entity", SIMILAR, "entity"))
        return replace(
            new,
            heads=np.concatenate([new.heads, without_facts[items]]),
            relations=np.concatenate([new.relations, np.full_like(items, similar)]),
            tails=np.concatenate([new.tails, neighbours]),
        )

    def _injected(self, new: NewItems) -> Tensor:
        """[n, D] injected into the states: gated profiles."""
        if new.vectors is None or self.inject is None or self.options.injection == "none":
            return self.entities[0].new_zeros(new.number, self.options.embedding_dim)
        return self.inject.of_new_entities(torch.from_numpy(new.vectors))

    def _scored(self, embedded: Tensor) -> FloatArray:
        cosine = self.options.score_temperature is not None
        scored: FloatArray = (normalise(embedded) if cosine else embedded).numpy()
        return scored


def _messages(new: NewItems) -> tuple[MessageGraph, Tensor]:
    """Edges to the new items, 0..n-1, from neighbours, which follow them; and the entity rows of the neighbours."""
    tails, position = torch.unique(torch.from_numpy(new.tails), return_inverse=True)
    edges = new.number + position, torch.from_numpy(new.heads), torch.from_numpy(new.relations)
    nothing = torch.empty(0, dtype=torch.int64)
    return MessageGraph.from_edges(edges, (nothing, nothing), 0, new.number + len(tails)), tails
