"""Popularity: untrained baseline with the same ranking for all users."""

from __future__ import annotations

import torch

from spike_dgl.models.base import ModelInputs, NoOptions, RecommenderModel, ScoreFunction, register
from spike_dgl.nn.graphs.interactions import InteractionGraph


@register("popularity", NoOptions)
class Popularity(RecommenderModel):
    """Popularity ranking: a score is the item's number of training interactions."""

    scores_cold_users = True

    def __init__(self, inputs: ModelInputs, _options: NoOptions) -> None:
        super().__init__()
        interactions = InteractionGraph.from_graph(inputs.graph, inputs.device)
        counts = torch.bincount(interactions.items, minlength=inputs.num_items).float()
        self.counts = counts.to(inputs.device)

    def score_function(self) -> ScoreFunction:
        """Return the same counts for each user."""
        return lambda users: self.counts.expand(len(users), -1)
