"""Views: the nodes and edges that one propagation uses, in training and in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from spike_dgl.dgl_import import DGLGraph
from spike_dgl.models.base import Batch
from spike_dgl.models.spike.options import SpikeOptions
from spike_dgl.nn.graphs.edge_dropout import EdgeDropout
from spike_dgl.nn.graphs.history import InteractionHistory
from spike_dgl.nn.graphs.messages import MessageGraph, message_graph
from spike_dgl.nn.graphs.neighbour_sampling import Block, NeighbourSampler

Hop: TypeAlias = tuple[MessageGraph, Tensor | None]
"""Edges of a hop, and the dst rows whose next states to compute; None for all."""


@dataclass(frozen=True)
class View:
    """Nodes and edges that one propagation uses.

    Parameters
    ----------
    draw
        Returns the hops in the order of computation; each call draws new random edges.
    nodes
        Rows [n] of the input nodes of the first hop, ascending, in 0..U+N-1; None for all.
    num_users
        Number of users among `nodes`; None for all.
    seeds
        Rows [s] of the output nodes of the last hop, ascending; None for all.
    cold
        True [U + N] for items that are treated as cold: they have no ID embedding.
    """

    draw: Callable[[], Sequence[Hop]]
    nodes: Tensor | None = None
    num_users: int | None = None
    seeds: Tensor | None = None
    cold: Tensor | None = None

    def result(self, rows: Tensor) -> Tensor:
        """Select the output nodes [s, ...] from a table of the input nodes [n, ...]."""
        if self.nodes is None or self.seeds is None:
            return rows
        return rows.index_select(0, torch.searchsorted(self.nodes, self.seeds))

    def positions(self, rows: Tensor) -> Tensor | None:
        """Return the positions of `rows` in the result; None if the result has all nodes."""
        return None if self.seeds is None else torch.searchsorted(self.seeds, rows)


@dataclass
class Views:
    """Factory of a model's views.

    Parameters
    ----------
    graph
        The heterograph, with the text neighbours of items.
    num_items
        I.
    options
        See `ViewOptions`.
    device
        Device of the model.

    Attributes
    ----------
    messages
        All edges used in evaluation.
    sampler
        Neighbour sampler; None if training steps propagate over the whole graph.
    history
        Interactions in the order of time; None without `newest_interactions`.
    """

    graph: DGLGraph
    num_items: int
    options: SpikeOptions
    device: torch.device
    messages: MessageGraph = field(init=False)
    sampler: NeighbourSampler | None = field(init=False, default=None)
    history: InteractionHistory | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        options = self.options
        users_among_neighbours = options.item_neighbours == "kg-and-users"
        messages = message_graph(self.graph, users_among_neighbours=users_among_neighbours)
        self.messages = messages.to(self.device)
        self._edge_dropout: EdgeDropout | None = None
        self._num_users, self._cold = messages.num_users, None
        if options.fanout:
            self.sampler = NeighbourSampler(
                messages,
                options.fanout,
                kg_dropout=options.kg_dropout,
                interaction_dropout=options.interaction_dropout,
                device=self.device,
            )
        else:
            self._edge_dropout = EdgeDropout(
                self.messages,
                kg_dropout=options.kg_dropout,
                interaction_dropout=options.interaction_dropout,
                idle_relations=options.quirks.idle_relations,
                masked_edges=options.quirks.masked_edges,
            )
        if options.item_dropout:
            self._cold = _items_without_users(self.messages, self.num_items)
        if options.newest_interactions:
            newest, largest_cut = options.newest_interactions, options.interaction_dropout
            self.history = InteractionHistory(self.graph, newest, largest_cut, self.device)
            of_all = EdgeDropout(self.messages, kg_dropout=0.0, interaction_dropout=0.0)
            self.messages = of_all.draw(self.history.passing(self.history.count))

    def whole(self) -> View:
        """Return the view of all edges used in evaluation."""
        return View(lambda: self._all_hops(self.messages), cold=self._cold)

    def for_step(self, batch: Batch) -> tuple[View, Batch]:
        """Return the view of a training step, and the interactions of its batch to compute the loss on.

        With `fanout` the view is a sampled neighbourhood of the batch, otherwise a random subset of all edges. With
        `newest_interactions` histories are cut at random times, and only interactions after the cut are in the loss.
        """
        if self.sampler is not None:
            flow = self.sampler.draw(batch.rows(self._num_users))
            hops = [(block.messages, block.dst) for block in flow.blocks]
            return View(lambda: hops, flow.input_nodes, flow.blocks[0].messages.num_users, flow.seeds), batch
        if self.history is None:
            return self.with_edge_dropout(), batch
        before = self.history.cut()
        view = self.with_edge_dropout(self.history.passing(before))
        return view, _after_cut(self.history, batch, before)

    def with_edge_dropout(self, interactions: Tensor | None = None) -> View:
        """Return the view of a random subset of the edges, with a random subset of the items cold.

        Parameters
        ----------
        interactions
            Ascending positions, in `MessageGraph.pooled`, of the interactions to keep. Default: a random subset.
        """
        edge_dropout, cold = self._edge_dropout, self._cold_items_of_step()
        assert edge_dropout is not None  # None only with neighbour sampling
        return View(lambda: self._all_hops(edge_dropout.draw(interactions, cold)), cold=cold)

    def parts_of_a_hop(self) -> Iterator[Block]:
        """Split one hop over all edges into blocks that fit in memory, with consecutive dst nodes."""
        assert self.sampler is not None
        return self.sampler.parts()

    def _all_hops(self, messages: MessageGraph) -> Sequence[Hop]:
        return [(messages, None)] * self.options.num_layers

    def _cold_items_of_step(self) -> Tensor | None:
        if self._cold is None:
            return None
        drawn = torch.zeros_like(self._cold)
        uniform = torch.rand(self.num_items, device=drawn.device)
        drawn[self._num_users : self._num_users + self.num_items] = uniform < self.options.item_dropout
        return drawn | self._cold


def _after_cut(history: InteractionHistory, batch: Batch, before: Tensor) -> Batch:
    """Return the interactions of a batch after the cut; all of them in the rare case that none is."""
    rows = history.came_after(batch.users, batch.positives, before).nonzero()[:, 0]
    return batch.select(rows) if len(rows) else batch


def _items_without_users(messages: MessageGraph, num_items: int) -> Tensor:
    """True [U + N] for items without interactions."""
    seen = torch.zeros(messages.num_nodes, dtype=torch.bool, device=messages.pooled.src.device)
    seen[messages.pooled.src] = True
    cold = ~seen[messages.num_users :][:num_items]
    return functional.pad(cold, (messages.num_users, messages.num_nodes - messages.num_users - num_items))
