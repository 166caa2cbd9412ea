"""Item-item cosine: untrained baseline on interactions."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_dgl.models.base import ModelInputs, NoOptions, RecommenderModel, ScoreFunction, register
from spike_dgl.nn.graphs.interactions import InteractionGraph


@register("item-cosine", NoOptions)
class ItemCosine(RecommenderModel):
    """Item-item nearest neighbours: a score is the sum of an item's cosine similarities to the user's training items.

    Similarity is by common users: cos(i, j) = |U_i and U_j| / sqrt(|U_i| |U_j|). Scores are computed as two hops on
    the interaction graph, without a matrix of item pairs.
    Source: Sarwar et al., "Item-based Collaborative Filtering Recommendation Algorithms", WWW 2001.
    """

    def __init__(self, inputs: ModelInputs, _options: NoOptions) -> None:
        super().__init__()
        self.interactions = InteractionGraph.from_graph(inputs.graph, inputs.device)
        # The scale of an item without users is 1, which has no effect since its sums are zero.
        self.item_scale = self.interactions.scale[inputs.num_users :]

    def score_function(self) -> ScoreFunction:
        """Return the scores by hops from item to user to item, for a batch of users at once."""
        return self._scores

    def _scores(self, users: Tensor) -> Tensor:
        graph = self.interactions
        asked = torch.zeros(graph.num_users + graph.num_items, len(users), device=graph.device)
        asked[users, torch.arange(len(users), device=graph.device)] = 1.0
        history = self._to_items(graph.sum_of_neighbours(asked))
        similar_users = graph.sum_of_neighbours(history)
        similar_users[graph.num_users :] = 0.0
        return self._to_items(graph.sum_of_neighbours(similar_users))[graph.num_users :].T

    def _to_items(self, rows: Tensor) -> Tensor:
        """Set the rows of users to zero, and scale those of items."""
        num_users = self.interactions.num_users
        return torch.cat([torch.zeros_like(rows[:num_users]), rows[num_users:] * self.item_scale])
