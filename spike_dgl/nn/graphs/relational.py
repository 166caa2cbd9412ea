"""All edges of a heterograph in one table, from which the layers derive their structure.

A message that depends on the src node and the relation only is the same on all edges with the same (src, relation).
So models that transform messages per relation compute them per distinct pair, [P, D], and sum along the edges without
a tensor [E, D]; on real graphs P is between E / 20 and E / 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph
from spike_dgl.graph import EdgeType, edge_types_by_id
from spike_dgl.nn.graphs.edge_list import EdgeList

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Pairs:
    """Distinct (node, relation) pairs at one end of all edges, sorted by relation.

    Parameters
    ----------
    node, relation
        Node and relation [P] of each pair.
    of_edge
        Pair [E] of each edge.
    sizes
        Number of pairs of each relation.
    """

    node: Tensor
    relation: Tensor
    of_edge: Tensor
    sizes: tuple[int, ...]

    @classmethod
    def from_edges(cls, node: Tensor, relation: Tensor, num_nodes: int, num_relations: int) -> Pairs:
        """Create from the node at one end, [E], and the relation, [E], of each edge."""
        keys, of_edge = torch.unique(relation * num_nodes + node, return_inverse=True)
        of_pair = keys // num_nodes
        sizes = torch.bincount(of_pair, minlength=num_relations).tolist()
        return cls(keys % num_nodes, of_pair, of_edge, tuple(sizes))

    def __len__(self) -> int:
        return len(self.node)


@dataclass(frozen=True)
class RelationalGraph:
    """All edges of a heterograph, with nodes numbered consecutively, one node type after the other.

    Like DGL's `to_homogeneous`, but with a given order of node and edge types. Messages are sent from src to dst.

    Parameters
    ----------
    src, dst, relation
        Rows [E] of both ends, and relation id; `relation` is ascending.
    first
        First row of each node type.
    num_nodes, num_relations
        Number of nodes and relations in the whole graph.
    """

    src: Tensor
    dst: Tensor
    relation: Tensor
    first: Mapping[str, int]
    num_nodes: int
    num_relations: int

    @classmethod
    def from_heterograph(cls, graph: DGLGraph, device: torch.device = CPU) -> RelationalGraph:
        """Create from all edges of the heterograph of `spike_dgl.graph.build_graph`: U + N rows, users first.

        There are 2R + 2 relations, since each has an inverse, or one more with ``similar text``.
        """
        edge_types = edge_types_by_id(graph)
        return cls.from_edge_types(graph, edge_types, ("user", "entity")).to(device)

    @classmethod
    def from_edge_types(
        cls, graph: DGLGraph, edge_types: list[EdgeType], node_types: tuple[str, ...]
    ) -> RelationalGraph:
        """Create from the edges of some types; the relation id of an edge type is its position in `edge_types`.

        Edge types that are not in the graph have no edges.
        """
        first, num_nodes = {}, 0
        for node_type in node_types:
            first[node_type] = num_nodes
            num_nodes += graph.num_src_nodes(node_type)  # in a block, the dst nodes are the first src nodes
        present = set(graph.canonical_etypes)
        sizes = [graph.num_edges(each) if each in present else 0 for each in edge_types]
        src, dst = (torch.empty(sum(sizes), dtype=torch.int64) for _ in range(2))
        for edge_type, size, end in zip(edge_types, sizes, accumulate(sizes), strict=True):
            if size:  # filled in place: on large graphs a list of parts would double the memory
                of_type = graph.edges(etype=edge_type, order="eid")
                torch.add(of_type[0], first[edge_type[0]], out=src[end - size : end])
                torch.add(of_type[1], first[edge_type[2]], out=dst[end - size : end])
        relation = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes, dtype=torch.int64))
        return cls(src, dst, relation, first, num_nodes, len(edge_types))

    @property
    def num_users(self) -> int:
        """U, the number of rows before the first entity."""
        return self.first["entity"]

    def __len__(self) -> int:
        return len(self.src)

    def to(self, device: torch.device) -> RelationalGraph:
        """Return the same edges on a device."""
        return replace(
            self, src=self.src.to(device), dst=self.dst.to(device), relation=self.relation.to(device)
        )

    def keep(self, edges: Tensor) -> RelationalGraph:
        """Return the same nodes with a subset of the edges: a mask [E], or ascending positions."""
        return replace(self, src=self.src[edges], dst=self.dst[edges], relation=self.relation[edges])

    @cached_property
    def src_pairs(self) -> Pairs:
        """Distinct (src, relation) pairs."""
        return Pairs.from_edges(self.src, self.relation, self.num_nodes, self.num_relations)

    @cached_property
    def dst_pairs(self) -> Pairs:
        """Distinct (dst, relation) pairs."""
        return Pairs.from_edges(self.dst, self.relation, self.num_nodes, self.num_relations)

    @cached_property
    def edges(self) -> EdgeList:
        """Edges from nodes to nodes, in the order of `src`."""
        return EdgeList(self.src, self.dst, self.num_nodes, self.num_nodes)

    @cached_property
    def from_pairs(self) -> EdgeList:
        """Edges from `src_pairs` to nodes: the same edges in the same order."""
        return EdgeList(self.src_pairs.of_edge, self.dst, len(self.src_pairs), self.num_nodes)

    @cached_property
    def between_pairs(self) -> EdgeList:
        """Edges from `src_pairs` to `dst_pairs`: the same edges in the same order."""
        src, dst = self.src_pairs, self.dst_pairs
        return EdgeList(src.of_edge, dst.of_edge, len(src), len(dst))
