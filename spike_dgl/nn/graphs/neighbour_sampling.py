"""Neighbour sampling, for graphs whose propagation does not fit in memory.

Starting from the seeds, each hop samples in-neighbours of the nodes so far. Every hop becomes a `MessageGraph` on
compacted rows, so the same layers run on the whole graph and on samples.
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
"""Fan-out that selects all neighbours, as in DGL."""

ROWS_PER_PART = 1 << 16
"""Nodes plus edges of a part of the whole graph: 16 MB for a [rows, D] tensor at D = 64."""


@dataclass(frozen=True)
class Block:
    """Hop from n input nodes to the m dst nodes among them, like a block in DGL.

    Parameters
    ----------
    nodes
        Rows [n] of the input nodes, ascending, in 0..U+N-1.
    messages
        Edges of the hop on these n nodes, users first.
    dst
        Positions [m] in `nodes` of the dst nodes.
    """

    nodes: Tensor
    messages: MessageGraph
    dst: Tensor

    def to(self, device: torch.device) -> Block:
        """Return the same hop on a device."""
        return Block(self.nodes.to(device), self.messages.to(device), self.dst.to(device))


@dataclass(frozen=True)
class MessageFlow:
    """Sampled neighbourhood from which the states of the seeds are computed.

    Parameters
    ----------
    blocks
        One per hop, in the order of computation; the output of one is the input of the next.
    seeds
        Rows [s] of the output nodes, ascending, in 0..U+N-1.
    """

    blocks: tuple[Block, ...]
    seeds: Tensor

    def to(self, device: torch.device) -> MessageFlow:
        """Return the same flow on a device."""
        return MessageFlow(tuple(block.to(device) for block in self.blocks), self.seeds.to(device))

    @property
    def input_nodes(self) -> Tensor:
        """Rows [n] of the input nodes of the first hop."""
        return self.blocks[0].nodes

    @property
    def seeds_among_inputs(self) -> Tensor:
        """Positions [s] of the seeds among the input nodes."""
        return torch.searchsorted(self.input_nodes, self.seeds)

    def positions(self, rows: Tensor) -> Tensor:
        """Return the positions of `rows`, which are seeds, in the result."""
        return torch.searchsorted(self.seeds, rows)


class NeighbourSampler:
    """Neighbour sampler on top of DGL's.

    A fan-out is a number of in-edges of all relations together: uniform, without replacement, all in-edges if there
    are no more. So the sampler uses the homogeneous graph, with the relation as a property of the edge. The attention
    is one softmax over all in-edges of a node, and a uniform sample of them preserves the shares of the relations.
    DGL's fan-out per edge type would draw up to 80 times as many edges for 80 relations, and oversample rare ones.

    Edge dropout applies to the sampled edges: an edge is dropped in all hops of a step or in none, and an interaction
    in both directions or in none. DGL's random generator, whose state cannot be saved, is seeded in every step from
    torch's, whose state is in the checkpoints. With the same number of threads, samples are reproducible.

    Parameters
    ----------
    messages
        The whole graph, on the CPU, where DGL samples.
    fanouts
        Number of neighbours to sample per hop, in the order of computation; the last is that of the seeds. `ALL`
        selects every neighbour.
    kg_dropout, interaction_dropout
        Probability of dropping a sampled edge of the knowledge graph, or an interaction.
    device
        Device of the sampled neighbourhoods.
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
        self.messages, self.num_users = messages, messages.num_users
        self.fanouts, self.device = tuple(fanouts), device
        self.kg_dropout, self.interaction_dropout = kg_dropout, interaction_dropout
        src = torch.cat([messages.src, messages.pooled.src])
        dst = torch.cat([messages.attended.dst + messages.num_users, messages.pooled.dst])
        graph = dgl.graph((src, dst), num_nodes=messages.num_nodes)
        self._graph = graph.formats("csc")

    def draw(self, seeds: Tensor) -> MessageFlow:
        """Sample the neighbourhood of seeds: rows in 0..U+N-1, in any order, possibly repeated."""
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
        """Yield one hop over all edges in blocks whose dst nodes are consecutive: each node is in one block.

        A block has about `ROWS_PER_PART` nodes plus edges; a single node may have more.
        """
        rows = self._graph.in_degrees() + 1
        _, sizes = torch.unique_consecutive(rows.cumsum(0) // ROWS_PER_PART, return_counts=True)
        for nodes in torch.split(torch.arange(len(rows)), sizes.tolist()):
            yield self._block(self._entering(nodes, ALL), nodes).to(self.device)

    def _entering(self, nodes: Tensor, fanout: int) -> Edges:
        # Not `dgl.dataloading.NeighborSampler`, which calls the same function: with several threads, the node order
        # of its blocks depends on thread timing, so the next hop is not reproducible with the same random seed.
        sampled = dgl.sampling.sample_neighbors(self._graph, nodes, fanout)
        src, dst = sampled.edges(order="eid")
        return Edges(src, dst, sampled.edata[dgl.EID])

    def _without_dropped(self, edges: Edges, step_seed: int) -> Edges:
        if not (self.kg_dropout or self.interaction_dropout):
            return edges
        first = torch.minimum(edges.src, edges.dst)
        is_interaction = first < self.num_users
        # An edge must be dropped in all hops or in none. A hash of its identity decides, without a table of all edges.
        identity = torch.where(is_interaction, torch.maximum(edges.src, edges.dst), edges.numbers)
        random = _hash(_hash(first, step_seed) ^ identity, step_seed)
        dropped = torch.where(is_interaction, self.interaction_dropout, self.kg_dropout)
        return edges.keep(random >= dropped * 2**32)

    def _block(self, edges: Edges, dst_nodes: Tensor) -> Block:
        """Create a block on compacted rows from edges to `dst_nodes`."""
        nodes = torch.unique(torch.cat([edges.src, dst_nodes]))
        num_users = int((nodes < self.num_users).sum())
        src, dst = (torch.searchsorted(nodes, end) for end in (edges.src, edges.dst))
        attended, relation = self._attended(edges)
        messages = MessageGraph.from_edges(
            (src[attended], dst[attended], relation),
            (src[~attended], dst[~attended]),
            num_users,
            len(nodes) - num_users,
        )
        return Block(nodes, messages, torch.searchsorted(nodes, dst_nodes))

    def _attended(self, edges: Edges) -> tuple[Tensor, Tensor]:
        """Return which edges are attended, and the relation rows of those."""
        attended = edges.numbers < len(self.messages.attended)
        return attended, self.messages.relation[edges.numbers[attended]]


@dataclass(frozen=True)
class Edges:
    """Edges of the sampled graph: rows of both ends, and edge ids, attended edges first."""

    src: Tensor
    dst: Tensor
    numbers: Tensor

    def keep(self, chosen: Tensor) -> Edges:
        """Return the edges where a mask is true."""
        return Edges(self.src[chosen], self.dst[chosen], self.numbers[chosen])


def check_fanout(fanout: Sequence[int], num_layers: int) -> None:
    """Raise `ValueError` unless `fanout` is empty or has a valid number for each layer."""
    if fanout and len(fanout) != num_layers:
        raise ValueError(f"fanout needs one number per layer, and num_layers is {num_layers}")
    if any(number < 1 and number != ALL for number in fanout):
        raise ValueError("a fanout is a number of neighbours: at least 1, or -1 for all")


def _hash(numbers: Tensor, seed: int) -> Tensor:
    """Hash the low 32 bits of `numbers` to pseudo-random numbers in 0..2^32-1."""
    keys = numbers.to(torch.int32).numpy()
    return torch.from_numpy(murmurhash3_32(keys, seed=seed, positive=True).astype("int64"))
