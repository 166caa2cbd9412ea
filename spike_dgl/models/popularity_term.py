"""Popularity term: the logarithm of recent popularity, added to the scores of a trained model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spike_dgl.data.dataset import Interactions
from spike_dgl.data.popularity import recent_popularity
from spike_dgl.models.deviation import score_deviation
from spike_dgl.typing import FloatArray


@dataclass(frozen=True)
class PopularityTerm:
    """Standardised logarithm of the recent popularity of items, the same for all users.

    Embeddings learn how popular items are over the whole training period. The term adds what is popular at its end.

    The weight is on the side of the items, so that in cosines between items a small weight has a small effect.

    Parameters
    ----------
    items
        w (x - mean) / deviation [I, 1] of x = log(1 + p), with the `recent_popularity` p and the weight w: the standard
        deviation of the term over all user-item pairs, divided by that of the model's scores.
    """

    items: Tensor

    @classmethod
    def fit(
        cls, train: Interactions, num_items: int, weight: float, device: torch.device
    ) -> PopularityTerm | None:
        """Fit on training interactions; None if the weight is 0."""
        return cls.of(recent_popularity(train, num_items), weight, device) if weight else None

    @classmethod
    def of(cls, popularity: FloatArray, weight: float, device: torch.device) -> PopularityTerm:
        """Compute the term from the recent popularity [I] of items."""
        logarithms = np.log1p(popularity)
        centred = logarithms - logarithms.mean()
        deviation = float(centred.std())
        standardised = centred / deviation if deviation > 0.0 else centred
        return cls(torch.from_numpy((weight * standardised).astype(np.float32)[:, None]).to(device))

    def of_users(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the user side [U, 1] from the embeddings of a model, [U, D] and [I, D]."""
        return users.new_full((len(users), 1), score_deviation(users, items))
