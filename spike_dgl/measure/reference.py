"""Reference implementation of SPiKE, edge by edge, as in the equations and in the authors' code.

`python main.py speed` compares with it. It projects query and key for every edge, scatters messages, builds full
similarity matrices, drops edges relation by relation, and draws negatives one at a time. A test checks it against the
golden values.
"""

from __future__ import annotations

import math
import random

import torch
from torch import Tensor
from torch.nn import functional

from spike_dgl.data.dataset import Interactions
from spike_dgl.models.base import Batch
from spike_dgl.models.spike import Spike
from spike_dgl.nn.losses import bpr_loss

EDGE_TENSORS = 12
"""Number of tensors [E, D] in memory at the end of a layer's forward pass and in its backward pass."""
MATRICES = 4
"""Number of k x k matrices per sample: two of cosines, their difference and its square.

The backward pass needs only one of them, but with an allocator that keeps freed memory, the memory of the others is
not reused before the step ends.
"""


class ReferenceSpike:
    """Reference implementation of a `Spike` model, with the same parameters.

    Parameters
    ----------
    model
        Model with the parameters, graph and options. Its gate must be constant and its matching sampled.
    """

    def __init__(self, model: Spike) -> None:
        self.model, self.options = model, model.options
        assert model.inject is not None
        messages, self.inject = model.views.messages, model.inject
        self.head = messages.attended.dst + model.num_users
        self.tail, self.relation = messages.src, messages.relation
        self.user, self.item = messages.pooled.dst, messages.pooled.src
        degree = torch.bincount(self.user, minlength=model.num_users)
        self.weight = 1.0 / degree[self.user].to(model.embedding.dtype)

    def loss(self, batch: Batch) -> Tensor:
        """Return the total loss: BPR plus matching over newly drawn samples."""
        final, profile = self.propagate()
        users = final[batch.users]
        positives, negatives = (
            final[rows + self.model.num_users] for rows in (batch.positives, batch.negatives)
        )
        samples = self.model.match.sample(len(final), final.device)
        assert samples is not None
        return bpr_loss(
            (users * positives).sum(-1), (users * negatives).sum(-1)
        ) + self.options.matching_weight * self.matching(final, profile, samples)

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Return z and s, both [U + N, D]; the profiles are projected again for each use."""
        scale = self.options.profile_scale
        state = self.model.embedding + scale * self.inject.project()
        total = state
        edges, interactions = self._kept_edges(), self._kept_interactions()
        for _ in range(self.options.num_layers):
            state = self._hop(state, edges, interactions)
            total = total + state
        return total - scale * self.inject.project(), self.inject.project()

    def attend(self, state: Tensor, edges: Tensor) -> Tensor:
        """Return the attention-weighted sums of messages [N, D] to the entities."""
        heads, dim = self.options.num_heads, self.options.embedding_dim // self.options.num_heads
        head, tail = self.head[edges], self.tail[edges]
        relation = self.model.conv.relation_embedding[self.relation[edges]]
        query = (state[head] @ self.model.conv.query_projection).view(-1, heads, dim)
        key = (state[tail] @ self.model.conv.query_projection).view(-1, heads, dim)
        logits = (query * (key * relation.view(-1, heads, dim))).sum(-1) / math.sqrt(dim)
        weights = self._softmax(logits, head)
        message = (state[tail] * relation).view(-1, heads, dim) * weights.unsqueeze(-1)
        gathered = torch.zeros_like(state).index_add(0, head, message.flatten(1))
        return gathered[self.model.num_users :]

    def matching(self, final: Tensor, profile: Tensor, samples: Tensor) -> Tensor:
        """Return the mean squared difference of full similarity matrices, one sample [k] at a time."""
        losses = []
        for nodes in samples:
            ours, theirs = (functional.normalize(rows[nodes], dim=-1) for rows in (final, profile))
            losses.append((ours @ ours.T - theirs @ theirs.T).square().mean())
        return torch.stack(losses).mean()

    def layer_memory_mb(self, edges: int | None = None) -> float:
        """Estimate the memory that the attention layer over `edges` edges (default: all) needs, in MB."""
        numbers = EDGE_TENSORS * (len(self.head) if edges is None else edges) * self.options.embedding_dim
        return numbers * self.model.embedding.element_size() / 1e6

    def step_memory_mb(self) -> float:
        """Estimate the memory that a training step needs, in MB: layers over the kept edges, and matching."""
        kept = int(len(self.head) * (1.0 - self.options.kg_dropout))
        size = int(self.options.matching_sample_ratio * len(self.model.embedding))
        numbers = MATRICES * self.options.matching_samples * size**2
        layers = self.options.num_layers * self.layer_memory_mb(kept)
        return layers + numbers * self.model.embedding.element_size() / 1e6

    def _hop(self, state: Tensor, edges: Tensor, interactions: Tensor) -> Tensor:
        gathered = self.attend(state, edges)
        users, items = self.user[interactions], self.item[interactions]
        adjacency = torch.sparse_coo_tensor(
            torch.stack([users, items]),
            self.weight[interactions],
            (self.model.num_users, len(state)),
            check_invariants=False,
        )
        aggregated = torch.cat([torch.sparse.mm(adjacency, state), gathered])
        return functional.normalize(
            functional.dropout(aggregated, self.options.message_dropout, self.model.training), dim=-1
        )

    def _kept_edges(self) -> Tensor:
        """Draw the edges to keep of each relation, one relation at a time."""
        if not self.model.training:
            return torch.arange(len(self.head))
        kept = []
        for relation in range(int(self.relation.max()) + 1):
            edges = (self.relation == relation).nonzero(as_tuple=True)[0]
            size = math.ceil(len(edges) * (1.0 - self.options.kg_dropout))
            kept.append(edges[torch.randperm(len(edges))[:size]])
        return torch.cat(kept)

    def _kept_interactions(self) -> Tensor:
        if not self.model.training:
            return torch.arange(len(self.user))
        size = math.ceil(len(self.user) * (1.0 - self.options.interaction_dropout))
        return torch.randperm(len(self.user))[:size]

    def _softmax(self, logits: Tensor, head: Tensor) -> Tensor:
        nodes = len(self.model.embedding)
        index = head.unsqueeze(-1).expand_as(logits)
        highest = torch.full((nodes, logits.shape[1]), -math.inf, dtype=logits.dtype)
        highest = highest.scatter_reduce(0, index, logits.detach(), "amax")
        exponentials = (logits - highest[head]).exp()
        total = torch.zeros_like(highest).index_add(0, head, exponentials)
        return exponentials / total[head]


def sample_negatives(train: Interactions, num_users: int, num_items: int) -> list[int]:
    """Draw a negative item for every interaction, by rejection, one at a time."""
    positives: list[set[int]] = [set() for _ in range(num_users)]
    for user, item in zip(train.users.tolist(), train.items.tolist(), strict=True):
        positives[user].add(item)
    negatives = []
    for user in train.users.tolist():
        item = random.randrange(num_items)
        while item in positives[user]:
            item = random.randrange(num_items)
        negatives.append(item)
    return negatives
