"""Histories cut at a random time: a training step predicts the interactions after the cut from those before it."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph
from spike_dgl.errors import MissingTimesError
from spike_dgl.graph import INTERACTS
from spike_dgl.nn.graphs.positions import row_pointer


class InteractionHistory:
    """Interactions of each user in the order of time; only the newest send messages.

    Held-out interactions are later than the training interactions. Random interaction dropout trains for another
    task: to fill gaps in a history whose end is known.

    Parameters
    ----------
    graph
        The heterograph of `spike_dgl.graph.build_graph`, of data with times.
    newest
        Maximum number of interactions per user that send messages.
    largest_cut
        Maximum share of a user's interactions after the cut. The number after the cut is uniform between zero and
        this share.
    device
        Device of the batches.

    Raises
    ------
    MissingTimesError
        If the interactions have no times.
    """

    def __init__(self, graph: DGLGraph, newest: int, largest_cut: float, device: torch.device) -> None:
        edges = graph.edges[INTERACTS].data
        if "place" not in edges:
            raise MissingTimesError("model.newest_interactions", newest, 0)
        users, items = (ends.to(device) for ends in graph.edges(etype=INTERACTS, order="eid"))
        self.newest, self.largest_cut = newest, largest_cut
        by_user = users.argsort(stable=True)
        self._user, self._place = users[by_user], edges["place"].to(device)[by_user]
        self._num_entities = graph.num_nodes("entity")
        self.count = row_pointer(self._user, graph.num_nodes("user")).diff()
        self._key, by_key = (users * self._num_entities + items).sort()
        self._place_by_key = edges["place"].to(device)[by_key]

    def cut(self) -> Tensor:
        """Draw a random cut for each user; return the number of interactions before it, [U]."""
        moment = torch.rand(len(self.count), device=self.count.device)
        return self.count - (moment * (self.count * self.largest_cut + 1.0)).long()

    def passing(self, before: Tensor) -> Tensor:
        """Return positions in `MessageGraph.pooled` of each user's newest interactions among the first `before` [U]."""
        end = before.index_select(0, self._user)
        passes: Tensor = (self._place < end) & (self._place >= end - self.newest)
        return passes.nonzero()[:, 0]

    def came_after(self, users: Tensor, items: Tensor, before: Tensor) -> Tensor:
        """Return True [B] for training interactions that are not among their user's first `before` [U]."""
        at = torch.searchsorted(self._key, users * self._num_entities + items)
        after: Tensor = self._place_by_key[at] >= before[users]
        return after
