"""Neighbour sampling on a partitioned graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from spike_dgl.dgl_import import dgl
from spike_dgl.graph import INTERACTS, inverse
from spike_dgl.nn.graphs.neighbour_sampling import ALL, CPU, ROWS_PER_PART, Block, Edges, NeighbourSampler
from spike_dgl.partitions.layout import Layout


class PartitionSampler(NeighbourSampler):
    """`NeighbourSampler` on a partitioned graph: each host samples in-edges of its own nodes for all others.

    Rows are those of `Layout.rows`. Samples of nodes in other parts are drawn with the random generator of their
    host's server, which is not seeded.

    Parameters
    ----------
    graph
        DistDGL's graph.
    layout
        Layout of the parts.
    fanouts, kg_dropout, interaction_dropout
        See `NeighbourSampler`.
    """

    def __init__(
        self,
        graph: Any,
        layout: Layout,
        fanouts: Sequence[int],
        *,
        kg_dropout: float = 0.0,
        interaction_dropout: float = 0.0,
    ) -> None:
        self.layout, self.num_users = layout, layout.num_nodes
        self.fanouts, self.device = tuple(fanouts), CPU
        self.kg_dropout, self.interaction_dropout = kg_dropout, interaction_dropout
        self._graph = graph
        self._pooled = layout.edge_types.index(("entity", inverse(INTERACTS), "user"))

    def parts_of(self, ids: range) -> Iterator[Block]:
        """Yield one hop over all in-edges of this host's nodes `ids`, in blocks that fit in memory."""
        first = self.layout.part(self._graph.get_partition_book().partid)[0]
        local = torch.arange(ids.start - first, ids.stop - first)
        sizes = self._graph.local_partition.in_degrees(local) + 1
        _, counts = torch.unique_consecutive(sizes.cumsum(0) // ROWS_PER_PART, return_counts=True)
        for nodes in torch.split(torch.arange(ids.start, ids.stop), counts.tolist()):
            rows = self.layout.rows(nodes)
            yield self._block(self._entering(rows, ALL), rows)

    def _entering(self, nodes: Tensor, fanout: int) -> Edges:
        sampled = dgl.distributed.sample_neighbors(self._graph, self.layout.ids(nodes), fanout)
        src, dst = sampled.edges(order="eid")
        return Edges(self.layout.rows(src), self.layout.rows(dst), sampled.edata[dgl.EID])

    def _attended(self, edges: Edges) -> tuple[Tensor, Tensor]:
        # `entity_edge_types` has all edge types but one, in the same order.
        relation = self.layout.relations(edges.numbers)
        attended = relation != self._pooled
        relation = relation[attended]
        return attended, relation - (relation > self._pooled).long()
