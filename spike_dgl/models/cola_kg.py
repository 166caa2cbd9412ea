"""CoLaKG: LightGCN on ID and text embeddings, with attention from items to items with similar texts."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from spike_dgl.config import STRICT
from spike_dgl.dgl_import import DGLGraph, dgl, edge_softmax, fn, require_dgl_on
from spike_dgl.errors import ConfigError
from spike_dgl.models.base import ModelInputs, register
from spike_dgl.models.lightgcn import LightGCN, LightGCNOptions
from spike_dgl.nn.graphs.text_neighbours import text_neighbours
from spike_dgl.nn.kernels.message_passing import weighted_sum
from spike_dgl.nn.precision import in_full_precision

Share = Annotated[float, Field(ge=0.0, lt=1.0)]

ATTENTION_DIM = 32
LEAK = 0.2
"""Slope of the attention's leaky ReLU below zero, as in graph attention networks."""


@dataclass(frozen=True, config=STRICT)
class CoLaKGOptions(LightGCNOptions):
    """Settings of CoLaKG, besides those of `LightGCNOptions`. Defaults are the authors' on Last.FM.

    Parameters
    ----------
    num_neighbours
        k, number of text neighbours that an item attends to; 10, and 30 on MovieLens 1M.
    user_dropout, item_dropout
        Dropout before and after the adapters of user and item texts; 0.2 and 0.6.
    attention_dropout
        Dropout on the attention weights; 0.6.
    """

    num_neighbours: int = Field(default=10, ge=1)
    user_dropout: Share = 0.2
    item_dropout: Share = 0.6
    attention_dropout: Share = 0.6


SEARCH = {
    "model.num_layers": (1, 2, 3),
    "model.num_neighbours": (10, 30),
    "model.item_dropout": (0.2, 0.6),
}


class TextAdapter(nn.Module):
    """Projection of text vectors to the space of the ID embeddings: dropout(elu(W dropout(t) + b))."""

    def __init__(self, vector_dim: int, embedding_dim: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(vector_dim, embedding_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Tensor) -> Tensor:
        """Project text vectors [n, d_t] to [n, D]."""
        adapted: Tensor = self.dropout(functional.elu(self.linear(self.dropout(vectors))))
        return adapted


class NeighbourAttention(nn.Module):
    """Graph attention over an item's text neighbours, with attention weights computed from the texts of both.

    Parameters
    ----------
    vector_dim
        d_t.
    dropout
        Dropout on the attention weights.
    """

    def __init__(self, vector_dim: int, dropout: float) -> None:
        super().__init__()
        self.key = nn.Linear(vector_dim, ATTENTION_DIM, bias=False)
        # Two outputs per node: its term in the attention score as neighbour (src) and as item (dst).
        self.score = nn.Linear(ATTENTION_DIM, 2, bias=False)
        self.dropout = nn.Dropout(dropout)

    @in_full_precision
    def weights(self, graph: DGLGraph, texts: Tensor) -> Tensor:
        """Return the weights [E, 1] of the edges neighbour -> item from texts [I, d_t]; each item's sum to one."""
        with graph.local_scope():
            graph.ndata["neighbour"], graph.ndata["item"] = self.score(self.key(texts)).split(1, dim=1)
            graph.apply_edges(fn.u_add_v("neighbour", "item", "score"))
            weights: Tensor = edge_softmax(graph, functional.leaky_relu(graph.edata["score"], LEAK))
            return weights

    def forward(self, graph: DGLGraph, texts: Tensor, states: Tensor) -> Tensor:
        """Return elu of the weighted sum [I, D] of the neighbours' states; 0 for an item without neighbours."""
        return functional.elu(weighted_sum(graph, states, self.dropout(self.weights(graph, texts))))


@register("cola-kg", CoLaKGOptions, SEARCH)
class CoLaKG(LightGCN):
    """CoLaKG (Cui et al., SIGIR 2025): LightGCN with text neighbours.

    Source: "Comprehending Knowledge Graphs with Large Language Models for Recommender Systems".

    Texts are used twice: projected, they are averaged with the ID embeddings; and each item attends to the k items
    with the most similar texts. LightGCN then propagates the result:

        h_u = (e_u + adapter_u(t_u)) / 2,   h_i = (e_i + adapter_i(t_i)) / 2
        adapter(t) = dropout(elu(W dropout(t) + b))
        alpha_ij = softmax over j in N(i) of leaky_relu(a . [W_a t_j ; W_a t_i])
        h'_i = (h_i + elu(sum_j dropout(alpha_ij) h_j)) / 2
        z = mean over layers of LightGCN on [h_u ; h'_i]
        L = L_rank + L2

    Difference from the paper's central step: there, a language model describes each item's one- and two-hop subgraph
    of the KG, and each user's history, and its answers are encoded (SimCSE, 1,024 dimensions). Here t are the profile
    vectors of the run. Profiles by a language model use similar inputs with other prompts; template profiles add
    nothing to the triples. So a run measures CoLaKG's architecture on the same texts as SPiKE, not the paper's text
    generation.

    Equations and settings are those of the released code. Ours are: L2 on ID embeddings only, not on projected texts;
    an item is not its own neighbour; a neighbour needs a cosine above zero, so an item without a text has none.
    Neighbours are computed once, in blocks of items, in O(I k) memory.

    Parameters
    ----------
    inputs
        Graph and text vectors; the KG acts only through the texts.
    options
        See `CoLaKGOptions`.

    Raises
    ------
    ConfigError
        If the run has no profiles, or DGL does not support the device.
    """

    options: CoLaKGOptions
    user_texts: Tensor
    item_texts: Tensor

    def __init__(self, inputs: ModelInputs, options: CoLaKGOptions) -> None:
        super().__init__(inputs, options)
        require_dgl_on(inputs.device)
        if inputs.user_vectors is None or inputs.entity_vectors is None:
            raise ConfigError(
                "model.name: cola-kg needs profile texts, and this run has no profiles\n"
                "  Set profiles.source=auto or template."
            )
        dim, vector_dim = options.embedding_dim, inputs.entity_vectors.shape[1]
        item_texts = inputs.entity_vectors[: inputs.num_items]
        self.register_buffer("user_texts", inputs.user_vectors, persistent=False)
        self.register_buffer("item_texts", item_texts, persistent=False)
        self.user_adapter = TextAdapter(vector_dim, dim, options.user_dropout)
        self.item_adapter = TextAdapter(vector_dim, dim, options.item_dropout)
        self.attention = NeighbourAttention(vector_dim, options.attention_dropout)
        compared = inputs.compared_texts
        assert compared is not None
        items, neighbours = (
            rows.to(inputs.device) for rows in text_neighbours(compared, options.num_neighbours)
        )
        self.neighbours = dgl.graph((neighbours, items), num_nodes=inputs.num_items)

    def propagate(self) -> Tensor:
        """Return z, the mean over layers, [U + I, D], users first."""
        return self.interactions.mean_of_hops(self.fused(), self.options.num_layers)

    def fused(self) -> Tensor:
        """Return h of users and h' of items, [U + I, D]."""
        users, items = self.embedding[: self.num_users], self.embedding[self.num_users :]
        users = (users + self.user_adapter(self.user_texts)) / 2
        items = (items + self.item_adapter(self.item_texts)) / 2
        aggregated = self.attention(self.neighbours, self.item_texts, items)
        return torch.cat([users, (items + aggregated) / 2])
