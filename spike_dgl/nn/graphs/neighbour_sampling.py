"""Propagation over a sampled neighbourhood of a few nodes, for graphs on which a whole pass does not fit.

A hop from the seeds back reaches the nodes whose messages they receive, a further hop the nodes those receive from, and
so on. What is reached becomes a `MessageGraph` on compacted rows, so the layers that run on the whole graph run here
too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from sklearn.utils import murmurhash3_32
from torch import Tensor

from spike_dgl.dgl_import import dgl
from spike_dgl.nn.graphs.messages import MessageGraph

CPU = torch.device("cpu")

ALL = -1
"""The fan-out that takes every neighbour, as in DGL."""

ROWS_PER_PART = 1 << 16
"""Nodes and edges that a part of the whole graph has together: 16 MB for a [rows, D] tensor at D = 64."""


@dataclass(frozen=True)
class Block:
    """One hop: from the states of some nodes to the next states of fewer; DGL calls it a block as well.

    Parameters
    ----------
    nodes
        [n] rows, in 0..U+N-1 and ascending, of the nodes whose states go in.
    messages
        The edges of the hop, on these n nodes: the users among them first, as everywhere.
    dst
        [m] positions among `nodes` of those whose next states come out.
    """

    nodes: Tensor
    messages: MessageGraph
    dst: Tensor

    def to(self, device: torch.device) -> Block:
        """Return the same hop on a device."""
        return Block(self.nodes.to(device), self.messages.to(device), self.dst.to(device))


@dataclass(frozen=True)
class MessageFlow:
    """All that a few nodes' representations are computed from.

    Parameters
    ----------
    blocks
        One a hop, in the order of computation; what comes out of one goes into the next.
    seeds
        [s] rows, in 0..U+N-1 and ascending, of the nodes that come out in the end.
    """

    blocks: tuple[Block, ...]
    seeds: Tensor

    def to(self, device: torch.device) -> MessageFlow:
        """The same flow on a device."""
        return MessageFlow(tuple(block.to(device) for block in self.blocks), self.seeds.to(device))

    @property
    def input_nodes(self) -> Tensor:
        """[n] rows of the nodes that go into the first hop."""
        return self.blocks[0].nodes

    @property
    def seeds_among_inputs(self) -> Tensor:
        """[s] positions of the seeds among the input nodes."""
        return torch.searchsorted(self.input_nodes, self.seeds)

    def positions(self, rows: Tensor) -> Tensor:
        """Where each of some seeds stands in the result."""
        return torch.searchsorted(self.seeds, rows)


class NeighbourSampler:
    """Draws the neighbourhoods of nodes with DGL's sampler.

    A fan-out counts edges of all relations together, so the graph that is sampled from is the homogeneous view, with
    the relation as a property of the edge. Attention is one softmax over all edges that enter a node, and a
    uniform sample of them keeps the shares of the relations; DGL's fan-out per edge type of the heterograph would
    take up to 80 times as many edges from 80 relations, and the rare ones much too often.

    Where a node has more neighbours than the fan-out, as many are drawn, uniformly and without repetition; else all
    are taken. Edge dropout comes on top: a share of what was drawn is left out again, each edge in all hops of a
    step and an interaction for its user and its item alike. DGL's generator, whose state cannot be stored, is seeded
    each time from torch's, which checkpoints hold; with the same number of threads the same neighbourhoods follow.

    Parameters
    ----------
    messages
        The whole graph, on the CPU, where DGL samples.
    fanouts
        Neighbours of a node, one number a hop in the order of computation: the last is that of the seeds. `ALL` takes
        every neighbour.
    kg_dropout, interaction_dropout
        Probability with which a drawn edge of the knowledge graph, or an interaction, is left out.
    device
        Where the neighbourhoods go.
    """

    def __init__(
        self,
        messages: MessageGraph,
        fanouts: Sequence[int],
        *,
        kg_dropout: float = 0.0,
        interaction_dropout: float = 0.0,
        device: torch.device = CPU,
    ) -> None:
        self.messages, self.fanouts, self.device = messages, tuple(fanouts), device
        self.kg_dropout, self.interaction_dropout = kg_dropout, interaction_dropout
        src = torch.cat([messages.src, messages.pooled.src])
        dst = torch.cat([messages.attended.dst + messages.num_users, messages.pooled.dst])
        graph = dgl.graph((src, dst), num_nodes=messages.num_nodes)
        self._graph = graph.formats("csc")

    def draw(self, seeds: Tensor) -> MessageFlow:
        """A sampled neighbourhood of some nodes, rows in 0..U+N-1 in any order and perhaps repeated."""
        step_seed = int(torch.randint(2**31 - 1, ()))
        dgl.seed(step_seed)
        nodes = seeds = torch.unique(seeds.cpu())
        blocks: list[Block] = []
        for fanout in reversed(self.fanouts):
            edges = self._without_dropped(self._entering(nodes, fanout), step_seed)
            blocks.insert(0, self._block(edges, nodes))
            nodes = blocks[0].nodes
        return MessageFlow(tuple(blocks), seeds).to(self.device)

    def parts(self) -> Iterator[Block]:
        """One hop over all edges, in parts: each node is a receiver in one of them, and they come in order.

        A part has about `ROWS_PER_PART` nodes and edges, or one node's where these are more.
        """
        rows = self._graph.in_degrees() + 1
        _, sizes = torch.unique_consecutive(rows.cumsum(0) // ROWS_PER_PART, return_counts=True)
        for nodes in torch.split(torch.arange(len(rows)), sizes.tolist()):
            yield self._block(self._entering(nodes, ALL), nodes).to(self.device)

    def _entering(self, nodes: Tensor, fanout: int) -> Edges:
        # Not `dgl.dataloading.NeighborSampler`, which calls the same: with several threads it numbers the nodes of a
        # block by which thread is first, and so draws other neighbours in the next hop of the same seed.
        sampled = dgl.sampling.sample_neighbors(self._graph, nodes, fanout)
        src, dst = sampled.edges(order="eid")
        return Edges(src, dst, sampled.edata[dgl.EID])

    def _without_dropped(self, edges: Edges, step_seed: int) -> Edges:
        if not (self.kg_dropout or self.interaction_dropout):
            return edges
        num_users, first = self.messages.num_users, torch.minimum(edges.src, edges.dst)
        is_interaction = first < num_users
        # The same edge must fall in all hops, without a table of all edges: its lot is a hash of what identifies it.
        identity = torch.where(is_interaction, torch.maximum(edges.src, edges.dst), edges.numbers)
        lot = _hash(_hash(first, step_seed) ^ identity, step_seed)
        dropped = torch.where(is_interaction, self.interaction_dropout, self.kg_dropout)
        return edges.keep(lot >= dropped * 2**32)

    def _block(self, edges: Edges, dst_nodes: Tensor) -> Block:
        """Put some edges to nodes that hold all their destinations on compacted rows."""
        nodes = torch.unique(torch.cat([edges.src, dst_nodes]))
        num_users = int((nodes < self.messages.num_users).sum())
        src, dst = (torch.searchsorted(nodes, end) for end in (edges.src, edges.dst))
        attended = edges.numbers < len(self.messages.attended)
        relation = self.messages.relation[edges.numbers[attended]]
        messages = MessageGraph.from_edges(
            (src[attended], dst[attended], relation),
            (src[~attended], dst[~attended]),
            num_users,
            len(nodes) - num_users,
        )
        return Block(nodes, messages, torch.searchsorted(nodes, dst_nodes))


@dataclass(frozen=True)
class Edges:
    """Some edges of the graph that is sampled from: rows of both ends, and numbers, those of attended edges first."""

    src: Tensor
    dst: Tensor
    numbers: Tensor

    def keep(self, chosen: Tensor) -> Edges:
        """Return the edges where a mask is true."""
        return Edges(self.src[chosen], self.dst[chosen], self.numbers[chosen])


def _hash(numbers: Tensor, seed: int) -> Tensor:
    """Numbers in 0..2^32-1 that look random, from numbers of which the low 32 bits count."""
    keys = numbers.to(torch.int32).numpy()
    return torch.from_numpy(murmurhash3_32(keys, seed=seed, positive=True).astype("int64"))
