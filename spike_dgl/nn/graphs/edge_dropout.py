"""Edge dropout: each training step propagates over a random subset of the edges."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_dgl.nn.compiled.group_samples import sample_groups
from spike_dgl.nn.dispatch import is_compiled
from spike_dgl.nn.graphs.messages import MessageGraph
from spike_dgl.nn.graphs.positions import ascending, true_positions


class EdgeDropout:
    """Edge dropout, stratified by relation.

    Parameters
    ----------
    messages
        The full message graph.
    kg_dropout
        Share of the edges of *each* relation to drop; every relation keeps at least one edge.
    interaction_dropout
        Share of the interactions to drop, each in both directions.
    idle_relations
        Number of KG relations, counted from the last, whose edges are all dropped (the authors' code: 1, an off-by-one
        in a loop).
    masked_edges
        Number of further KG edges to drop, of any relation (the authors' code: 512).
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
        from_user = messages.src < messages.num_users
        relation = messages.relation
        rows = int(relation.max()) + 1 if len(relation) else 0
        last_row = int(relation[~from_user].max()) if not from_user.all() else 0
        share = relation.new_full((rows + 1,), 1.0 - kg_dropout, dtype=torch.float64)
        share[last_row + 1 - idle_relations :] = 0.0
        self._kg_sample = GroupSample(relation.masked_fill(from_user, rows), share)
        self._interaction_sample = GroupSample(
            torch.zeros_like(messages.pooled.dst), share.new_tensor([1.0 - interaction_dropout])
        )
        self._edge_of_interaction = self._locate(from_user.nonzero(as_tuple=True)[0])

    def _locate(self, from_users: Tensor) -> Tensor:
        """Find the edge from user to item of each interaction in `pooled`; empty if items do not attend to users."""
        if not len(from_users):
            return from_users
        messages, pooled = self.messages, self.messages.pooled
        edge_of_interaction = torch.empty_like(from_users)
        # Both contain each interaction once, so sorting both by (item, user) aligns them.
        items = messages.attended.dst[from_users] + messages.num_users
        key = items * messages.num_users + messages.src[from_users]
        by_item = (pooled.src * messages.num_users + pooled.dst).argsort()
        edge_of_interaction[by_item] = from_users[key.argsort()]
        return edge_of_interaction

    def draw(self, interactions: Tensor | None = None, cold: Tensor | None = None) -> MessageGraph:
        """Draw a message graph with the same nodes and pairs, and fewer edges.

        Parameters
        ----------
        interactions
            Ascending positions in `pooled` of the interactions to keep. Default: a random share.
        cold
            True [U + N] for items that receive no messages from users.
        """
        kept = self._kg_sample.draw()
        if self.masked_edges:
            kept = kept[torch.randperm(len(kept), device=kept.device)[self.masked_edges :]]
        pooled = self._interaction_sample.draw() if interactions is None else interactions
        if len(self._edge_of_interaction):
            to_items = pooled
            if cold is not None:
                to_items = pooled[~cold[self.messages.pooled.src.index_select(0, pooled)]]
            kept = torch.cat([kept, self._edge_of_interaction.index_select(0, to_items)])
        return self.messages.keep(ascending(kept, len(self.messages.attended)), pooled)


class GroupSample:
    """Stratified sample: a random share of each of G groups.

    Parameters
    ----------
    group
        Group [n] of each member, 0 to G - 1.
    share
        Share [G] of each group to draw. The number drawn is exact, rounded up, so that rare relations keep theirs.
    """

    def __init__(self, group: Tensor, share: Tensor) -> None:
        self._group, self._sizes = group, group.bincount(minlength=len(share))
        self._wanted = (self._sizes * share).ceil().long()
        self._total = int(self._wanted.sum())

    def draw(self) -> Tensor:
        """Draw members; return their positions, ascending."""
        sample = sample_groups if is_compiled(self._group.device) else sample_by_sorting
        return sample(self._group, self._sizes, self._wanted, self._total)


def sample_by_sorting(group: Tensor, sizes: Tensor, wanted: Tensor, total: int) -> Tensor:
    """Sample like `spike_dgl.nn.compiled.group_samples.sample_groups`, on any device."""
    # Integer keys, which torch sorts several times faster than floats (radix sort).
    noise = torch.empty_like(group).random_(0, 1 << 32)
    shuffled = ((group << 32) | noise).argsort()
    of_shuffled = group.index_select(0, shuffled)
    rank = torch.arange(len(group), device=group.device) - (sizes.cumsum(0) - sizes)[of_shuffled]
    is_taken = rank < wanted[of_shuffled]
    return true_positions(torch.empty_like(is_taken).scatter_(0, shuffled, is_taken), total)
