"""From text vectors to the space of the ID embeddings, and how much of them enters."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spike_dgl.nn.rows import relu


class ProfileProjection(nn.Module):
    """Profile vectors in the space of the ID embeddings: s = W2 dropout(relu(W1 t + b1)) + b2.

    W1 is d_t x d_t and W2 is D x d_t (SPiKE, METHOD section 1). Input [n, d_t], output [n, D].

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
