"""What attention computes on: the heterograph's edges, with equal messages computed once.

In SPiKE a message depends on the node it comes from and on the relation, not on the node it goes to. So instead of
one message an edge, [E, D], there is one a distinct (source node, relation) pair, [P, D], and the edges become
a bipartite graph from pairs to the entities that receive. This is the only module that derives another form
from the heterograph, and only `spike_dgl.nn` looks inside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph, dgl
from spike_dgl.graph import INTERACTS


@dataclass(frozen=True)
class MessageGraph:
    """Structure of one propagation step. Nodes are numbered users first, then entities: U + N rows.

    Parameters
    ----------
    num_users
        U.
    pair_node
        [P] row, in 0..U+N-1, of the node that each message comes from.
    pair_relation
        [P] row of the relation embedding of each message.
    edges
        Bipartite DGL graph, pairs [P] to entities [N]. Edges are grouped by relation; where users are among
        the item neighbours, their edges come last, one a training interaction.
    edge_relation
        [E] relation row of each edge, ascending.
    relation_start
        [2R + 2] where the edges of each relation row begin; the last row is that of the interactions.
    pooling
        Bipartite DGL graph, entities [N] to users [U], one edge a training interaction.
    """

    num_users: int
    pair_node: Tensor
    pair_relation: Tensor
    edges: DGLGraph
    edge_relation: Tensor
    relation_start: Tensor
    pooling: DGLGraph

    def keep(self, edges: Tensor, pooled: Tensor) -> MessageGraph:
        """The same nodes and pairs with only some of the edges: positions in `edges` and `pooling`, ascending."""
        return replace(
            self,
            edges=dgl.edge_subgraph(self.edges, edges, relabel_nodes=False, store_ids=False),
            edge_relation=self.edge_relation[edges],
            relation_start=torch.searchsorted(edges, self.relation_start),
            pooling=dgl.edge_subgraph(self.pooling, pooled, relabel_nodes=False, store_ids=False),
        )


def message_graph(graph: DGLGraph, *, users_among_neighbours: bool) -> MessageGraph:
    """Derive the message graph from the heterograph of `spike_dgl.graph.build_graph`.

    A triple (head, relation, tail) sends its message from tail to head: against the edge of the heterograph.

    Parameters
    ----------
    graph
        The heterograph.
    users_among_neighbours
        Whether items also receive from the users who interacted with them, by a relation of their own.
    """
    num_users, num_entities = graph.num_nodes("user"), graph.num_nodes("entity")
    receivers, senders, relations = _directed_edges(graph, users_among_neighbours)
    num_rows = num_relation_rows(graph)
    pairs, pair_of_edge = torch.unique(senders * num_rows + relations, return_inverse=True)
    users, items = graph.edges(etype=INTERACTS, order="eid")
    return MessageGraph(
        num_users=num_users,
        pair_node=pairs // num_rows,
        pair_relation=pairs % num_rows,
        edges=_bipartite("pair", pair_of_edge, len(pairs), "entity", receivers, num_entities),
        edge_relation=relations,
        relation_start=torch.searchsorted(relations, torch.arange(num_rows + 1)),
        pooling=_bipartite("entity", items, num_entities, "user", users, num_users),
    )


def num_relation_rows(graph: DGLGraph) -> int:
    """2R + 1: every relation, every inverse, and the one by which items receive from users."""
    return 1 + len([edge_type for edge_type in graph.canonical_etypes if edge_type[0] == edge_type[2]])


def _directed_edges(graph: DGLGraph, users_among_neighbours: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Head (an entity), tail (a row of U + N) and relation row of every edge, ascending by relation row."""
    first_entity = graph.num_nodes("user")
    parts = []
    for edge_type in graph.canonical_etypes:
        source, _, target = edge_type
        if source != "entity" or (target == "user" and not users_among_neighbours):
            continue
        heads, tails = graph.edges(etype=edge_type, order="eid")
        tails = tails + first_entity if target == "entity" else tails
        parts.append(torch.stack([heads, tails, graph.edges[edge_type].data["relation"]]))
    edges = torch.cat(parts, dim=1) if parts else torch.empty(3, 0, dtype=torch.int64)
    heads, tails, relations = edges[:, edges[2].argsort(stable=True)]
    return heads, tails, relations


def _bipartite(
    source: str, sources: Tensor, num_sources: int, target: str, targets: Tensor, num_targets: int
) -> DGLGraph:
    graph = dgl.heterograph(
        {(source, "to", target): (sources, targets)}, {source: num_sources, target: num_targets}
    )
    return graph.formats(["coo", "csr", "csc"])
