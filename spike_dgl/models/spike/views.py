"""Views: the parts of the graph that one propagation reads, in training and after it."""

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
"""Edges of a hop, and the rows whose next states are wanted; None for all."""


@dataclass(frozen=True)
class View:
    """What one propagation reads.

    Parameters
    ----------
    draw
        Gives the hops, in the order of computation. Random edges are drawn when it is called.
    nodes
        [n] rows, in 0..U+N-1 and ascending, of the nodes whose states go into the first hop; None for all.
    num_users
        Number of users among these; None for all.
    seeds
        [s] rows, ascending, of the nodes that come out of the last; None for all.
    cold
        True [U + N] for items that are treated as cold: without an ID embedding.
    """

    draw: Callable[[], Sequence[Hop]]
    nodes: Tensor | None = None
    num_users: int | None = None
    seeds: Tensor | None = None
    cold: Tensor | None = None

    def result(self, rows: Tensor) -> Tensor:
        """Rows [s] of the nodes that come out, from rows [n] of those that go in."""
        if self.nodes is None or self.seeds is None:
            return rows
        return rows.index_select(0, torch.searchsorted(self.nodes, self.seeds))

    def positions(self, rows: Tensor) -> Tensor | None:
        """Where the nodes of some rows stand in the result; None where these are the rows."""
        return None if self.seeds is None else torch.searchsorted(self.seeds, rows)


@dataclass
class Views:
    """Makes the views of a model.

    Parameters
    ----------
    graph
        The heterograph, with similar items.
    num_items
        I.
    options
        See `ViewOptions`.
    device
        Where the model runs.

    Attributes
    ----------
    messages
        All edges that send messages outside training.
    sampler
        Draws neighbourhoods; None where steps propagate over the whole graph.
    history
        Cuts histories; None without `newest_interactions`.
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
        """View of all edges that send messages outside training."""
        return View(lambda: self._all_hops(self.messages), cold=self._cold)

    def for_step(self, batch: Batch) -> tuple[View, Batch]:
        """View of a training step, and the part of its batch that is to be learned.

        With `newest_interactions` histories are cut at random times, and interactions before the cut are not learned.
        With `fanout` the view is a sampled neighbourhood of the batch. Else a random part of the edges is left out.
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
        """View of a random part of the edges, with a random part of the items cold.

        Parameters
        ----------
        interactions
            Ascending positions, in `MessageGraph.pooled`, of those that send messages; a random part where not given.
        """
        edge_dropout, cold = self._edge_dropout, self._cold_items_of_step()
        assert edge_dropout is not None  # only sampled steps have none
        return View(lambda: self._all_hops(edge_dropout.draw(interactions, cold)), cold=cold)

    def parts_of_a_hop(self) -> Iterator[Block]:
        """Cut one hop over all edges into parts that fit in memory, each with the nodes that come next."""
        assert self.sampler is not None
        return self.sampler.parts()

    def _all_hops(self, messages: MessageGraph) -> Sequence[Hop]:
        return [(messages, None)] * self.options.num_layers

    def _cold_items_of_step(self) -> Tensor | None:
        if self._cold is None:
            return None
        drawn = torch.zeros_like(self._cold)
        lots = torch.rand(self.num_items, device=drawn.device)
        drawn[self._num_users : self._num_users + self.num_items] = lots < self.options.item_dropout
        return drawn | self._cold


def _after_cut(history: InteractionHistory, batch: Batch, before: Tensor) -> Batch:
    """The part of a batch that came after the cut; all of it in the rare case that nothing did."""
    rows = history.came_after(batch.users, batch.positives, before).nonzero()[:, 0]
    return batch.select(rows) if len(rows) else batch


def _items_without_users(messages: MessageGraph, num_items: int) -> Tensor:
    """True [U + N] for items without interactions."""
    seen = torch.zeros(messages.num_nodes, dtype=torch.bool, device=messages.pooled.src.device)
    seen[messages.pooled.src] = True
    cold = ~seen[messages.num_users :][:num_items]
    return functional.pad(cold, (messages.num_users, messages.num_nodes - messages.num_users - num_items))
