"""Histories cut at a random moment: a training step tells what came after from what came before."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph
from spike_dgl.errors import MissingTimesError
from spike_dgl.graph import INTERACTS
from spike_dgl.nn.graphs.positions import row_pointer


class InteractionHistory:
    """The interactions of each user in the order of time, of which only the newest pass messages.

    Held-out interactions are later than those of the training part. A step that leaves out random interactions
    trains for another task: to fill gaps in histories of which the end is known.

    Parameters
    ----------
    graph
        The heterograph of `spike_dgl.graph.build_graph`, of data with times.
    newest
        So many interactions of each user, at most, pass messages.
    largest_cut
        Share of a user's interactions that a training step leaves out at most, the latest ones; how many is uniform
        from none to this share.
    device
        Where batches are.

    Raises
    ------
    MissingTimesError
        If the data does not say when interactions happened.
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
        """[U] how many interactions of each user came before a random moment."""
        moment = torch.rand(len(self.count), device=self.count.device)
        return self.count - (moment * (self.count * self.largest_cut + 1.0)).long()

    def passing(self, before: Tensor) -> Tensor:
        """Ascending positions, in `MessageGraph.pooled`, of the newest of so many [U] first interactions."""
        end = before.index_select(0, self._user)
        passes: Tensor = (self._place < end) & (self._place >= end - self.newest)
        return passes.nonzero()[:, 0]

    def came_after(self, users: Tensor, items: Tensor, before: Tensor) -> Tensor:
        """True [B] for training interactions that are not among so many [U] first ones of their user."""
        at = torch.searchsorted(self._key, users * self._num_entities + items)
        after: Tensor = self._place_by_key[at] >= before[users]
        return after
