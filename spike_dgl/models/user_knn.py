"""Nearest neighbours of users."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from spike_dgl.models.base import ModelInputs, RecommenderModel, ScoreFunction, register
from spike_dgl.models.histories import dense_tensor, history_matrix
from spike_dgl.models.irspack_models import irspack_recommender
from spike_dgl.models.item_knn import SEARCH, NearestNeighbourOptions


@register("user-knn", NearestNeighbourOptions, SEARCH)
class UserKnn(RecommenderModel):
    """User-user nearest neighbours, by irspack: a score is the sum of similarities to the neighbours who have the item.

    Users are alike by common items, as items are in `item-knn`. With a half-life, the histories of the neighbours are
    weighted too, both in the similarity and in the sum.
    Source: Resnick et al., "GroupLens", CSCW 1994; weights and shrinkage as in Ferrari Dacrema et al., RecSys 2019.

    Parameters
    ----------
    inputs
        The graph; KG relations and text vectors are not used.
    options
        See `NearestNeighbourOptions`.

    Raises
    ------
    ConfigError
        If irspack is missing.
    """

    def __init__(self, inputs: ModelInputs, options: NearestNeighbourOptions) -> None:
        super().__init__()
        histories = history_matrix(inputs.graph, options.half_life)
        self.recommender = irspack_recommender("CosineUserKNNRecommender", histories, **options.of_irspack())

    @cached_property
    def _fitted(self) -> Any:
        return self.recommender.learn()

    def score_function(self) -> ScoreFunction:
        """Return the scores of irspack; fits the similarities at the first call."""
        fitted = self._fitted
        return lambda users: dense_tensor(fitted.get_score(users.numpy())).to(torch.float32)
