"""Profiles in the space of the ID embeddings: projected, gated, injected into the states and removed again."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spike_dgl.models.spike.options import InjectionOptions
from spike_dgl.nn.kernels.rows import relu


class ProfileProjection(nn.Module):
    """Two-layer projection of profile vectors: s = W2 dropout(relu(W1 t + b1)) + b2.

    W1 is d_t x d_t and W2 is D x d_t. Input [n, d_t], output [n, D].

    Parameters
    ----------
    vector_dim
        d_t.
    embedding_dim
        D.
    dropout
        Share of hidden units dropped in training.
    """

    def __init__(self, vector_dim: int, embedding_dim: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(vector_dim, vector_dim)
        self.output = nn.Linear(vector_dim, embedding_dim)
        self.dropout = dropout

    def forward(self, vectors: Tensor) -> Tensor:
        """[n, D] from text vectors [n, d_t]."""
        hidden = relu(self.hidden(vectors), self.dropout if self.training else 0.0)
        projected: Tensor = self.output(hidden)
        return projected


class ConstantGate(nn.Module):
    """The paper's profile scale: the same lambda_p for every node."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, embedding: Tensor, profile: Tensor) -> Tensor:  # noqa: ARG002  (gates are called alike)
        """[n, 1] share of the profile that enters each node's state; inputs [n, D]."""
        return embedding.new_full((len(embedding), 1), self.scale)


class LearnedGate(nn.Module):
    """A profile scale for each node, learned: sigmoid(w . [e; s] + b), which starts as lambda_p everywhere.

    Ours, not the paper's: a node with a rich neighbourhood may need its text less.

    Parameters
    ----------
    embedding_dim
        D.
    scale
        Where the gate starts, between 0 and 1.
    """

    def __init__(self, embedding_dim: int, scale: float) -> None:
        super().__init__()
        if not 0.0 < scale < 1.0:
            raise ValueError(f"a learned gate starts strictly between 0 and 1, not at {scale}")
        self.linear = nn.Linear(2 * embedding_dim, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.constant_(self.linear.bias, math.log(scale / (1.0 - scale)))

    def forward(self, embedding: Tensor, profile: Tensor) -> Tensor:
        """[n, 1] share of the profile that enters each node's state; inputs [n, D]."""
        return torch.sigmoid(self.linear(torch.cat([embedding, profile], dim=-1)))


@dataclass(frozen=True)
class Profiles:
    """Projected profiles of one propagation, for n nodes.

    Parameters
    ----------
    injected
        [n, D] added to the states before the first hop: gate times s; None where nothing is.
    removed
        [n, D] taken from the sum of all layers; None where nothing is.
    matched
        s [n, D], which the matching loss compares with; None without profiles.
    """

    injected: Tensor | None = None
    removed: Tensor | None = None
    matched: Tensor | None = None


class ProfileInjection(nn.Module):
    """Projects the profiles of all nodes, and says how much of them enters the states and leaves them.

    A node without a profile has a zero vector. Its projection counts as zero: the projection has biases, and would
    give all such nodes the same profile.

    Parameters
    ----------
    user_vectors, entity_vectors
        Text vectors [U, d_t] and [N, d_t].
    embedding_dim
        D.
    options
        See `InjectionOptions`.
    shared_projection
        Whether the profiles are projected once a propagation; see `SpikeQuirks`.
    """

    user_vectors: Tensor
    entity_vectors: Tensor
    absent: Tensor | None
    """True [U + N, 1] for nodes without a profile; None where all have one."""
    profiled: Tensor | None
    """Rows of the nodes that have a profile; None where all have one."""

    def __init__(
        self,
        user_vectors: Tensor,
        entity_vectors: Tensor,
        embedding_dim: int,
        options: InjectionOptions,
        *,
        shared_projection: bool,
    ) -> None:
        super().__init__()
        self.options, self.shared_projection, self.num_users = options, shared_projection, len(user_vectors)
        # Not part of the state: a run folder holds the vectors once, not in every checkpoint.
        self.register_buffer("user_vectors", user_vectors, persistent=False)
        self.register_buffer("entity_vectors", entity_vectors, persistent=False)
        present = torch.cat([user_vectors.any(dim=1), entity_vectors.any(dim=1)])
        all_present = bool(present.all())
        absent, profiled = ~present[:, None], present.nonzero()[:, 0]
        self.register_buffer("absent", None if all_present else absent, persistent=False)
        self.register_buffer("profiled", None if all_present else profiled, persistent=False)
        sizes = (user_vectors.shape[1], embedding_dim, options.projection_dropout)
        self.user_projection, self.entity_projection = ProfileProjection(*sizes), ProfileProjection(*sizes)
        self.user_gate, self.entity_gate = self._gate(embedding_dim), self._gate(embedding_dim)

    def _gate(self, embedding_dim: int) -> nn.Module:
        if self.options.profile_gate == "constant":
            return ConstantGate(self.options.profile_scale)
        return LearnedGate(embedding_dim, self.options.profile_scale)

    def forward(
        self, embedding: Tensor, nodes: Tensor | None = None, num_users: int | None = None
    ) -> Profiles:
        """Compute what is injected, removed and matched.

        Parameters
        ----------
        embedding
            e [n, D], ID embeddings of the nodes.
        nodes
            [n] their rows, ascending; all U + N where not given.
        num_users
            Number of users among the nodes, where these are given.
        """
        num_users = self.num_users if num_users is None else num_users
        shared = self.project(nodes, num_users)

        def profile() -> Tensor:
            return shared if self.shared_projection else self.project(nodes, num_users)

        injected = removed = None
        if self.options.injection != "none":
            gate = self.gate(embedding, shared, num_users)
            injected = gate * shared
            if self.options.injection == "inject-and-remove":
                removed = injected if self.shared_projection else gate * profile()
        return Profiles(injected, removed, profile())

    def project(self, nodes: Tensor | None = None, num_users: int | None = None) -> Tensor:
        """s, [U + N, D]: the profiles in the space of the ID embeddings; of some nodes as in `forward`."""
        users, entities = self.user_vectors, self.entity_vectors
        if nodes is not None:
            users = users.index_select(0, nodes[:num_users])
            entities = entities.index_select(0, nodes[num_users:] - self.num_users)
        projected = torch.cat([self.user_projection(users), self.entity_projection(entities)])
        if self.absent is None:
            return projected
        absent = self.absent if nodes is None else self.absent.index_select(0, nodes)
        return projected.masked_fill(absent, 0.0)

    def gate(self, embedding: Tensor, profile: Tensor, num_users: int) -> Tensor:
        """[n, 1] share of each node's profile that enters its state; inputs [n, D], users first."""
        sizes = [num_users, len(embedding) - num_users]
        users, entities = zip(embedding.split_with_sizes(sizes), profile.split_with_sizes(sizes), strict=True)
        return torch.cat([self.user_gate(*users), self.entity_gate(*entities)])

    @torch.no_grad()
    def of_new_entities(self, vectors: Tensor) -> Tensor:
        """[n, D] injected into the states of entities without an ID embedding, from their text vectors [n, d_t]."""
        projected: Tensor = self.entity_projection(vectors)
        projected = projected.masked_fill(~vectors.any(dim=1, keepdim=True), 0.0)
        gated: Tensor = self.entity_gate(torch.zeros_like(projected), projected) * projected
        return gated

    def profiled_among(self, nodes: Tensor) -> Tensor | None:
        """Positions, among some rows, of nodes that have a profile; None where all have one."""
        return None if self.absent is None else (~self.absent[nodes, 0]).nonzero()[:, 0]
