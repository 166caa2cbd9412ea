"""A small graph with texts, and textbook implementations of models on it, with dense matrices."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spike_dgl.graph import build_graph
from spike_dgl.models.base import Batch, ModelInputs
from spike_dgl.nn.graphs.interactions import InteractionGraph
from tests.toy import random_dataset

DATA = random_dataset(3)
U, I = DATA.num_users, DATA.num_items  # noqa: E741
BATCH = Batch(torch.tensor([0, 3, 3, 5]), torch.tensor([2, 1, 2, 8]), torch.tensor([5, 4, 0, 4]))
USERS, ITEMS = torch.tensor([0, 3, 5]), torch.tensor([1, 2, 8]) + U
"""Return the batch's distinct users and positive items, as rows of a table of all nodes."""


def inputs(vector_dim: int = 6) -> ModelInputs:
    """Return the graph, with random texts that are the same in each call."""
    generator = torch.Generator().manual_seed(7)
    vectors = [torch.randn(n, vector_dim, generator=generator) for n in (U, DATA.num_entities)]
    return ModelInputs(build_graph(DATA), *vectors)


def normalised(interactions: InteractionGraph, kept: Tensor | None = None) -> Tensor:
    """Return D^{-1/2} A D^{-1/2} [U + I, U + I] of some or all pairs."""
    chosen = slice(None) if kept is None else kept
    matrix = torch.zeros(U + I, U + I)
    matrix[interactions.users[chosen], interactions.items[chosen] + U] = 1.0
    matrix += matrix.T.clone()
    scale = matrix.sum(1).clamp(min=1.0).rsqrt()
    return scale[:, None] * matrix * scale[None]


def mean_of_powers(matrix: Tensor, rows: Tensor, num_layers: int) -> Tensor:
    """Return the mean of x, M x, M M x, ..."""
    return torch.stack([torch.linalg.matrix_power(matrix, n) @ rows for n in range(num_layers + 1)]).mean(0)


def info_nce(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Compute InfoNCE from the n x n matrix of cosines."""
    shares = (functional.cosine_similarity(one[:, None], other[None], dim=-1) / temperature).exp()
    return -(shares.diagonal() / shares.sum(1)).log().mean()


def bpr(final: Tensor) -> Tensor:
    """Compute BPR of the batch, one triple at a time."""
    triples = zip(*(rows.tolist() for rows in (BATCH.users, BATCH.positives, BATCH.negatives)), strict=True)
    margins = [final[u] @ final[U + p] - final[u] @ final[U + n] for u, p, n in triples]
    return -torch.stack(margins).sigmoid().log().mean()
