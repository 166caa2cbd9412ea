"""Edge dropout: each training step propagates over a random part of the graph."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_dgl.nn.message_graph import MessageGraph


def drop_edges(
    messages: MessageGraph,
    *,
    kg_dropout: float,
    interaction_dropout: float,
    idle_relations: int = 0,
    masked_edges: int = 0,
) -> MessageGraph:
    """A message graph in which a random part of the edges is missing; METHOD: "half of the triples of each relation".

    Parameters
    ----------
    messages
        The full message graph.
    kg_dropout
        Share of the edges of *each* relation that is left out; a relation keeps at least one edge.
    interaction_dropout
        Share of the interactions left out, for users and items alike.
    idle_relations
        So many of the last KG relation rows get no edge at all (the authors' code: 1, an off-by-one in a loop).
    masked_edges
        So many further KG edges are left out, whatever their relation (the authors' code: 512).

    Returns
    -------
    MessageGraph
        With the same nodes and pairs, and fewer edges.
    """
    start = messages.relation_start
    kg_start = start[:-1]
    kept = sample_per_segment(kg_start[: len(kg_start) - idle_relations], 1.0 - kg_dropout)
    if masked_edges:
        chosen = torch.randperm(len(kept))[masked_edges:]
        kept = kept[chosen.sort().values]
    num_interactions = messages.pooling.num_edges()
    pooled = sample_per_segment(torch.tensor([0, num_interactions]), 1.0 - interaction_dropout)
    if (
        start[-1] > start[-2]
    ):  # users are among the neighbours: their edges stand in the order of the interactions
        kept = torch.cat([kept, pooled + start[-2]])
    return messages.keep(kept, pooled)


def sample_per_segment(start: Tensor, share: float) -> Tensor:
    """Positions of a random sample of each segment, ascending.

    Parameters
    ----------
    start
        [S + 1] where each segment of consecutive positions begins, and where the last one ends.
    share
        Part of each segment to keep, rounded up; exactly so many, so that rare relations keep their share too.
    """
    total, sizes = int(start[-1]), start.diff()
    segment = torch.repeat_interleave(sizes)
    shuffled = (torch.rand(total) + segment).argsort()
    rank = torch.arange(total) - start[:-1][segment]
    chosen = torch.zeros(total, dtype=torch.bool)
    chosen[shuffled] = rank < sizes[segment] * share
    return chosen.nonzero(as_tuple=True)[0]
