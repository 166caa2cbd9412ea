"""Users and entities in one graph, where interactions are relations among those of the knowledge graph.

What a relation makes of a node is the same for all edges on which the node sends by that relation. So models that
transform messages per relation do it once a distinct (node, relation) pair, [P, D], and let DGL sum along the edges
without a tensor [E, D]; on real graphs P is a fourth to a twentieth of E.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph, dgl, require_dgl_on


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
    def of(cls, node: Tensor, relation: Tensor, num_nodes: int) -> Pairs:
        """Those of edges [E] with that node at the end in question."""
        keys, of_edge = torch.unique(relation * num_nodes + node, return_inverse=True)
        return cls(keys % num_nodes, keys // num_nodes, of_edge)

    def __len__(self) -> int:
        return len(self.node)


@dataclass(frozen=True)
class CollaborativeGraph:
    """All edges of the heterograph between nodes numbered users first, then entities: U + N rows.

    As in the graph that SPiKE attends on, a triple (head, relation, tail) sends its message from tail to head: against
    the edge of the heterograph. For every triple its inverse is there too.

    Parameters
    ----------
    source, target, relation
        [E] tail, head and relation row of every edge; `relation` is ascending.
    num_users, num_nodes, num_relations
        U, U + N and 2R + 2: every relation, every inverse, then items receiving from users, and users from items.
    """

    source: Tensor
    target: Tensor
    relation: Tensor
    num_users: int
    num_nodes: int
    num_relations: int

    @classmethod
    def of(cls, graph: DGLGraph, device: torch.device) -> CollaborativeGraph:
        """That of the heterograph of `spike_dgl.graph.build_graph`.

        Raises `spike_dgl.dgl_import.DglDeviceError` where DGL does not run on the device.
        """
        require_dgl_on(device)
        first = {"user": 0, "entity": graph.num_nodes("user")}
        parts = []
        for edge_type in graph.canonical_etypes:
            head, _, tail = edge_type
            heads, tails = graph.edges(etype=edge_type, order="eid")
            parts.append((tails + first[tail], heads + first[head], graph.edges[edge_type].data["relation"]))
        source, target, relation = (torch.cat(part) for part in zip(*parts, strict=True))
        order = relation.argsort(stable=True)
        return cls(
            source[order].to(device),
            target[order].to(device),
            relation[order].to(device),
            graph.num_nodes("user"),
            graph.num_nodes(),
            len(graph.canonical_etypes),
        )

    def __len__(self) -> int:
        return len(self.source)

    def keep(self, edges: Tensor) -> CollaborativeGraph:
        """The same nodes with only some of the edges: a mask [E], or ascending positions."""
        return replace(
            self, source=self.source[edges], target=self.target[edges], relation=self.relation[edges]
        )

    @cached_property
    def senders(self) -> Pairs:
        """The (tail, relation) pairs."""
        return Pairs.of(self.source, self.relation, self.num_nodes)

    @cached_property
    def receivers(self) -> Pairs:
        """The (head, relation) pairs."""
        return Pairs.of(self.target, self.relation, self.num_nodes)

    @cached_property
    def graph(self) -> DGLGraph:
        """From nodes to nodes, edges in the order of `source`."""
        return dgl.graph((self.source, self.target), num_nodes=self.num_nodes)

    @cached_property
    def from_senders(self) -> DGLGraph:
        """From the pairs of `senders` to nodes: the same edges in the same order."""
        return dgl.heterograph(
            {("sender", "to", "node"): (self.senders.of_edge, self.target)},
            {"sender": len(self.senders), "node": self.num_nodes},
        )

    @cached_property
    def between_pairs(self) -> DGLGraph:
        """From the pairs of `senders` to those of `receivers`: the same edges in the same order."""
        return dgl.heterograph(
            {("sender", "to", "receiver"): (self.senders.of_edge, self.receivers.of_edge)},
            {"sender": len(self.senders), "receiver": len(self.receivers)},
        )
