"""R-GCN: graph convolution with a matrix per relation, on the knowledge graph and the interactions."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from spike_dgl.config import STRICT
from spike_dgl.errors import ConfigError
from spike_dgl.models.base import Batch, EmbeddingModel, ModelInputs, RankingOptions, register
from spike_dgl.nn.graphs.neighbour_sampling import check_fanout
from spike_dgl.nn.graphs.relational import RelationalGraph
from spike_dgl.nn.kernels.message_passing import typed_matrices, typed_product, weighted_sum


@dataclass(frozen=True, config=STRICT)
class RgcnOptions(RankingOptions):
    """Settings of R-GCN, besides those of `RankingOptions`.

    Parameters
    ----------
    num_layers
        Number of hops; 2 in the paper.
    num_bases
        Number of basis matrices, of which each relation's matrix is a linear combination; 2 in the paper's link
        prediction, on graphs with one node type.
    edge_dropout, self_dropout
        Dropout of edges, and of the elements of W_0 h. The paper drops 0.4 of the edges and 0.2 of the self-loops;
        here the self-loop is what overfits.
    readout
        Final embeddings: the ``last`` layer, as in the paper, or the ``sum`` of ID embeddings and all layers, as in
        SPiKE and LightGCN.
    fanout
        Numbers of neighbours to sample, one per layer, the last for the users and items of the batch; -1 samples all.
        Only for training on partitions (docs/distributed.md), which needs it.
    """

    num_layers: int = Field(default=2, ge=1, le=64)
    num_bases: int = Field(default=4, ge=1, le=10_000)
    edge_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    self_dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    readout: Literal["last", "sum"] = "last"
    fanout: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check_fanout(self.fanout, self.num_layers)


SEARCH = {
    "model.num_layers": (1, 2, 3),
    "model.self_dropout": (0.2, 0.5, 0.8),
    "model.readout": ("last", "sum"),
}


class RelationalConvolution(nn.Module):
    """R-GCN layer: W_0 h_i + sum_r W_r (mean of h_j over neighbours j of i by relation r), with W_r = sum_b a_rb V_b.

    `dgl.nn.RelGraphConv` with ``regularizer="basis"`` computes the same with a message per edge, [E, D]; here there is
    one message per distinct (src, relation) pair.

    Parameters
    ----------
    num_relations
        Number of relations including inverses.
    dim
        D.
    num_bases
        Number of matrices V_b.
    self_dropout
        Dropout on W_0 h_i.
    """

    def __init__(self, num_relations: int, dim: int, num_bases: int, self_dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(self_dropout)
        self.bases = typed_matrices(num_bases, dim, dim)
        self.coefficients = nn.Parameter(torch.empty(num_relations, num_bases))
        self.own = nn.Linear(dim, dim, bias=False)
        nn.init.xavier_uniform_(self.coefficients)
        nn.init.xavier_uniform_(self.own.weight)

    def forward(self, graph: RelationalGraph, states: Tensor, weights: Tensor) -> Tensor:
        """Compute the next states [U + N, D] from states and the edges' weights [E, 1] in the means."""
        matrices = torch.einsum("rb,bde->rde", self.coefficients, self.bases)
        pairs = graph.src_pairs
        sent = typed_product(states.index_select(0, pairs.node), pairs.sizes, matrices)
        own: Tensor = self.dropout(self.own(states))
        return own + weighted_sum(graph.from_pairs, sent, weights)


@register("r-gcn", RgcnOptions, SEARCH)
class Rgcn(EmbeddingModel):
    """R-GCN (Schlichtkrull, Kipf, et al.: "Modeling Relational Data with Graph Convolutional Networks", ESWC 2018).

    On the graph of users and entities, with interactions as a relation::

        h_i^{l+1} = ReLU(W_0 h_i^l + sum_r sum_{j in N_i^r} W_r h_j^l / |N_i^r|),   W_r = sum_b a_rb V_b

    from ID embeddings h^0, without the ReLU in the last layer. Scores are inner products of the embeddings that
    `RgcnOptions.readout` selects.

    Differences from the paper: it predicts links of all relations with DistMult; we rank items, so there is no L2 loss
    on a decoder. After edge dropout, messages are scaled up instead of computing new means, and dropout on self-loops
    is elementwise.

    Parameters
    ----------
    inputs
        The graph; text vectors are not used.
    options
        See `RgcnOptions`.
    """

    neighbour_share: Tensor

    def __init__(self, inputs: ModelInputs, options: RgcnOptions) -> None:
        super().__init__()
        self.options, self.num_users, self.num_items = options, inputs.num_users, inputs.num_items
        self.graph = RelationalGraph.from_heterograph(inputs.graph, inputs.device)
        self.embedding = nn.Parameter(torch.empty(self.graph.num_nodes, options.embedding_dim))
        nn.init.xavier_uniform_(self.embedding)
        sizes = (self.graph.num_relations, options.embedding_dim, options.num_bases, options.self_dropout)
        self.layers = nn.ModuleList(RelationalConvolution(*sizes) for _ in range(options.num_layers))
        received = self.graph.dst_pairs.of_edge
        share = 1.0 / torch.bincount(received).index_select(0, received).unsqueeze(-1)
        self.register_buffer("neighbour_share", share, persistent=False)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted loss terms. Raises `ConfigError` with a `fanout`."""
        if self.options.fanout:
            raise ConfigError("R-GCN samples neighbours on partitions only\n  Leave out model.fanout.")
        return super().loss(batch)

    def propagate(self) -> Tensor:
        """Return the final embeddings [U + N, D], users first."""
        state: Tensor = self.embedding
        total, last = state, len(self.layers) - 1
        for number, layer in enumerate(self.layers):
            kept = functional.dropout(self.neighbour_share, self.options.edge_dropout, self.training)
            state = layer(self.graph, state, kept)
            state = state if number == last else functional.relu(state)
            total = total + state
        return total if self.options.readout == "sum" else state
