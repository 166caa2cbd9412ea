"""Graph attention over a knowledge graph, with relations in the attention but not in the message."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from spike_dgl.nn.dispatch import is_compiled
from spike_dgl.nn.graphs.edge_list import EdgeList
from spike_dgl.nn.kernels.message_passing import edge_softmax, inner_products, weighted_sum
from spike_dgl.nn.kernels.rows import normalise

SLOPE = 0.2
"""Negative slope of the leaky ReLU."""


class KnowledgeAttention(nn.Module):
    r"""L hops of graph attention over KG neighbours; the relation weights both ends of an edge.

    .. math::
        \alpha = \mathrm{softmax}_h \, \mathrm{LeakyReLU}\big( \langle e_r, [x_h; x_t] W \rangle \big), \qquad
        x_h' = \mathrm{norm}\big(\mathrm{dropout}(x_h + \sum_{(r, t)} \alpha \, x_t)\big)

    The result starts as the input; each hop multiplies it by `residual_weight` and adds its own state.
    Source: "heterogeneous knowledge aggregation" of DiffKG (Jiang, Yang, Xia, Huang; WSDM 2024).

    [x_h; x_t] W is a sum of one term per end, so the logits are inner products between entities and relations, which
    are computed along edges without a tensor [E, D].

    Parameters
    ----------
    heads, tails, relations
        Edges [E]; messages are sent from tail to head.
    num_entities, num_relations
        N, and number of rows of the relation embedding.
    embedding_dim
        D.
    num_layers
        L.
    dropout
        Dropout on the result of each hop in training.
    residual_weight
        Factor of the result so far when the next hop's state is added.
    device
        Device to compute on.
    """

    def __init__(
        self,
        heads: Tensor,
        tails: Tensor,
        relations: Tensor,
        *,
        num_entities: int,
        num_relations: int,
        embedding_dim: int,
        num_layers: int,
        dropout: float,
        residual_weight: float,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.num_layers, self.dropout, self.residual_weight = num_layers, dropout, residual_weight
        heads, tails, relations = (rows.to(device) for rows in (heads, tails, relations))
        self.edges = EdgeList(tails, heads, num_entities, num_entities)
        # Relations as nodes: two graphs, with an edge from the head, or from the tail, of each triple to its relation.
        self.ends = [EdgeList(end, relations, num_entities, num_relations) for end in (heads, tails)]
        self.relation_embedding = nn.Parameter(torch.empty(num_relations, embedding_dim))
        self.projection = nn.Parameter(torch.empty(2 * embedding_dim, embedding_dim))
        nn.init.xavier_uniform_(self.relation_embedding)
        nn.init.xavier_uniform_(self.projection, gain=nn.init.calculate_gain("relu"))

    def forward(self, entities: Tensor, kept: Tensor | None = None) -> Tensor:
        """Propagate embeddings [N, D] over all edges, or over those where the mask `kept` [E] is true."""
        chosen = None
        if kept is not None and is_compiled(kept.device):
            chosen = kept.nonzero().squeeze(-1)
        edges = self.edges if chosen is None else self.edges.keep(chosen)
        state = result = entities
        for _ in range(self.num_layers):
            logits = self.logits(state)
            if chosen is not None:
                logits = logits.index_select(0, chosen)
            elif kept is not None:  # a GPU need not wait for their number
                logits = logits.masked_fill(~kept.unsqueeze(-1), -torch.inf)
            gathered = weighted_sum(edges, state, edge_softmax(edges, logits))
            state = normalise(state + gathered, self.dropout if self.training else 0.0)
            result = self.residual_weight * result + state
        return result

    def logits(self, state: Tensor) -> Tensor:
        """Return the attention logits [E, 1]."""
        projections = self.projection.chunk(2)
        of_heads, of_tails = (
            inner_products(graph, state @ projection, self.relation_embedding)
            for graph, projection in zip(self.ends, projections, strict=True)
        )
        return functional.leaky_relu(of_heads + of_tails, SLOPE)
