"""Relation-aware attention over a knowledge graph, the message function of SPiKE."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from spike_dgl.nn.kernels import Kernels, attend
from spike_dgl.nn.message_graph import MessageGraph

RelationInit = Literal["random", "identity"]


def require_whole_heads(embedding_dim: int, num_heads: int) -> None:
    """Raise `ValueError` where the heads do not divide the dimension."""
    if embedding_dim % num_heads:
        raise ValueError(f"embedding_dim {embedding_dim} is not a multiple of num_heads {num_heads}")


class RelationalAttention(nn.Module):
    """One hop of SPiKE's KG aggregation: entities gather from their neighbours, weighted by attention.

    For an edge (h, r, t) and head m, with d_k = D / H,

    .. math::
        \\alpha_m = \\mathrm{softmax}_h \\big( \\langle (h W_Q)_m, (t W_Q)_m \\odot (e_r)_m \\rangle
                   / \\sqrt{d_k} \\big), \\qquad
        h' = \\big\\Vert_m \\sum_{(r, t)} \\alpha_m \\, (t \\odot e_r)_m

    where the softmax runs over all edges that enter h, whatever their relation. There is one :math:`W_Q` for query and
    key, no value matrix and no self loop. The states carry the profiles, so the profiles gate the attention.

    Source: "profile-aware KG aggregation" of SPiKE (Ahn, Shin, Seo; KDD 2026). `spike_dgl.nn.definition` says the
    same on the heterograph, relation by relation.

    Parameters
    ----------
    num_relation_rows
        Rows of the relation embedding; relations, inverses and the interactions count apart.
    embedding_dim
        D, a multiple of `num_heads`.
    num_heads
        H.
    kernels
        What computes it; see `spike_dgl.nn.kernels`.
    relation_init
        How relation embeddings begin: ``random`` (Xavier), or ``identity``, the same around one. A message is the
        product of a state and a relation: small numbers of either sign leave little of the state, and of the logits,
        before they are learned; ones let it pass as it is.
    """

    def __init__(
        self,
        num_relation_rows: int,
        embedding_dim: int,
        num_heads: int,
        kernels: Kernels = "auto",
        relation_init: RelationInit = "random",
    ) -> None:
        super().__init__()
        require_whole_heads(embedding_dim, num_heads)
        self.num_heads, self.kernels = num_heads, kernels
        self.query_projection = nn.Parameter(torch.empty(embedding_dim, embedding_dim))
        self.relation_embedding = nn.Parameter(torch.empty(num_relation_rows, embedding_dim))
        nn.init.xavier_uniform_(self.query_projection)
        nn.init.xavier_uniform_(self.relation_embedding)
        if relation_init == "identity":
            with torch.no_grad():
                self.relation_embedding.add_(1.0)

    def forward(self, messages: MessageGraph, states: Tensor) -> tuple[Tensor, Tensor]:
        """Gather once over all edges.

        Parameters
        ----------
        messages
            Structure; may lack edges that were dropped for a training step.
        states
            [U + N, D] users first.

        Returns
        -------
        gathered : Tensor
            [N, D], zero for an entity that no edge enters.
        attention : Tensor
            [E, H] weights in the order of ``messages.edges``.
        """
        return attend(
            messages,
            states @ self.query_projection,
            states,
            self.relation_embedding,
            self.num_heads,
            self.kernels,
        )
