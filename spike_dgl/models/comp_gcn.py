"""CompGCN: graph convolution that composes node states with relation embeddings."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from spike_dgl.config import STRICT
from spike_dgl.models.base import EmbeddingModel, ModelInputs, RankingOptions, register
from spike_dgl.nn.graphs.relational import RelationalGraph
from spike_dgl.nn.kernels.message_passing import typed_matrices, typed_product, weighted_sum

Composition = Literal["subtraction", "multiplication", "correlation"]


@dataclass(frozen=True, config=STRICT)
class CompGcnOptions(RankingOptions):
    """Settings of CompGCN, besides those of `RankingOptions`; defaults are the paper's where it gives them.

    Parameters
    ----------
    num_layers
        Number of hops.
    composition
        Message of a node state and a relation embedding: ``subtraction`` (as in TransE), ``multiplication``
        (DistMult) or circular ``correlation`` (HolE). Correlation is best in the paper; multiplication is almost as
        good there, and faster.
    dropout
        Dropout on the aggregated messages of a hop.
    readout
        Final embeddings: the ``last`` layer, as in the paper, or the ``sum`` of ID embeddings and all layers, as in
        SPiKE and LightGCN. The sum ranks better on real data, but overfits small data.
    """

    num_layers: int = Field(default=2, ge=1, le=64)
    composition: Composition = "multiplication"
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    readout: Literal["last", "sum"] = "last"


SEARCH = {
    "model.num_layers": (1, 2, 3),
    "model.readout": ("last", "sum"),
    "model.composition": ("subtraction", "multiplication", "correlation"),
    "model.dropout": (0.1, 0.3, 0.5),
}


def compose(nodes: Tensor, relations: Tensor, composition: Composition) -> Tensor:
    """Return phi(x, z) of rows [n, D]: x - z, x * z, or the circular correlation sum_i x_i z_{(k + i) mod D}."""
    if composition == "subtraction":
        return nodes - relations
    if composition == "multiplication":
        return nodes * relations
    spectrum = torch.fft.rfft(nodes).conj() * torch.fft.rfft(relations)
    correlation: Tensor = torch.fft.irfft(spectrum, n=nodes.shape[1])
    return correlation


class CompositionConvolution(nn.Module):
    """CompGCN layer: (W_S phi(x_v, z_self) + sum over (u, r) of c_uv W_dir(r) phi(x_u, z_r)) / 3.

    Parameters
    ----------
    directions
        Direction of each relation: 0, or 1 for an inverse.
    dim
        D.
    composition
        phi.
    dropout
        Dropout on the sum over neighbours.
    """

    directions: Tensor

    def __init__(self, directions: Tensor, dim: int, composition: Composition, dropout: float) -> None:
        super().__init__()
        self.composition, self.dropout = composition, nn.Dropout(dropout)
        self.matrices = typed_matrices(2, dim, dim)
        self.own = nn.Linear(dim, dim, bias=False)
        self.self_relation = nn.Parameter(torch.empty(1, dim))
        nn.init.xavier_uniform_(self.own.weight)
        nn.init.xavier_uniform_(self.self_relation)
        self.register_buffer("directions", directions, persistent=False)

    def forward(self, graph: RelationalGraph, states: Tensor, relations: Tensor, scale: Tensor) -> Tensor:
        """Compute the next states [U + N, D] from states, relation embeddings and the factors c [E, 1]."""
        pairs = graph.src_pairs
        nodes, by = states.index_select(0, pairs.node), relations.index_select(0, pairs.relation)
        matrices = self.matrices.index_select(0, self.directions)
        sent = typed_product(compose(nodes, by, self.composition), pairs.sizes, matrices)
        gathered = self.dropout(weighted_sum(graph.from_pairs, sent, scale))
        own = self.own(compose(states, self.self_relation, self.composition))
        result: Tensor = (own + gathered) / 3
        return result


@register("comp-gcn", CompGcnOptions, SEARCH)
class CompGcn(EmbeddingModel):
    """CompGCN (Vashishth, Sanyal, Nitin, Talukdar: "Composition-based Multi-Relational Graph Convolutional Networks",
    ICLR 2020).

    On the graph of users and entities, with interactions as a relation::

        h_v^{l+1} = tanh((W_S phi(h_v, z_self) + sum_{(u, r)} W_dir(r) phi(h_u, z_r) / sqrt(d_u d_v)) / 3)
        z_r^{l+1} = W_rel z_r^l

    with one matrix W_dir for relations and one for inverse relations, d the degrees among edges of one direction, and
    phi a composition. Scores are inner products of the embeddings that `CompGcnOptions.readout` selects.

    Differences from the paper: it scores triples with a decoder; we rank items. Dividing by three and by the square
    roots of degrees is from the authors' code, which uses the degree as head for both ends, so that a node that is
    the head of no triple sends no message; here each end has its own degree. We omit its batch normalisation, and use
    one dropout on the sum of both directions.

    Parameters
    ----------
    inputs
        The graph; text vectors are not used.
    options
        See `CompGcnOptions`.
    """

    scale: Tensor

    def __init__(self, inputs: ModelInputs, options: CompGcnOptions) -> None:
        super().__init__()
        self.options, self.num_users, self.num_items = options, inputs.num_users, inputs.num_items
        self.graph = RelationalGraph.from_heterograph(inputs.graph, inputs.device)
        dim, last = options.embedding_dim, options.num_layers - 1
        self.embedding = nn.Parameter(torch.empty(self.graph.num_nodes, dim))
        self.relations = nn.Parameter(torch.empty(self.graph.num_relations, dim))
        nn.init.xavier_uniform_(self.embedding)
        nn.init.xavier_uniform_(self.relations)
        directions = self._directions()
        self.layers = nn.ModuleList(
            CompositionConvolution(directions, dim, options.composition, options.dropout)
            for _ in range(options.num_layers)
        )
        self.relation_updates = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(last))
        self.register_buffer("scale", self._scale(directions), persistent=False)

    def _directions(self) -> Tensor:
        """Return the directions [2R + 2] of relations and inverses, of ``interacts`` and its inverse."""
        R = self.graph.num_relations // 2 - 1
        return torch.tensor([0] * R + [1] * R + [1, 0], device=self.graph.src.device)

    def _scale(self, directions: Tensor) -> Tensor:
        """Return c [E, 1]: 1 / sqrt(product of both ends' degrees among edges of the same direction)."""
        shift = directions[self.graph.relation] * self.graph.num_nodes
        ends = (self.graph.src + shift, self.graph.dst + shift)
        product = torch.stack([torch.bincount(end)[end] for end in ends]).prod(0)
        return product.to(self.embedding.dtype).rsqrt().unsqueeze(-1)

    def propagate(self) -> Tensor:
        """Return the final embeddings [U + N, D], users first."""
        relations: Tensor = self.relations
        state: Tensor = torch.tanh(self.layers[0](self.graph, self.embedding, relations, self.scale))
        total = self.embedding + state
        for layer, update in zip(self.layers[1:], self.relation_updates, strict=True):
            relations = update(relations)
            state = torch.tanh(layer(self.graph, state, relations, self.scale))
            total = total + state
        return total if self.options.readout == "sum" else state
