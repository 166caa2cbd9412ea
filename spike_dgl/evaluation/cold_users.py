"""Scores of cold users: no model has learned anything about users without training interactions."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from spike_dgl.data.dataset import Dataset
from spike_dgl.data.popularity import recent_popularity
from spike_dgl.models.base import ScoreFunction
from spike_dgl.typing import BoolArray, FloatArray


def popular_for_cold_users(score: ScoreFunction, dataset: Dataset) -> ScoreFunction:
    """Return scores that are the recent popularity of items for users without training interactions.

    Their embeddings are the random ones that training began with, and scores of histories are all zero. Recommendations
    treat these users in the same way, see `spike_dgl.recommend.recommender.Recommender.scores_of`.

    Parameters
    ----------
    score
        Scores of a model.
    dataset
        Data that it was trained on.
    """
    is_cold = np.isin(np.arange(dataset.num_users), dataset.train.users, invert=True)
    if not is_cold.any():
        return score
    return with_popularity(score, is_cold, recent_popularity(dataset.train, dataset.num_items))


def with_popularity(score: ScoreFunction, is_cold: BoolArray, popularity: FloatArray) -> ScoreFunction:
    """Return scores that are `popularity` [I] for users where `is_cold` [U] is true."""
    cold, of_items = torch.from_numpy(is_cold), torch.from_numpy(popularity)

    def scores(users: Tensor) -> Tensor:
        own, chosen = score(users), cold[users.cpu()]
        return torch.where(chosen[:, None].to(own.device), of_items.to(own), own)

    return scores
