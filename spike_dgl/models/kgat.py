"""KGAT: attention on the knowledge graph and the interactions, computed from jointly trained TransR embeddings."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from spike_dgl.config import STRICT
from spike_dgl.models.base import (
    Batch,
    EmbeddingModel,
    ModelInputs,
    RankingOptions,
    ranking_terms,
    register,
)
from spike_dgl.nn.graphs.relational import RelationalGraph
from spike_dgl.nn.kernels.message_passing import (
    edge_softmax,
    inner_products,
    product_of_types,
    typed_matrices,
    typed_product,
    weighted_sum,
)
from spike_dgl.nn.kernels.rows import normalise
from spike_dgl.nn.losses import bpr_loss


@dataclass(frozen=True, config=STRICT)
class KgatOptions(RankingOptions):
    """Settings of KGAT, besides those of `RankingOptions`; defaults from the paper.

    Parameters
    ----------
    layer_dims
        Dimension of each hop's result; the results and the ID embedding are concatenated.
    message_dropout
        Dropout on each hop's result.
    kg_weight
        Weight of the loss on triples.
    kg_batch_size
        Number of triples per step in that loss.
    """

    layer_dims: tuple[Annotated[int, Field(gt=0, le=4096)], ...] = Field(
        default=(64, 32, 16), min_length=1, max_length=64
    )
    message_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    kg_weight: float = Field(default=1.0, ge=0.0)
    kg_batch_size: int = Field(default=2048, ge=1, le=1_000_000)
    l2_weight: float = Field(default=1e-5, ge=0.0)


SEARCH = {
    "model.layer_dims": ((64,), (64, 32), (64, 32, 16)),
    "model.message_dropout": (0.1, 0.3, 0.5),
    "model.kg_weight": (0.1, 1.0),
}


class BiInteraction(nn.Module):
    """Combination of a node's state e and its aggregated messages n: LeakyReLU(W_1 (e + n)) + LeakyReLU(W_2 (e * n)).

    Parameters
    ----------
    in_dim, out_dim
        Dimensions of the inputs [n, in_dim] and the result [n, out_dim].
    """

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.of_sum, self.of_product = nn.Linear(in_dim, out_dim), nn.Linear(in_dim, out_dim)
        for linear in (self.of_sum, self.of_product):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, nodes: Tensor, gathered: Tensor) -> Tensor:
        """Compute the equation above; * is elementwise."""
        summed, multiplied = self.of_sum(nodes + gathered), self.of_product(nodes * gathered)
        return functional.leaky_relu(summed, 0.2) + functional.leaky_relu(multiplied, 0.2)


@register("kgat", KgatOptions, SEARCH)
class Kgat(EmbeddingModel):
    """KGAT (Wang, He, Cao, Liu, Chua: "KGAT: Knowledge Graph Attention Network for Recommendation", KDD 2019).

    On the graph of users and entities, with interactions as a relation, triples (h, r, t) and their inverses::

        pi(h, r, t) = (W_r e_t)' tanh(W_r e_h + e_r), then a softmax over all triples of h
        n_h         = sum over (h, r, t) of pi(h, r, t) e_t
        e_h^{l+1}   = LeakyReLU(W_1 (e_h^l + n_h^l)) + LeakyReLU(W_2 (e_h^l * n_h^l))

    The final embedding is the concatenation of the ID embedding and the normalised results of all hops; scores are
    inner products. A second loss trains e and W_r as in TransR:
    -log sigmoid(g(h, r, t') - g(h, r, t)), g = |W_r e_h + e_r - W_r e_t|^2.

    Differences from the paper: it alternates steps on the ranking loss and on the triples, each with its own
    optimiser; here every step minimises the sum of both, on newly drawn triples. The corrupted tail t' is any node,
    even if the triple exists. Embeddings are initialised as by Glorot, not from a trained matrix factorisation. L2 is
    on the ID embeddings of the batch only. Attention is computed from the current parameters, as in the paper; the
    authors' code computes it once per epoch. `dgl.nn` has no such layer: none of its attention layers projects both
    ends of an edge with the relation's matrix. The tests compare a hop with a dense implementation.

    Parameters
    ----------
    inputs
        The graph; text vectors are not used.
    options
        See `KgatOptions`.
    """

    def __init__(self, inputs: ModelInputs, options: KgatOptions) -> None:
        super().__init__()
        self.options, self.num_users, self.num_items = options, inputs.num_users, inputs.num_items
        self.graph = RelationalGraph.from_heterograph(inputs.graph, inputs.device)
        dim = options.embedding_dim
        self.embedding = nn.Parameter(torch.empty(self.graph.num_nodes, dim))
        self.relations = nn.Parameter(torch.empty(self.graph.num_relations, dim))
        nn.init.xavier_uniform_(self.embedding)
        nn.init.xavier_uniform_(self.relations)
        self.relation_matrices = typed_matrices(self.graph.num_relations, dim, dim)
        dims = (dim, *options.layer_dims)
        self.layers = nn.ModuleList(map(BiInteraction, dims[:-1], dims[1:]))

    def attention(self) -> Tensor:
        """Return pi [E, 1] in the order of the graph's edges; those of one dst node sum to one."""
        src_pairs, dst_pairs = self.graph.src_pairs, self.graph.dst_pairs
        tails, heads = (
            typed_product(self.embedding.index_select(0, pairs.node), pairs.sizes, self.relation_matrices)
            for pairs in (src_pairs, dst_pairs)
        )
        heads = torch.tanh(heads + self.relations.index_select(0, dst_pairs.relation))
        return edge_softmax(self.graph.edges, inner_products(self.graph.between_pairs, tails, heads))

    def propagate(self) -> Tensor:
        """Return the final embeddings [U + N, D + sum of layer_dims], users first."""
        attention = self.attention()
        state: Tensor = self.embedding
        results = [state]
        for layer in self.layers:
            state = layer(state, weighted_sum(self.graph.edges, state, attention))
            state = functional.dropout(state, self.options.message_dropout, self.training)
            results.append(normalise(state))
        return torch.cat(results, dim=1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the ranking loss, L2 on the batch's ID embeddings, and the loss on triples, all weighted."""
        rows = batch.rows(self.num_users)
        terms = ranking_terms(self.propagate(), self.embedding, rows, self.options)
        if self.options.kg_weight:
            device = self.embedding.device
            edges = torch.randint(len(self.graph), (self.options.kg_batch_size,), device=device)
            corrupted = torch.randint(self.graph.num_nodes, edges.shape, device=device)
            terms["triples"] = self.options.kg_weight * self.triple_loss(edges.sort().values, corrupted)
        return terms

    def triple_loss(self, edges: Tensor, corrupted: Tensor) -> Tensor:
        """Return the unweighted TransR loss.

        Parameters
        ----------
        edges
            Triples: ascending positions [B] in the graph's edges.
        corrupted
            Corrupted tails t': nodes [B].
        """
        graph, relation = self.graph, self.graph.relation[edges]
        head, tail, other = (
            product_of_types(self.embedding.index_select(0, nodes), relation, self.relation_matrices)
            for nodes in (graph.dst[edges], graph.src[edges], corrupted)
        )
        translated = head + self.relations.index_select(0, relation)
        near, far = ((translated - end).square().sum(-1) for end in (tail, other))
        return bpr_loss(-near, -far)
