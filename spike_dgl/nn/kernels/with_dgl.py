"""Attention and means along edges with DGL's message passing."""

from __future__ import annotations

import math

from torch import Tensor

from spike_dgl.dgl_import import edge_softmax, fn
from spike_dgl.nn.graphs.bipartite import BipartiteEdges
from spike_dgl.nn.graphs.messages import MessageGraph
from spike_dgl.nn.kernels.message_passing import dgl_inner_products, dgl_weighted_sum
from spike_dgl.nn.kernels.with_torch import of_pairs, split_heads


def attend(
    messages: MessageGraph, projected: Tensor, states: Tensor, relations: Tensor, num_heads: int
) -> tuple[Tensor, Tensor]:
    """Compute `spike_dgl.nn.kernels.attend`."""
    graph = messages.attended.dgl_graph
    query = split_heads(projected[messages.num_users :], num_heads)
    key = split_heads(of_pairs(messages, projected, relations), num_heads)
    value = split_heads(of_pairs(messages, states, relations), num_heads)
    attention = edge_softmax(graph, dgl_inner_products(graph, key, query) / math.sqrt(query.shape[-1]))
    return dgl_weighted_sum(graph, value, attention).flatten(1), attention.detach().squeeze(-1)


def mean_of_sources(edges: BipartiteEdges, rows: Tensor) -> Tensor:
    """Compute `spike_dgl.nn.kernels.mean_of_sources`."""
    graph = edges.dgl_graph
    with graph.local_scope():
        graph.srcdata["row"] = rows
        graph.update_all(fn.copy_u("row", "message"), fn.mean("message", "mean"))
        mean: Tensor = graph.dstdata["mean"]
        return mean
