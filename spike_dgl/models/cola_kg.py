"""CoLaKG: LightGCN that starts from IDs and texts, and whose items listen to items with similar texts."""

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
        k, items with similar texts that an item listens to; 10, and 30 on MovieLens 1M.
    user_dropout, item_dropout
        Share of numbers dropped before and after the adapter of user and of item texts; 0.2 and 0.6.
    attention_dropout
        Share of the neighbours' weights dropped; 0.6.
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
    """Text vectors in the space of the ID embeddings: dropout(elu(W dropout(t) + b)), [n, d_t] to [n, D]."""

    def __init__(self, vector_dim: int, embedding_dim: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(vector_dim, embedding_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: Tensor) -> Tensor:
        """[n, D] from text vectors [n, d_t]."""
        adapted: Tensor = self.dropout(functional.elu(self.linear(self.dropout(vectors))))
        return adapted


class NeighbourAttention(nn.Module):
    """Messages from an item's neighbours, weighted by the texts of both (graph attention with texts as keys).

    Parameters
    ----------
    vector_dim
        d_t.
    dropout
        Share of the weights dropped in training.
    """

    def __init__(self, vector_dim: int, dropout: float) -> None:
        super().__init__()
        self.key = nn.Linear(vector_dim, ATTENTION_DIM, bias=False)
        # Its two outputs are a node's share of the score as neighbour, and as the item that listens.
        self.score = nn.Linear(ATTENTION_DIM, 2, bias=False)
        self.dropout = nn.Dropout(dropout)

    @in_full_precision
    def weights(self, graph: DGLGraph, texts: Tensor) -> Tensor:
        """[E, 1] of each edge neighbour -> item, from texts [I, d_t]; those of an item sum to one."""
        with graph.local_scope():
            graph.ndata["neighbour"], graph.ndata["item"] = self.score(self.key(texts)).split(1, dim=1)
            graph.apply_edges(fn.u_add_v("neighbour", "item", "score"))
            weights: Tensor = edge_softmax(graph, functional.leaky_relu(graph.edata["score"], LEAK))
            return weights

    def forward(self, graph: DGLGraph, texts: Tensor, states: Tensor) -> Tensor:
        """[I, D] elu of the weighted sum of the neighbours' states [I, D]; 0 where an item has no neighbours."""
        return functional.elu(weighted_sum(graph, states, self.dropout(self.weights(graph, texts))))


@register("cola-kg", CoLaKGOptions, SEARCH)
class CoLaKG(LightGCN):
    """CoLaKG (Cui et al., SIGIR 2025): semantic neighbours beside LightGCN.

    Source: "Comprehending Knowledge Graphs with Large Language Models for Recommender Systems".

    Texts enter twice: adapted, they are averaged with the ID embeddings; and each item gathers from the k items with
    the most similar texts anywhere in the KG. LightGCN then runs on what comes out:

        h_u = (e_u + adapter_u(t_u)) / 2,   h_i = (e_i + adapter_i(t_i)) / 2
        adapter(t) = dropout(elu(W dropout(t) + b))
        alpha_ij = softmax over j in N(i) of leaky_relu(a . [W_a t_j ; W_a t_i])
        h'_i = (h_i + elu(sum_j dropout(alpha_ij) h_j)) / 2
        z = mean over layers of LightGCN on [h_u ; h'_i]
        L = L_rank + L2

    What stands in for the paper's central step: there, a language model reads each item's one- and two-hop subgraph
    of the KG and, for users, their history, and its answers are embedded (SimCSE, 1,024 numbers). Here t are this run's
    profile vectors. Written by a language model, these rest on much the same material, by other prompts; made from
    templates, nothing is comprehended or added to what the triples say. So a run measures what CoLaKG's
    architecture makes of the same texts that SPiKE gets, not the paper's text generation.

    Equations and settings are those of the released code. Ours are: L2 acts on ID embeddings only, not on adapted
    texts too; an item is not its own neighbour; a neighbour needs a cosine above zero, so an item without a text
    has none. Neighbours are found once, for some items at a time, so memory grows with I k.

    Parameters
    ----------
    inputs
        Graph and text vectors; the KG acts only through the texts.
    options
        See `CoLaKGOptions`.

    Raises
    ------
    ConfigError
        Where the run has no profiles, or where DGL does not run on the device.
    """

    options: CoLaKGOptions
    user_texts: Tensor
    item_texts: Tensor

    def __init__(self, inputs: ModelInputs, options: CoLaKGOptions) -> None:
        super().__init__(inputs, options)
        require_dgl_on(inputs.device)
        if inputs.user_vectors is None or inputs.entity_vectors is None:
            raise ConfigError(
                "model.name: cola-kg is made of profile texts, and this run has no profiles\n"
                "  Set profiles.source=auto or template."
            )
        dim, vector_dim = options.embedding_dim, inputs.entity_vectors.shape[1]
        item_texts = inputs.entity_vectors[: inputs.num_items]
        self.register_buffer("user_texts", inputs.user_vectors, persistent=False)
        self.register_buffer("item_texts", item_texts, persistent=False)
        self.user_adapter = TextAdapter(vector_dim, dim, options.user_dropout)
        self.item_adapter = TextAdapter(vector_dim, dim, options.item_dropout)
        self.attention = NeighbourAttention(vector_dim, options.attention_dropout)
        items, neighbours = text_neighbours(item_texts.to(inputs.device), options.num_neighbours)
        self.neighbours = dgl.graph((neighbours, items), num_nodes=inputs.num_items)

    def propagate(self) -> Tensor:
        """z, the mean over layers, [U + I, D], users first."""
        return self.interactions.mean_of_hops(self.fused(), self.options.num_layers)

    def fused(self) -> Tensor:
        """h of users and h' of items, [U + I, D]."""
        users, items = self.embedding[: self.num_users], self.embedding[self.num_users :]
        users = (users + self.user_adapter(self.user_texts)) / 2
        items = (items + self.item_adapter(self.item_texts)) / 2
        aggregated = self.attention(self.neighbours, self.item_texts, items)
        return torch.cat([users, (items + aggregated) / 2])
