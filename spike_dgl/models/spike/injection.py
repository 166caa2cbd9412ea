"""Profile injection: project profiles into the space of the ID embeddings, gate them, inject and remove them."""

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
        """Project text vectors [n, d_t] to [n, D]."""
        hidden = relu(self.hidden(vectors), self.dropout if self.training else 0.0)
        projected: Tensor = self.output(hidden)
        return projected


class ConstantGate(nn.Module):
    """Constant gate, as in the paper: lambda_p for every node."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, embedding: Tensor, profile: Tensor) -> Tensor:  # noqa: ARG002  (the signature of LearnedGate)
        """Return the gate g [n, 1] from e and s, both [n, D]."""
        return embedding.new_full((len(embedding), 1), self.scale)


class LearnedGate(nn.Module):
    """Learned gate per node: g = sigmoid(w . [e; s] + b), initialised to lambda_p for every node.

    Ours, not the paper's: a node with many neighbours may need its text less.

    Parameters
    ----------
    embedding_dim
        D.
    scale
        Initial value of the gate, between 0 and 1.
    """

    def __init__(self, embedding_dim: int, scale: float) -> None:
        super().__init__()
        if not 0.0 < scale < 1.0:
            raise ValueError(f"a learned gate starts strictly between 0 and 1, not at {scale}")
        self.linear = nn.Linear(2 * embedding_dim, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.constant_(self.linear.bias, math.log(scale / (1.0 - scale)))

    def forward(self, embedding: Tensor, profile: Tensor) -> Tensor:
        """Return the gate g [n, 1] from e and s, both [n, D]."""
        return torch.sigmoid(self.linear(torch.cat([embedding, profile], dim=-1)))


@dataclass(frozen=True)
class Texts:
    """Text vectors of some nodes: of `users` [u, d_t] and `entities` [n - u, d_t].

    `absent` is true [n, 1] for nodes without a profile; None if all have one.
    """

    users: Tensor
    entities: Tensor
    absent: Tensor | None = None


@dataclass(frozen=True)
class Profiles:
    """Projected profiles of n nodes in one propagation.

    Parameters
    ----------
    injected
        g s [n, D], added to the states before the first hop; None without injection.
    removed
        g s [n, D], subtracted from the sum of all layers; None without removal.
    matched
        s [n, D], for the matching loss; None without profiles.
    """

    injected: Tensor | None = None
    removed: Tensor | None = None
    matched: Tensor | None = None


class ProfileInjection(nn.Module):
    """Projections and gates of the profiles, one of each for users and one for entities.

    A node without a profile has a zero text vector. Its projection is set to zero, because the biases of the
    projection would give all such nodes the same profile.

    Parameters
    ----------
    user_vectors, entity_vectors
        Text vectors [U, d_t] and [N, d_t].
    embedding_dim
        D.
    options
        See `InjectionOptions`.
    shared_projection
        Whether to project the profiles only once per propagation; see `SpikeQuirks`.
    """

    user_vectors: Tensor
    entity_vectors: Tensor
    absent: Tensor | None
    """True [U + N, 1] for nodes without a profile; None if all have one."""
    profiled: Tensor | None
    """Rows of the nodes that have a profile; None if all have one."""

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
        # Not persistent: a run folder stores the vectors once, not in every checkpoint.
        if user_vectors.dtype == torch.float16:  # memory-mapped: never on a GPU as a whole
            self.user_vectors, self.entity_vectors = user_vectors, entity_vectors
        else:
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
        """Compute the profiles to inject, to remove and to match.

        Parameters
        ----------
        embedding
            ID embeddings e [n, D] of the nodes.
        nodes
            Rows [n] of the nodes, ascending; None for all U + N.
        num_users
            Number of users among `nodes`; None for all.
        """
        return self.of_texts(embedding, self.texts(nodes, num_users))

    def of_texts(self, embedding: Tensor, texts: Texts) -> Profiles:
        """Compute the profiles as `forward` does, for nodes with the ID embeddings [n, D] and these texts."""
        shared = self._projected(texts)

        def profile() -> Tensor:
            return shared if self.shared_projection else self._projected(texts)

        injected = removed = None
        if self.options.injection != "none":
            gate = self.gate(embedding, shared, len(texts.users))
            injected = gate * shared
            if self.options.injection == "inject-and-remove":
                removed = injected if self.shared_projection else gate * profile()
        return Profiles(injected, removed, profile())

    def texts(self, nodes: Tensor | None = None, num_users: int | None = None) -> Texts:
        """Return the text vectors of nodes; for the parameters see `forward`."""
        if nodes is None:
            return Texts(self._rows(self.user_vectors), self._rows(self.entity_vectors), self.absent)
        num_users = self.num_users if num_users is None else num_users
        users = self._rows(self.user_vectors, nodes[:num_users])
        entities = self._rows(self.entity_vectors, nodes[num_users:] - self.num_users)
        return Texts(users, entities, None if self.absent is None else self.absent.index_select(0, nodes))

    def _rows(self, table: Tensor, rows: Tensor | None = None) -> Tensor:
        """Return rows of a table of vectors, all if None, on the device and in the precision of the parameters."""
        chosen = table if rows is None else table.index_select(0, rows.to(table.device))
        weight = self.user_projection.output.weight
        return chosen.to(weight.device, weight.dtype)

    def project(self, nodes: Tensor | None = None, num_users: int | None = None) -> Tensor:
        """Return the projected profiles s [n, D]; for the parameters see `forward`."""
        return self._projected(self.texts(nodes, num_users))

    def _projected(self, texts: Texts) -> Tensor:
        projected = torch.cat([self.user_projection(texts.users), self.entity_projection(texts.entities)])
        return projected if texts.absent is None else projected.masked_fill(texts.absent, 0.0)

    def gate(self, embedding: Tensor, profile: Tensor, num_users: int) -> Tensor:
        """Return the gates g [n, 1] from e and s, both [n, D], users first."""
        sizes = [num_users, len(embedding) - num_users]
        users, entities = zip(embedding.split_with_sizes(sizes), profile.split_with_sizes(sizes), strict=True)
        return torch.cat([self.user_gate(*users), self.entity_gate(*entities)])

    @torch.no_grad()
    def of_new_entities(self, vectors: Tensor) -> Tensor:
        """Return g s [n, D] of entities without an ID embedding, from their text vectors [n, d_t]."""
        projected: Tensor = self.entity_projection(vectors)
        projected = projected.masked_fill(~vectors.any(dim=1, keepdim=True), 0.0)
        gated: Tensor = self.entity_gate(torch.zeros_like(projected), projected) * projected
        return gated

    def profiled_among(self, nodes: Tensor) -> Tensor | None:
        """Return the positions in `nodes` of those that have a profile; None if all have one."""
        return None if self.absent is None else (~self.absent[nodes, 0]).nonzero()[:, 0]
