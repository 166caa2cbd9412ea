"""User-item graph, and the normalised hop of LightGCN and its successors."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph, dgl, fn, why_dgl_does_not_run_on
from spike_dgl.graph import INTERACTS


class InteractionGraph:
    """Symmetric graph of user-item pairs with U + I nodes, users first.

    `hop` uses DGL's message passing if DGL supports the device, otherwise torch's sparse product.

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
        self.users, self.items, self.device = users, items, device
        self.num_users, self.num_items = num_users, num_items
        item_nodes = items + num_users
        graph = dgl.graph(
            (torch.cat([users, item_nodes]), torch.cat([item_nodes, users])), num_nodes=num_users + num_items
        )
        self.scale = graph.in_degrees().clamp(min=1).float().rsqrt().unsqueeze(-1).to(device)
        """D^{-1/2} [U + I, 1], D the degrees."""
        self._adjacency: DGLGraph | Tensor
        if why_dgl_does_not_run_on(device) is None:
            self._adjacency = graph.to(device)
        else:
            both = torch.stack(graph.edges())
            size = (graph.num_nodes(), graph.num_nodes())
            ones = torch.ones(both.shape[1])
            adjacency = torch.sparse_coo_tensor(both, ones, size, check_invariants=True)
            self._adjacency = adjacency.to(device).coalesce()

    @classmethod
    def from_graph(cls, graph: DGLGraph, device: torch.device) -> InteractionGraph:
        """Create from the training interactions in the heterograph of `spike_dgl.graph.build_graph`."""
        users, items = graph.edges(etype=INTERACTS)
        num_items = int(graph.nodes["entity"].data["is_item"].sum())
        return cls(users, items, graph.num_nodes("user"), num_items, device)

    def keep(self, pairs: Tensor) -> InteractionGraph:
        """Return the graph of the pairs where the mask [X] is true, with its own degrees."""
        return InteractionGraph(
            self.users[pairs], self.items[pairs], self.num_users, self.num_items, self.device
        )

    def drop(self, share: float) -> InteractionGraph:
        """Return the graph without randomly dropped pairs; each is dropped with probability `share`."""
        return self.keep(torch.rand(len(self.users)) >= share)

    def sum_of_neighbours(self, rows: Tensor) -> Tensor:
        """Return A x for x [U + I, D], A the adjacency matrix."""
        adjacency = self._adjacency
        if isinstance(adjacency, Tensor):
            product: Tensor = torch.sparse.mm(adjacency, rows)
            return product
        with adjacency.local_scope():
            adjacency.ndata["rows"] = rows
            adjacency.update_all(fn.copy_u("rows", "message"), fn.sum("message", "sum"))
            summed: Tensor = adjacency.ndata["sum"]
            return summed

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
