"""Popularity term: the logarithm of recent popularity, added to the scores of a trained model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spike_dgl.data.dataset import Interactions
from spike_dgl.data.popularity import recent_popularity
from spike_dgl.models.deviation import score_deviation


@dataclass(frozen=True)
class PopularityTerm:
    """Standardised logarithm of the recent popularity of items, the same for all users.

    Embeddings learn how popular items are over the whole training period, users and items without many interactions
    less so. The term says what is popular now.

    Parameters
    ----------
    items
        (x - mean) / deviation [I, 1] of x = log(1 + p), with the `recent_popularity` p.
    """

    items: Tensor

    @classmethod
    def fit(cls, train: Interactions, num_items: int, device: torch.device) -> PopularityTerm:
        """Fit on training interactions."""
        logarithms = np.log1p(recent_popularity(train, num_items))
        centred = logarithms - logarithms.mean()
        deviation = float(centred.std())
        standardised = centred / deviation if deviation > 0.0 else centred
        return cls(torch.from_numpy(standardised.astype(np.float32)[:, None]).to(device))

    def of_users(self, users: Tensor, items: Tensor, weight: float) -> Tensor:
        """Return the user side [U, 1]: the term deviates `weight` times as much as the scores of a model.

        Parameters
        ----------
        users, items
            Embeddings of the model, [U, D] and [I, D].
        weight
            Ratio of the standard deviations over all user-item pairs.
        """
        return users.new_full((len(users), 1), weight * score_deviation(users, items))
