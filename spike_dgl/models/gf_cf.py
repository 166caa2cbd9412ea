"""GF-CF: collaborative filtering by graph filters, in closed form."""

from __future__ import annotations

from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy import sparse
from scipy.sparse.linalg import svds

from spike_dgl.config import STRICT
from spike_dgl.models.base import ModelInputs, RecommenderModel, ScoreFunction, register
from spike_dgl.models.histories import HISTORY_SEARCH, HistoryOptions, dense_tensor, history_matrix
from spike_dgl.nn.graphs.interactions import interaction_matrix

Factors: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True, config=STRICT)
class GfCfOptions(HistoryOptions):
    """Settings of GF-CF, besides those of `HistoryOptions`.

    Parameters
    ----------
    num_factors
        Number of singular vectors that the ideal low-pass filter keeps; 256 in the authors' code.
    ideal_weight
        Weight of the ideal low-pass filter beside the linear one; 0.3 in the paper.
    """

    num_factors: int = Field(default=256, ge=1)
    ideal_weight: float = Field(default=0.3, ge=0.0)


SEARCH = {
    "model.num_factors": (32, 64, 128, 256),
    "model.ideal_weight": (0.0, 0.1, 0.3, 1.0),
    **HISTORY_SEARCH,
}


@register("gf-cf", GfCfOptions, SEARCH)
class GfCf(RecommenderModel):
    """GF-CF (Shen et al., "How Powerful is Graph Convolution for Recommendation?", CIKM 2021).

    With X the interactions, R = D_U^{-1/2} X D_I^{-1/2} and V the first right singular vectors of R [I, k], the scores
    of a user with history h [I] are

        h (R'R + alpha D_I^{-1/2} V V' D_I^{1/2})

    No matrix of item pairs is formed. If k exceeds the rank that a truncated SVD can find, it is one less than the
    smaller side of X.

    Parameters
    ----------
    inputs
        The graph; KG relations and text vectors are not used.
    options
        See `GfCfOptions`.
    """

    def __init__(self, inputs: ModelInputs, options: GfCfOptions) -> None:
        super().__init__()
        self.options = options
        self.interactions = interaction_matrix(inputs.graph)
        self.histories = history_matrix(inputs.graph, options.half_life)
        # A node without interactions has a row or column of zeros, whatever its scale.
        of_users, of_items = (np.maximum(self.interactions.sum(axis).A1, 1.0) ** -0.5 for axis in (1, 0))
        self.item_scale = of_items.astype(np.float32)
        self.normalised = sparse.diags(of_users) @ self.interactions @ sparse.diags(of_items)
        self.normalised = self.normalised.tocsr().astype(np.float32)

    @cached_property
    def factors(self) -> Factors:
        """Factors of the ideal low-pass filter, [I, k] and [k, I]."""
        number = min(self.options.num_factors, min(self.normalised.shape) - 1)
        # A start vector makes ARPACK deterministic.
        start = np.random.default_rng(0).random(min(self.normalised.shape)).astype(np.float32)
        _, _, vectors = svds(self.normalised, k=number, v0=start, return_singular_vectors="vh")
        scale: NDArray[np.float32] = self.item_scale
        return self.options.ideal_weight * scale[:, None] * vectors.T, vectors / scale

    def score_function(self) -> ScoreFunction:
        """Return the filtered histories of a batch of users; computes the singular vectors at the first call."""
        narrow, wide = self.factors
        return lambda users: dense_tensor(
            self._linear(users.numpy()) + self.histories[users.numpy()] @ narrow @ wide
        )

    def _linear(self, users: Any) -> NDArray[np.float32]:
        to_users = self.histories[users] @ self.normalised.T
        linear: NDArray[np.float32] = (to_users @ self.normalised).toarray()
        return linear
