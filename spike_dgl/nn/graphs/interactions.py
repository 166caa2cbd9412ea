"""Users and items as one graph, and the hop that LightGCN and its successors share."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph, dgl, fn, why_dgl_does_not_run_on
from spike_dgl.graph import INTERACTS


class InteractionGraph:
    """The symmetric graph of some user-item pairs: nodes [U + I], users first.

    `hop` runs DGL's message passing where DGL runs on the device, and torch's sparse product where it does not.

    Parameters
    ----------
    users, items
        The pairs [X], rows from 0 on both sides.
    num_users, num_items
        U and I.
    device
        Where it runs.
    """

    def __init__(
        self, users: Tensor, items: Tensor, num_users: int, num_items: int, device: torch.device
    ) -> None:
        self.users, self.items, self.device = users, items, device
        self.num_users, self.num_items = num_users, num_items
        targets = items + num_users
        graph = dgl.graph(
            (torch.cat([users, targets]), torch.cat([targets, users])), num_nodes=num_users + num_items
        )
        self.scale = graph.in_degrees().clamp(min=1).float().rsqrt().unsqueeze(-1).to(device)
        """[U + I, 1] one over the square root of each node's degree."""
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
        """That of the training interactions in the heterograph of `spike_dgl.graph.build_graph`."""
        users, items = graph.edges(etype=INTERACTS)
        num_items = int(graph.nodes["entity"].data["is_item"].sum())
        return cls(users, items, graph.num_nodes("user"), num_items, device)

    def keep(self, pairs: Tensor) -> InteractionGraph:
        """The graph of the pairs that a mask [X] keeps, with the degrees they leave."""
        return InteractionGraph(
            self.users[pairs], self.items[pairs], self.num_users, self.num_items, self.device
        )

    def drop(self, share: float) -> InteractionGraph:
        """The graph of a random part of the pairs: each is left out with the probability `share`."""
        return self.keep(torch.rand(len(self.users)) >= share)

    def sum_of_neighbours(self, rows: Tensor) -> Tensor:
        """A x for rows x [U + I, D], A the adjacency matrix."""
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
        """D^{-1/2} A D^{-1/2} x for rows x [U + I, D], D the degrees."""
        summed: Tensor = self.scale * self.sum_of_neighbours(self.scale * rows)
        return summed

    def hops(self, rows: Tensor, num_hops: int) -> list[Tensor]:
        """x and what 1, 2, ... hops make of it, each [U + I, D]."""
        layers = [rows]
        for _ in range(num_hops):
            layers.append(self.hop(layers[-1]))
        return layers

    def mean_of_hops(self, rows: Tensor, num_hops: int) -> Tensor:
        """Mean of x and of what 1, 2, ... hops make of it, [U + I, D]."""
        return torch.stack(self.hops(rows, num_hops)).mean(0)
