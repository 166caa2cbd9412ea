"""User-item graph, and the normalised hop of LightGCN and its successors."""

from __future__ import annotations

import copy

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph
from spike_dgl.graph import INTERACTS
from spike_dgl.nn.dispatch import is_compiled
from spike_dgl.nn.graphs.edge_list import EdgeList
from spike_dgl.nn.kernels.message_passing import sum_of_sources, weighted_sum
from spike_dgl.typing import FloatArray


def interaction_matrix(graph: DGLGraph, values: FloatArray | None = None) -> csr_matrix:
    """Return the training interactions of the heterograph of `spike_dgl.graph.build_graph` as a matrix [U, I], float32.

    `values` [X] are those of the interactions in the order of edge ids; ones by default.
    """
    users, items = (ends.numpy() for ends in graph.edges(etype=INTERACTS, order="eid"))
    shape = graph.num_nodes("user"), int(graph.nodes["entity"].data["is_item"].sum())
    of_edges = np.ones(len(users), np.float32) if values is None else values.astype(np.float32)
    return csr_matrix((of_edges, (users, items)), shape)


class InteractionGraph:
    """Symmetric graph of user-item pairs with U + I nodes, users first.

    Parameters
    ----------
    users, items
        The pairs, [X] rows each; both count from 0.
    num_users, num_items
        U and I.
    device
        Device to compute on.
    """

    def __init__(
        self, users: Tensor, items: Tensor, num_users: int, num_items: int, device: torch.device
    ) -> None:
        self.users, self.items = users.to(device), items.to(device)
        self.num_users, self.num_items = num_users, num_items
        item_nodes, num_nodes = self.items + num_users, num_users + num_items
        both_ways = torch.cat([self.users, item_nodes]), torch.cat([item_nodes, self.users])
        self.edges = EdgeList(*both_ways, num_nodes, num_nodes)
        self.scale = _inverse_roots(self.edges.in_degrees)
        """D^{-1/2} [U + I, 1], D the degrees."""
        self._weights: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Device that the graph is on."""
        return self.users.device

    @classmethod
    def from_graph(cls, graph: DGLGraph, device: torch.device) -> InteractionGraph:
        """Create from the training interactions in the heterograph of `spike_dgl.graph.build_graph`."""
        users, items = graph.edges(etype=INTERACTS)
        num_items = int(graph.nodes["entity"].data["is_item"].sum())
        return cls(users, items, graph.num_nodes("user"), num_items, device)

    def keep(self, pairs: Tensor) -> InteractionGraph:
        """Return the graph of the pairs where the mask [X] is true, with its own degrees."""
        if is_compiled(self.device):
            return InteractionGraph(
                self.users[pairs], self.items[pairs], self.num_users, self.num_items, self.device
            )
        return self._masked(pairs)

    def _masked(self, pairs: Tensor) -> InteractionGraph:
        """Return the graph of `keep` with all pairs and weights of 0 and 1: a GPU need not count the pairs."""
        part = copy.copy(self)
        part._weights = pairs.to(self.scale.dtype).repeat(2).unsqueeze(-1)
        ones = part._weights.new_ones(len(self.scale), 1)
        part.scale = _inverse_roots(weighted_sum(self.edges, ones, part._weights).squeeze(-1))
        return part

    def drop(self, share: float) -> InteractionGraph:
        """Return the graph without randomly dropped pairs; each is dropped with probability `share`."""
        return self.keep(torch.rand(len(self.users), device=self.device) >= share)

    def sum_of_neighbours(self, rows: Tensor) -> Tensor:
        """Return A x for x [U + I, D], A the adjacency matrix."""
        if self._weights is None:
            return sum_of_sources(self.edges, rows)
        return weighted_sum(self.edges, rows, self._weights.to(rows.dtype))

    def hop(self, rows: Tensor) -> Tensor:
        """Return D^{-1/2} A D^{-1/2} x for x [U + I, D], D the degrees."""
        summed: Tensor = self.scale * self.sum_of_neighbours(self.scale * rows)
        return summed

    def hops(self, rows: Tensor, num_hops: int) -> list[Tensor]:
        """Return x and the results of 1, 2, ... `num_hops` hops, each [U + I, D]."""
        layers = [rows]
        for _ in range(num_hops):
            layers.append(self.hop(layers[-1]))
        return layers

    def mean_of_hops(self, rows: Tensor, num_hops: int) -> Tensor:
        """Return the mean of `hops`, [U + I, D]."""
        return torch.stack(self.hops(rows, num_hops)).mean(0)


def _inverse_roots(degrees: Tensor) -> Tensor:
    return degrees.clamp(min=1).float().rsqrt().unsqueeze(-1)
