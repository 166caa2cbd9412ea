"""HGT: graph transformer with projections per node type and per relation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from spike_dgl.config import STRICT
from spike_dgl.models.base import EmbeddingModel, ModelInputs, RankingOptions, register
from spike_dgl.nn.graphs.relational import RelationalGraph
from spike_dgl.nn.kernels.message_passing import (
    edge_softmax,
    inner_products,
    typed_matrices,
    typed_product,
    weighted_sum,
)
from spike_dgl.nn.layers.spike_conv import require_whole_heads


@dataclass(frozen=True, config=STRICT)
class HgtOptions(RankingOptions):
    """Settings of HGT, besides those of `RankingOptions`.

    Parameters
    ----------
    num_layers
        Number of hops; 3 in the paper, 2 here as in the other models with a knowledge graph.
    num_heads
        Number H of attention heads; 8 in the paper, of 32 dimensions each. With 64 dimensions, 2 heads have 32 too.
    dropout
        Dropout on the result of each hop, before the residual connection; 0.2 in the authors' code.
    readout
        Final embeddings: the ``last`` layer, as in the paper, or the ``sum`` of ID embeddings and all layers, as in
        SPiKE and LightGCN. The sum ranks better on real data, but overfits small data.
    """

    num_layers: int = Field(default=2, ge=1, le=64)
    num_heads: int = Field(default=2, ge=1, le=1024)
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    readout: Literal["last", "sum"] = "last"

    def __post_init__(self) -> None:
        """Check that the heads divide the dimension."""
        require_whole_heads(self.embedding_dim, self.num_heads)


SEARCH = {
    "model.num_layers": (1, 2, 3),
    "model.readout": ("last", "sum"),
    "model.dropout": (0.2, 0.5),
}


class HeterogeneousAttention(nn.Module):
    """HGT layer: the result of `dgl.nn.HGTConv`, but without tensors with a row per edge.

    Parameters
    ----------
    num_nodes_of_types, num_relations
        Number of nodes of each type, and number of relations of the graph.
    dim
        D.
    num_heads
        H.
    dropout
        Dropout before the residual connection.
    """

    def __init__(
        self,
        num_nodes_of_types: Sequence[int],
        num_relations: int,
        dim: int,
        num_heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.sizes, self.num_heads, self.dropout = tuple(num_nodes_of_types), num_heads, nn.Dropout(dropout)
        head_dim = dim // num_heads
        self.key, self.query, self.value, self.result = (
            typed_matrices(len(self.sizes), dim, dim) for _ in range(4)
        )
        self.attention_matrices, self.message_matrices = (
            nn.ParameterList(typed_matrices(num_relations, head_dim, head_dim) for _ in range(num_heads))
            for _ in range(2)
        )
        self.relation_prior = nn.Parameter(torch.ones(num_relations, num_heads))
        self.skip = nn.Parameter(torch.ones(len(self.sizes)))

    def forward(self, graph: RelationalGraph, node_types: Tensor, states: Tensor) -> Tensor:
        """Compute the next states [U + N, D] from states of nodes of ascending types [U + N]."""
        value = self._sent(graph, typed_product(states, self.sizes, self.value), self.message_matrices)
        gathered = weighted_sum(graph.from_pairs, value, self.attention(graph, states))
        added = typed_product(functional.gelu(gathered.flatten(1)), self.sizes, self.result)
        share = torch.sigmoid(self.skip).index_select(0, node_types).unsqueeze(-1)
        result: Tensor = share * self.dropout(added) + (1.0 - share) * states
        return result

    def attention(self, graph: RelationalGraph, states: Tensor) -> Tensor:
        """Return the attention weights [E, H, 1]; those of one dst node and head sum to one."""
        query = self._heads(typed_product(states, self.sizes, self.query))
        key = self._sent(graph, typed_product(states, self.sizes, self.key), self.attention_matrices)
        prior = self.relation_prior.index_select(0, graph.src_pairs.relation).unsqueeze(-1)
        logits = inner_products(graph.from_pairs, key * prior / math.sqrt(key.shape[-1]), query)
        return edge_softmax(graph.from_pairs, logits)

    def _sent(self, graph: RelationalGraph, rows: Tensor, matrices: nn.ParameterList) -> Tensor:
        """Multiply the src rows of the pairs with their relations' matrices, one per head: [P, H, D / H]."""
        pairs = graph.src_pairs
        heads = self._heads(rows.index_select(0, pairs.node)).unbind(1)
        products = [
            typed_product(head, pairs.sizes, matrix) for head, matrix in zip(heads, matrices, strict=True)
        ]
        return torch.stack(products, dim=1)

    def _heads(self, rows: Tensor) -> Tensor:
        """Reshape [n, D] to [n, H, D / H]."""
        return rows.view(len(rows), self.num_heads, -1)


@register("hgt", HgtOptions, SEARCH)
class Hgt(EmbeddingModel):
    """HGT (Hu, Dong, Wang, Sun: "Heterogeneous Graph Transformer", WWW 2020).

    On the graph of users and entities, with interactions as a relation, for each head, with tau the type of a node
    (user or entity), and r the relation of an edge from s to t::

        alpha(s, r, t) = (K_tau(s) h_s) W_r^ATT (Q_tau(t) h_t)' mu_r / sqrt(d), then a softmax over all (s, r) of t
        m_t            = sum over (s, r) of alpha(s, r, t) (V_tau(s) h_s) W_r^MSG, heads concatenated
        h_t^{l+1}      = a A_tau(t) GELU(m_t) + (1 - a) h_t,   a = sigmoid(skip_tau(t))

    from ID embeddings h^0. Scores are inner products of the embeddings that `HgtOptions.readout` selects.

    Differences from the paper: its residual connection has no gate; ours is that of the authors' code and of DGL's
    layer. There is no temporal encoding and no sampling. The projections have no bias.

    Parameters
    ----------
    inputs
        The graph; text vectors are not used.
    options
        See `HgtOptions`.
    """

    node_types: Tensor

    def __init__(self, inputs: ModelInputs, options: HgtOptions) -> None:
        super().__init__()
        self.options, self.num_users, self.num_items = options, inputs.num_users, inputs.num_items
        self.graph = RelationalGraph.from_heterograph(inputs.graph, inputs.device)
        self.embedding = nn.Parameter(torch.empty(self.graph.num_nodes, options.embedding_dim))
        nn.init.xavier_uniform_(self.embedding)
        self.layers = nn.ModuleList(
            HeterogeneousAttention(
                (self.num_users, inputs.num_entities),
                self.graph.num_relations,
                options.embedding_dim,
                options.num_heads,
                options.dropout,
            )
            for _ in range(options.num_layers)
        )
        node_types = (torch.arange(self.graph.num_nodes) >= self.num_users).long()
        self.register_buffer("node_types", node_types, persistent=False)

    def propagate(self) -> Tensor:
        """Return the final embeddings [U + N, D], users first."""
        state: Tensor = self.embedding
        total = state
        for layer in self.layers:
            state = layer(self.graph, self.node_types, state)
            total = total + state
        return total if self.options.readout == "sum" else state
