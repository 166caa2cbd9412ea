"""All edges of a heterograph in one table: the form from which every structure of the layers is derived.

What a relation makes of a node is the same for all edges on which the node sends by that relation. So models that
transform messages per relation do it once a distinct (node, relation) pair, [P, D], and sum along the edges
without a tensor [E, D]; on real graphs P is a fourth to a twentieth of E.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph, dgl
from spike_dgl.graph import EdgeType, edge_types_by_id

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Pairs:
    """The distinct (node, relation) pairs at one end of all edges, in the order of relations.

    Parameters
    ----------
    node, relation
        [P].
    of_edge
        [E] the pair that each edge has at this end.
    """

    node: Tensor
    relation: Tensor
    of_edge: Tensor

    @classmethod
    def from_edges(cls, node: Tensor, relation: Tensor, num_nodes: int) -> Pairs:
        """Find the pairs of edges [E] with these nodes at the end in question."""
        keys, of_edge = torch.unique(relation * num_nodes + node, return_inverse=True)
        return cls(keys % num_nodes, keys // num_nodes, of_edge)

    def __len__(self) -> int:
        return len(self.node)


@dataclass(frozen=True)
class RelationalGraph:
    """All edges of a heterograph between nodes that are numbered through, one node type after the other.

    DGL's `to_homogeneous` makes the same of node and edge types; here the order of both is chosen. Messages run from
    source to destination.

    Parameters
    ----------
    src, dst, relation
        [E] rows of both ends, and relation id; `relation` is ascending.
    first
        First row of each node type.
    num_nodes, num_relations
        Of the whole graph.
    """

    src: Tensor
    dst: Tensor
    relation: Tensor
    first: Mapping[str, int]
    num_nodes: int
    num_relations: int

    @classmethod
    def from_heterograph(cls, graph: DGLGraph, device: torch.device = CPU) -> RelationalGraph:
        """Take all edges of the heterograph of `spike_dgl.graph.build_graph`: users first, then entities, U + N rows.

        For every triple and interaction the inverse is there too: 2R + 2 relations, or one more with similar texts.
        """
        edge_types = edge_types_by_id(graph)
        return cls.from_edge_types(graph, edge_types, ("user", "entity")).to(device)

    @classmethod
    def from_edge_types(
        cls, graph: DGLGraph, edge_types: list[EdgeType], node_types: tuple[str, ...]
    ) -> RelationalGraph:
        """Take the edges of some types, of which each has its position as relation id, between nodes of some types.

        Types that the graph lacks have no edges.
        """
        first, num_nodes = {}, 0
        for node_type in node_types:
            first[node_type] = num_nodes
            num_nodes += graph.num_src_nodes(node_type)  # in a block, destinations are the first sources
        nothing = torch.empty(0, dtype=torch.int64)
        parts = [(nothing, nothing, nothing)]
        present = set(graph.canonical_etypes)
        for number, edge_type in enumerate(edge_types):
            if edge_type in present:
                src, dst = graph.edges(etype=edge_type, order="eid")
                relation = torch.full_like(src, number)
                parts.append((src + first[edge_type[0]], dst + first[edge_type[2]], relation))
        src, dst, relation = (torch.cat(part) for part in zip(*parts, strict=True))
        return cls(src, dst, relation, first, num_nodes, len(edge_types))

    @property
    def num_users(self) -> int:
        """U, the rows before the first entity."""
        return self.first["entity"]

    def __len__(self) -> int:
        return len(self.src)

    def to(self, device: torch.device) -> RelationalGraph:
        """Return the same edges on a device."""
        return replace(
            self, src=self.src.to(device), dst=self.dst.to(device), relation=self.relation.to(device)
        )

    def keep(self, edges: Tensor) -> RelationalGraph:
        """Return the same nodes with only some of the edges: a mask [E], or ascending positions."""
        return replace(self, src=self.src[edges], dst=self.dst[edges], relation=self.relation[edges])

    @cached_property
    def src_pairs(self) -> Pairs:
        """(source, relation) pairs."""
        return Pairs.from_edges(self.src, self.relation, self.num_nodes)

    @cached_property
    def dst_pairs(self) -> Pairs:
        """(destination, relation) pairs."""
        return Pairs.from_edges(self.dst, self.relation, self.num_nodes)

    @cached_property
    def graph(self) -> DGLGraph:
        """DGL graph from nodes to nodes, edges in the order of `src`."""
        return dgl.graph((self.src, self.dst), num_nodes=self.num_nodes)

    @cached_property
    def from_pairs(self) -> DGLGraph:
        """DGL graph from `src_pairs` to nodes: the same edges in the same order."""
        return dgl.heterograph(
            {("pair", "to", "node"): (self.src_pairs.of_edge, self.dst)},
            {"pair": len(self.src_pairs), "node": self.num_nodes},
        )

    @cached_property
    def between_pairs(self) -> DGLGraph:
        """DGL graph from `src_pairs` to `dst_pairs`: the same edges in the same order."""
        return dgl.heterograph(
            {("src", "to", "dst"): (self.src_pairs.of_edge, self.dst_pairs.of_edge)},
            {"src": len(self.src_pairs), "dst": len(self.dst_pairs)},
        )
