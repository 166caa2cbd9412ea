"""Item-item term: a linear autoencoder in closed form and of low rank, added to the scores of a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh
from torch import Tensor

from spike_dgl.dgl_import import DGLGraph
from spike_dgl.models.deviation import score_deviation
from spike_dgl.models.fold_in import FoldIn, NewItems
from spike_dgl.models.item_pairs import check_item_pairs
from spike_dgl.nn.graphs.interactions import interaction_matrix
from spike_dgl.typing import FloatArray, IndexArray

Matrix: TypeAlias = NDArray[np.float64]

L2_WEIGHT, DROPOUT = 200.0, 0.5
"""Weight of the squared norm of W, and dropout of its input; chosen on inner splits."""
BYTES_PER_PAIR = 40
"""Bytes per pair of items while W is fitted: five matrices in float64."""


@dataclass(frozen=True)
class LinearTerm:
    """Embeddings whose inner products are the scores X W of a linear autoencoder, in low rank.

    W [I, I] is that of EDLAE (Steck, "Autoencoders that don't overfit towards the Identity", NeurIPS 2020), which has a
    closed form. Its diagonal is zero, so an item says nothing about itself. With V the leading eigenvectors of
    W' X' X W, the scores X W are approximated by (X W V) V'.

    Graph models average over neighbourhoods and blur which item goes with which; the term keeps that.

    Parameters
    ----------
    users, items
        X W V [U, r] and V [I, r].
    of_items
        W V [I, r]: a user's embedding is the sum over their items.
    """

    users: Tensor
    items: Tensor
    of_items: Tensor

    @classmethod
    def fit(cls, graph: DGLGraph, num_items: int, rank: int, device: torch.device) -> LinearTerm:
        """Fit on the training interactions of a heterograph.

        Raises
        ------
        ConfigError
            If there are too many items for dense matrices of item pairs.
        """
        check_item_pairs("model.linear_weight", num_items, BYTES_PER_PAIR, "Set model.linear_weight=0.")
        interactions = interaction_matrix(graph)
        common = (interactions.T @ interactions).toarray().astype(np.float64)
        weights = _autoencoder(common)
        right = _leading_eigenvectors(weights.T @ common @ weights, rank)
        of_items = weights @ right
        parts = (interactions @ of_items, right, of_items)
        return cls(*(torch.from_numpy(part.astype(np.float32)).to(device) for part in parts))

    def scale(self, users: Tensor, items: Tensor, weight: float) -> float:
        """Return the factor by which the term's scores deviate `weight` times as much as those of a model.

        Parameters
        ----------
        users, items
            Embeddings of the model, [U, D] and [I, D].
        weight
            Ratio of the standard deviations over all user-item pairs.
        """
        deviation = score_deviation(self.users, self.items)
        return weight * score_deviation(users, items) / deviation if deviation > 0.0 else 0.0

    def of_history(self, histories: Sequence[IndexArray]) -> FloatArray:
        """Embed users [b, r] from the rows of their items; rows of items added after training have no effect."""
        known = self.of_items.cpu().numpy()
        embedded: FloatArray = np.stack([known[rows[rows < len(known)]].sum(axis=0) for rows in histories])
        return embedded


@dataclass(frozen=True)
class LinearTermFoldIn(FoldIn):
    """Fold-in of the dimensions of a linear term.

    Parameters
    ----------
    term, scale
        The term, and the factor of its users.
    rest
        Regressions, for users and items without a history.
    """

    term: LinearTerm
    scale: float
    rest: FoldIn

    def users_of_items(self, histories: Sequence[IndexArray]) -> FloatArray:
        """Embed users [b, r] from the rows of the items they interacted with."""
        return self.scale * self.term.of_history(histories)

    def users_of_profiles(self, vectors: FloatArray) -> FloatArray:
        """Embed users [b, r] from text vectors [b, d_t]."""
        return self.rest.users_of_profiles(vectors)

    def with_items(self, new: NewItems) -> tuple[LinearTermFoldIn, FloatArray]:
        """Add n items, and return their embeddings [n, r]."""
        rest, embedded = self.rest.with_items(new)
        return replace(self, rest=rest), embedded


def _autoencoder(common: Matrix) -> Matrix:
    """Return W [I, I] from the numbers of common users of all item pairs, [I, I]."""
    regularised = common.copy()
    regularised[np.diag_indices(len(common))] += L2_WEIGHT + DROPOUT / (1.0 - DROPOUT) * common.diagonal()
    inverse = np.linalg.inv(regularised)
    weights: Matrix = -inverse / inverse.diagonal()
    np.fill_diagonal(weights, 0.0)
    return weights


def _leading_eigenvectors(matrix: Matrix, number: int) -> Matrix:
    """Return eigenvectors [I, r] of a symmetric matrix; r is less if the matrix is small."""
    number = min(number, len(matrix) - 1)
    if number < 1:
        return np.eye(len(matrix))
    start = np.random.default_rng(0).random(len(matrix))  # makes ARPACK deterministic
    vectors: Matrix = eigsh(matrix, k=number, v0=start)[1]
    return vectors
