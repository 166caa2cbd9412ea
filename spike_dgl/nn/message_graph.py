"""What attention computes on: the heterograph's edges, with equal messages computed once.

In SPiKE a message depends on the node it comes from and on the relation, not on the node it goes to. So instead of
one message an edge, [E, D], there is one a distinct (source node, relation) pair, [P, D]; on real graphs P is a
fourth to a twentieth of E. This is the only module that derives another form from the heterograph, and only
`spike_dgl.nn` looks inside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph, dgl
from spike_dgl.graph import INTERACTS
from spike_dgl.nn.positions import row_pointer, thin_out


@dataclass(frozen=True)
class Incidence:
    """Edges from n sources to m targets, in the order of their targets.

    Parameters
    ----------
    source, target
        [E] rows of both ends; `target` is ascending.
    by_source
        [E] positions of the edges in the order of their sources.
    num_sources, num_targets
        n and m.
    """

    source: Tensor
    target: Tensor
    by_source: Tensor
    num_sources: int
    num_targets: int

    @classmethod
    def build(cls, source: Tensor, target: Tensor, num_sources: int, num_targets: int) -> Incidence:
        """From edges whose targets ascend."""
        return cls(source, target, source.argsort(stable=True), num_sources, num_targets)

    def __len__(self) -> int:
        return len(self.source)

    @cached_property
    def target_start(self) -> Tensor:
        """[m + 1] where the edges of each target begin."""
        return row_pointer(self.target, self.num_targets)

    @cached_property
    def target_by_source(self) -> Tensor:
        """[E] the targets in the order `by_source`."""
        return self.target.index_select(0, self.by_source)

    @cached_property
    def source_start(self) -> Tensor:
        """[n + 1] where the edges of each source begin in the order `by_source`."""
        return row_pointer(self.source, self.num_sources)

    @cached_property
    def dgl_graph(self) -> DGLGraph:
        """The same as a bipartite DGL graph."""
        return dgl.heterograph(
            {("source", "to", "target"): (self.source, self.target)},
            {"source": self.num_sources, "target": self.num_targets},
        )

    def to(self, device: torch.device) -> Incidence:
        """The same edges on a device."""
        return replace(
            self,
            source=self.source.to(device),
            target=self.target.to(device),
            by_source=self.by_source.to(device),
        )

    def keep(self, edges: Tensor) -> Incidence:
        """Only some of the edges: ascending positions."""
        return replace(
            self,
            source=self.source.index_select(0, edges),
            target=self.target.index_select(0, edges),
            by_source=thin_out(self.by_source, edges),
        )


@dataclass(frozen=True)
class MessageGraph:
    """Structure of one propagation step. Nodes are numbered users first, then entities: U + N rows.

    Parameters
    ----------
    num_users
        U.
    pair_node
        [P] row, in 0..U+N-1, of the node that each message comes from; ascending.
    pair_relation
        [P] row of the relation embedding of each message.
    edges
        From pairs [P] to the entities [N] that receive their messages.
    edge_relation
        [E] relation row of each of these edges; 2R where an item receives from a user, 2R + 1 where from
        an item that reads alike.
    pooling
        From entities [N] to users [U], one edge a training interaction.
    """

    num_users: int
    pair_node: Tensor
    pair_relation: Tensor
    edges: Incidence
    edge_relation: Tensor
    pooling: Incidence

    @classmethod
    def build(
        cls,
        kg_edges: tuple[Tensor, Tensor, Tensor],
        interactions: tuple[Tensor, Tensor],
        num_users: int,
        num_entities: int,
    ) -> MessageGraph:
        """From edges in any order.

        Parameters
        ----------
        kg_edges
            Head (an entity), tail (a row of U + N) and relation row of every edge that attention runs on, each [E].
        interactions
            Users and items, each [X].
        num_users, num_entities
            U and N.
        """
        heads, tails, relations = kg_edges
        num_rows = int(relations.max()) + 1 if len(relations) else 1
        # Of a head's edges those of one relation stand together, so that loops read the same relation row again.
        order = (heads * num_rows + relations).argsort(stable=True)
        heads, tails, relations = (part[order] for part in kg_edges)
        pairs, pair_of_edge = torch.unique(tails * num_rows + relations, return_inverse=True)
        users, items = interactions
        by_user = users.argsort(stable=True)
        return cls(
            num_users=num_users,
            pair_node=pairs // num_rows,
            pair_relation=pairs % num_rows,
            edges=Incidence.build(pair_of_edge, heads, len(pairs), num_entities),
            edge_relation=relations,
            pooling=Incidence.build(items[by_user], users[by_user], num_entities, num_users),
        )

    @cached_property
    def pair_start(self) -> Tensor:
        """[U + N + 1] where the pairs of each node begin."""
        return row_pointer(self.pair_node, self.num_users + self.edges.num_targets)

    @cached_property
    def edge_node(self) -> Tensor:
        """[E] row, in 0..U+N-1, of the node that each edge's message comes from."""
        return self.pair_node.index_select(0, self.edges.source)

    @cached_property
    def node_start(self) -> Tensor:
        """[U + N + 1] where the edges from each node begin in the order of ``edges.by_source``."""
        return row_pointer(self.edge_node, len(self.pair_start) - 1)

    @cached_property
    def relation_by_source(self) -> Tensor:
        """[E] relation rows in the order of ``edges.by_source``."""
        return self.edge_relation.index_select(0, self.edges.by_source)

    def to(self, device: torch.device) -> MessageGraph:
        """The same structure on a device."""
        return replace(
            self,
            pair_node=self.pair_node.to(device),
            pair_relation=self.pair_relation.to(device),
            edges=self.edges.to(device),
            edge_relation=self.edge_relation.to(device),
            pooling=self.pooling.to(device),
        )

    def keep(self, edges: Tensor, pooled: Tensor) -> MessageGraph:
        """The same nodes and pairs with only some of the edges: ascending positions in `edges` and `pooling`."""
        return replace(
            self,
            edges=self.edges.keep(edges),
            edge_relation=self.edge_relation.index_select(0, edges),
            pooling=self.pooling.keep(pooled),
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
    return MessageGraph.build(
        _directed_edges(graph, users_among_neighbours),
        graph.edges(etype=INTERACTS, order="eid"),
        graph.num_nodes("user"),
        graph.num_nodes("entity"),
    )


def _directed_edges(graph: DGLGraph, users_among_neighbours: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Head (an entity), tail (a row of U + N) and relation row of every edge."""
    first_entity = graph.num_nodes("user")
    parts = []
    for edge_type in graph.canonical_etypes:
        source, _, target = edge_type
        if source != "entity" or (target == "user" and not users_among_neighbours):
            continue
        heads, tails = graph.edges(etype=edge_type, order="eid")
        tails = tails + first_entity if target == "entity" else tails
        parts.append((heads, tails, graph.edges[edge_type].data["relation"]))
    if not parts:
        return (torch.empty(0, dtype=torch.int64),) * 3
    heads, tails, relations = (torch.cat(part) for part in zip(*parts, strict=True))
    return heads, tails, relations
