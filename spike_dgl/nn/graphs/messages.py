"""Graph structure for `SpikeConv`: the edges that entities attend along, and the edges that users average over.

In SPiKE a message depends on the src node and the relation of its edge, not on the dst node. So messages are computed
per distinct (src, relation) pair, [P, D], not per edge, [E, D]; on real graphs P is between E / 20 and E / 4.
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
from spike_dgl.nn.graphs.spans import Spans


@dataclass(frozen=True)
class MessageGraph:
    """Edges of one hop on U + N nodes, users first, then entities.

    Users average their in-neighbours (`pooled`), entities attend to theirs (`attended`).

    Parameters
    ----------
    num_users
        U.
    pair_src
        Src node [P] of each message, in 0..U+N-1; ascending.
    pair_relation
        Row [P] of the relation embedding of each message.
    attended
        Edges from the P pairs to the N entities.
    relation
        Row [E] of the relation embedding of each edge in `attended`.
    pooled
        Edges from the U + N nodes to the U users: one per interaction, from item to user.
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
        """Create from edges in any order, with both ends as rows in 0..U+N-1.

        Parameters
        ----------
        attended
            Src, dst (an entity) and relation row of the attended edges, each [E].
        pooled
            Src and dst (a user) of the averaged edges, each [X].
        num_users, num_entities
            U and N.
        """
        src, dst, relation = attended
        num_rows = int(relation.max()) + 1 if len(relation) else 1
        # Sort by dst, then by relation, so that consecutive edges read the same relation row.
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
        """Create from a graph: its first `num_users` nodes average their in-neighbours, the others attend to theirs.

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
        """Row pointer [U + N + 1]: first pair of each node."""
        return row_pointer(self.pair_src, self.num_nodes)

    @cached_property
    def src(self) -> Tensor:
        """Src node [E] of each attended edge, in 0..U+N-1."""
        return self.pair_src.index_select(0, self.attended.src)

    @cached_property
    def csr_start(self) -> Tensor:
        """CSR row pointer [U + N + 1]: first position in ``attended.csr_order`` of each src node."""
        return row_pointer(self.src, self.num_nodes)

    @cached_property
    def csr_relation(self) -> Tensor:
        """Relation rows [E] in ``attended.csr_order``."""
        return self.relation.index_select(0, self.attended.csr_order)

    @cached_property
    def csr_spans(self) -> Spans:
        """Spans in ``attended.csr_order`` of the edges from each src node."""
        return Spans.from_rows(self.csr_start, len(self.attended))

    def by_relation(self, num_relations: int) -> tuple[Tensor, Tensor]:
        """Return the positions [E] of the edges in the order of relations, then dst nodes, and its row pointer."""
        rows = torch.arange(num_relations + 1, device=self.relation.device)
        ordered, order = self._sorted_relations
        return order, torch.searchsorted(ordered, rows.to(ordered.dtype))

    @cached_property
    def _sorted_relations(self) -> tuple[Tensor, Tensor]:
        ordered, order = self.relation.int().sort(stable=True)
        return ordered, order

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
        """Return the same nodes and pairs with a subset of the edges, given by ascending positions."""
        return replace(
            self,
            attended=self.attended.keep(attended),
            relation=self.relation.index_select(0, attended),
            pooled=self.pooled.keep(pooled),
        )


def message_graph(graph: DGLGraph, *, users_among_neighbours: bool) -> MessageGraph:
    """Create the message graph of the heterograph of `spike_dgl.graph.build_graph`.

    Relation rows are positions in `spike_dgl.graph.entity_edge_types`.

    Parameters
    ----------
    graph
        The heterograph.
    users_among_neighbours
        Whether items also attend to the users who interacted with them.
    """
    num_users = graph.num_nodes("user")
    edge_types = [*entity_edge_types(graph), ("entity", inverse(INTERACTS), "user")]
    edges = RelationalGraph.from_edge_types(graph, edge_types, ("user", "entity"))
    if not users_among_neighbours:
        edges = edges.keep(edges.src >= num_users)
    return MessageGraph.from_relational(edges, num_users)
