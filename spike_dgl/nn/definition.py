"""SPiKE's attention as its definition reads: on the heterograph, one relation after the other.

`spike_dgl.nn.attention` computes the same several times faster; this form is for reading, and what tests compare with.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph, dgl, edge_softmax, fn
from spike_dgl.nn.attention import RelationalAttention


def attend_on_heterograph(
    layer: RelationalAttention, graph: DGLGraph, states: Tensor, *, users_among_neighbours: bool
) -> Tensor:
    """One hop of `RelationalAttention`, with DGL's message passing per edge type.

    Parameters
    ----------
    layer
        Holds the query projection and the relation embedding.
    graph
        The heterograph of `spike_dgl.graph.build_graph`.
    states
        [U + N, D] users first.
    users_among_neighbours
        Whether items also receive from their users.

    Returns
    -------
    Tensor
        [N, D] what the entities gathered.
    """
    graph = _entering_entities(graph, users_among_neighbours)
    heads, dim = layer.num_heads, states.shape[-1] // layer.num_heads
    state = states.view(-1, heads, dim)
    query = (states @ layer.query_projection).view(-1, heads, dim)
    first_entity = len(states) - graph.num_nodes("entity")
    for node_type, rows in (("user", slice(first_entity)), ("entity", slice(first_entity, None))):
        if node_type in graph.ntypes:
            graph.nodes[node_type].data["state"], graph.nodes[node_type].data["query"] = (
                state[rows],
                query[rows],
            )

    relations = {
        edge_type: layer.relation_embedding[graph.edges[edge_type].data["relation"][0]].view(heads, dim)
        for edge_type in graph.canonical_etypes
    }
    for edge_type, relation in relations.items():
        source = graph.nodes[edge_type[0]].data
        source["key"] = source["query"] * relation
        graph.apply_edges(fn.u_dot_v("key", "query", "logit"), etype=edge_type)
    logits = {edge_type: graph.edges[edge_type].data["logit"] / math.sqrt(dim) for edge_type in relations}
    attention = edge_softmax(graph, logits if len(logits) > 1 else next(iter(logits.values())))
    gathered = torch.zeros_like(query[first_entity:])
    for edge_type, relation in relations.items():
        source = graph.nodes[edge_type[0]].data
        source["value"] = source["state"] * relation
        graph.edges[edge_type].data["attention"] = attention[edge_type] if len(logits) > 1 else attention
        graph.update_all(
            fn.u_mul_e("value", "attention", "message"), fn.sum("message", "sum"), etype=edge_type
        )
        gathered = gathered + graph.nodes["entity"].data.pop("sum")
    return gathered.flatten(1)


def _entering_entities(graph: DGLGraph, users_among_neighbours: bool) -> DGLGraph:
    """The edges on which messages run to entities; SPiKE's run from tail to head, DGL's from source to target."""
    graph = dgl.reverse(graph, copy_ndata=False, copy_edata=True)
    senders = {"entity", "user"} if users_among_neighbours else {"entity"}
    return graph.edge_type_subgraph(
        [
            (source, name, target)
            for source, name, target in graph.canonical_etypes
            if target == "entity" and source in senders and graph.num_edges((source, name, target))
        ]
    )
