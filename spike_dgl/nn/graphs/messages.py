"""Structure that `SpikeConv` computes on: edges along which nodes attend, and edges over which users average.

In SPiKE a message depends on its source and its relation, not on its destination. So instead of one message an edge,
[E, D], there is one a distinct (source, relation) pair, [P, D]; on real graphs P is a fourth to a twentieth of E.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph
from spike_dgl.graph import INTERACTS, entity_edge_types, inverse
from spike_dgl.nn.graphs.bipartite import BipartiteEdges
from spike_dgl.nn.graphs.positions import row_pointer
from spike_dgl.nn.graphs.relational import RelationalGraph


@dataclass(frozen=True)
class MessageGraph:
    """Structure of one hop. Nodes are numbered users first, then entities: U + N rows.

    Users are the nodes that average their neighbours, entities those that attend to them.

    Parameters
    ----------
    num_users
        U.
    pair_src
        [P] row, in 0..U+N-1, of the node that each message comes from; ascending.
    pair_relation
        [P] row of the relation embedding of each message.
    attended
        From pairs [P] to the entities [N] that receive their messages.
    relation
        [E] row of the relation embedding of each of these edges.
    pooled
        From nodes [U + N] to users [U]: one edge an interaction, from item to user.
    """

    num_users: int
    pair_src: Tensor
    pair_relation: Tensor
    attended: BipartiteEdges
    relation: Tensor
    pooled: BipartiteEdges

    @classmethod
    def from_edges(
        cls,
        attended: tuple[Tensor, Tensor, Tensor],
        pooled: tuple[Tensor, Tensor],
        num_users: int,
        num_entities: int,
    ) -> MessageGraph:
        """Index edges in any order, with both ends as rows in 0..U+N-1.

        Parameters
        ----------
        attended
            Source, destination (an entity) and relation row of every edge that attention runs on, each [E].
        pooled
            Source and destination (a user) of the others, each [X].
        num_users, num_entities
            U and N.
        """
        src, dst, relation = attended
        num_rows = int(relation.max()) + 1 if len(relation) else 1
        # Of a destination's edges those of one relation stand together, so that loops read the same row again.
        order = (dst * num_rows + relation).argsort(stable=True)
        src, dst, relation = (part[order] for part in attended)
        pairs, pair_of_edge = torch.unique(src * num_rows + relation, return_inverse=True)
        by_user = pooled[1].argsort(stable=True)
        items, users = (end[by_user] for end in pooled)
        return cls(
            num_users=num_users,
            pair_src=pairs // num_rows,
            pair_relation=pairs % num_rows,
            attended=BipartiteEdges.from_sorted(pair_of_edge, dst - num_users, len(pairs), num_entities),
            relation=relation,
            pooled=BipartiteEdges.from_sorted(items, users, num_users + num_entities, num_users),
        )

    @classmethod
    def from_relational(cls, graph: RelationalGraph, num_users: int) -> MessageGraph:
        """Attend along all edges but those to the first `num_users` nodes, which average theirs.

        Relation ids of the graph become rows of the relation embedding.
        """
        to_user = graph.dst < num_users
        attended, pooled = graph.keep(~to_user), graph.keep(to_user)
        return cls.from_edges(
            (attended.src, attended.dst, attended.relation),
            (pooled.src, pooled.dst),
            num_users,
            graph.num_nodes - num_users,
        )

    @property
    def num_nodes(self) -> int:
        """U + N."""
        return self.pooled.num_src

    @cached_property
    def pair_start(self) -> Tensor:
        """[U + N + 1] where the pairs of each node begin."""
        return row_pointer(self.pair_src, self.num_nodes)

    @cached_property
    def src(self) -> Tensor:
        """[E] row, in 0..U+N-1, of the node that each attended edge comes from."""
        return self.pair_src.index_select(0, self.attended.src)

    @cached_property
    def csr_start(self) -> Tensor:
        """[U + N + 1] where the attended edges from each node begin in ``attended.csr_order``."""
        return row_pointer(self.src, self.num_nodes)

    @cached_property
    def csr_relation(self) -> Tensor:
        """[E] relation rows in ``attended.csr_order``."""
        return self.relation.index_select(0, self.attended.csr_order)

    def to(self, device: torch.device) -> MessageGraph:
        """Return the same structure on a device."""
        return replace(
            self,
            pair_src=self.pair_src.to(device),
            pair_relation=self.pair_relation.to(device),
            attended=self.attended.to(device),
            relation=self.relation.to(device),
            pooled=self.pooled.to(device),
        )

    def keep(self, attended: Tensor, pooled: Tensor) -> MessageGraph:
        """Return the same nodes and pairs with only some of the edges: ascending positions in both kinds."""
        return replace(
            self,
            attended=self.attended.keep(attended),
            relation=self.relation.index_select(0, attended),
            pooled=self.pooled.keep(pooled),
        )


def message_graph(graph: DGLGraph, *, users_among_neighbours: bool) -> MessageGraph:
    """Derive the structure from the heterograph of `spike_dgl.graph.build_graph`.

    Relation rows are positions in `spike_dgl.graph.entity_edge_types`.

    Parameters
    ----------
    graph
        The heterograph.
    users_among_neighbours
        Whether items also receive from the users who interacted with them.
    """
    num_users = graph.num_nodes("user")
    edge_types = [*entity_edge_types(graph), ("entity", inverse(INTERACTS), "user")]
    edges = RelationalGraph.from_edge_types(graph, edge_types, ("user", "entity"))
    if not users_among_neighbours:
        edges = edges.keep(edges.src >= num_users)
    return MessageGraph.from_relational(edges, num_users)
