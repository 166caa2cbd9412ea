"""Edge dropout: each training step propagates over a random part of the graph."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_dgl.nn.message_graph import MessageGraph


class EdgeDropout:
    """Draws message graphs in which a random part of the edges is missing: a share of each relation's.

    Parameters
    ----------
    messages
        The full message graph.
    kg_dropout
        Share of the edges of *each* relation that is left out; a relation keeps at least one edge.
    interaction_dropout
        Share of the interactions left out, each for its user and its item alike.
    idle_relations
        So many of the last KG relation rows get no edge at all (the authors' code: 1, an off-by-one in a loop).
    masked_edges
        So many further KG edges are left out, whatever their relation (the authors' code: 512).
    """

    def __init__(
        self,
        messages: MessageGraph,
        *,
        kg_dropout: float,
        interaction_dropout: float,
        idle_relations: int = 0,
        masked_edges: int = 0,
    ) -> None:
        self.messages, self.masked_edges = messages, masked_edges
        from_user = messages.edge_node < messages.num_users
        kg_edges = (~from_user).nonzero(as_tuple=True)[0]
        relation, order = messages.edge_relation[kg_edges].sort(stable=True)
        last_row = int(messages.edge_relation[kg_edges].max()) + 1 if len(kg_edges) else 0
        self._kg_edges = kg_edges[order]
        kg_start = torch.searchsorted(relation, torch.arange(last_row - idle_relations + 1))
        self._kg_sample = SegmentSample(kg_start, 1.0 - kg_dropout)
        self._interaction_sample = SegmentSample(
            torch.tensor([0, len(messages.pooling)]), 1.0 - interaction_dropout
        )
        self._edge_of_interaction = self._locate(from_user.nonzero(as_tuple=True)[0])

    def _locate(self, from_users: Tensor) -> Tensor:
        """For each interaction, in the order of `pooling`, its edge from user to item; empty where there is none."""
        if not len(from_users):
            return from_users
        pooling = self.messages.pooling
        edge_of_interaction = torch.empty_like(from_users)
        # Both hold each interaction once: brought into one order, they stand side by side.
        key = (
            self.messages.edges.target[from_users] * pooling.num_targets + self.messages.edge_node[from_users]
        )
        edge_of_interaction[(pooling.source * pooling.num_targets + pooling.target).argsort()] = from_users[
            key.argsort()
        ]
        return edge_of_interaction

    def draw(self) -> MessageGraph:
        """A message graph with the same nodes and pairs, and fewer edges."""
        kept = self._kg_edges[self._kg_sample.draw()]
        if self.masked_edges:
            kept = kept[torch.randperm(len(kept))[self.masked_edges :]]
        pooled = self._interaction_sample.draw()
        is_kept = torch.zeros(len(self.messages.edges), dtype=torch.bool)
        is_kept[kept] = True
        if len(self._edge_of_interaction):
            is_kept[self._edge_of_interaction[pooled]] = True
        return self.messages.keep(is_kept.nonzero(as_tuple=True)[0], pooled)


class SegmentSample:
    """Draws a random share of each of several runs of consecutive positions.

    Parameters
    ----------
    start
        [S + 1] where each segment begins, and where the last one ends.
    share
        Part of each segment to keep, rounded up; exactly so many, so that rare relations keep their share too.
    """

    def __init__(self, start: Tensor, share: float) -> None:
        sizes = start.diff()
        self._segment = torch.repeat_interleave(sizes)
        rank = torch.arange(len(self._segment)) - start[:-1][self._segment]
        self._is_kept = rank < sizes[self._segment] * share

    def draw(self) -> Tensor:
        """Positions, ascending."""
        # Integers, because torch sorts them by radix, several times faster than floats.
        noise = torch.empty_like(self._segment).random_(0, 1 << 32)
        shuffled = ((self._segment << 32) | noise).argsort()
        chosen = torch.zeros_like(self._is_kept)
        chosen[shuffled] = self._is_kept
        return chosen.nonzero(as_tuple=True)[0]
