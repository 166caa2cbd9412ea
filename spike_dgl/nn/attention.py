"""Relation-aware attention over a knowledge graph, the message function of SPiKE."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spike_dgl.dgl_import import DGLGraph, edge_softmax, fn
from spike_dgl.nn.message_graph import MessageGraph


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
    """

    def __init__(self, num_relation_rows: int, embedding_dim: int, num_heads: int) -> None:
        super().__init__()
        if embedding_dim % num_heads:
            raise ValueError(f"embedding_dim {embedding_dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.query_projection = nn.Parameter(torch.empty(embedding_dim, embedding_dim))
        self.relation_embedding = nn.Parameter(torch.empty(num_relation_rows, embedding_dim))
        nn.init.xavier_uniform_(self.query_projection)
        nn.init.xavier_uniform_(self.relation_embedding)

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
        projected = states @ self.query_projection
        relation = self.relation_embedding.index_select(0, messages.pair_relation)
        key = projected.index_select(0, messages.pair_node) * relation
        value = states.index_select(0, messages.pair_node) * relation
        query = projected[messages.num_users :]
        return attend(messages.edges, self._heads(query), self._heads(key), self._heads(value))

    def _heads(self, states: Tensor) -> Tensor:
        return states.view(len(states), self.num_heads, -1)


def attend(graph: DGLGraph, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Multi-head attention along the edges of a bipartite graph, in DGL's fused kernels.

    Parameters
    ----------
    graph
        From P sources to N targets, E edges.
    query
        [N, H, d_k].
    key, value
        [P, H, d_k].

    Returns
    -------
    gathered : Tensor
        [N, H * d_k]; zero for a target without edges.
    attention : Tensor
        [E, H], the weights of each target's edges sum to one.
    """
    with graph.local_scope():
        graph.dstdata["query"] = query
        graph.srcdata["key"], graph.srcdata["value"] = key, value
        graph.apply_edges(fn.u_dot_v("key", "query", "logit"))
        attention = edge_softmax(graph, graph.edata["logit"] / math.sqrt(query.shape[-1]))
        graph.edata["attention"] = attention
        graph.update_all(fn.u_mul_e("value", "attention", "message"), fn.sum("message", "gathered"))
        return graph.dstdata["gathered"].flatten(1), attention.squeeze(-1)


def pool(graph: DGLGraph, states: Tensor) -> Tensor:
    """Mean of the sources' states [N, D] along the edges of a bipartite graph: [U, D], zero where there is no edge."""
    with graph.local_scope():
        graph.srcdata["state"] = states
        graph.update_all(fn.copy_u("state", "message"), fn.mean("message", "pooled"))
        pooled: Tensor = graph.dstdata["pooled"]
        return pooled
