"""Item-text cosine: untrained baseline on texts."""

from __future__ import annotations

import torch
from torch.nn import functional

from spike_dgl.errors import ConfigError
from spike_dgl.models.base import (
    Embeddings,
    ModelInputs,
    NoOptions,
    RecommenderModel,
    ScoreFunction,
    register,
)
from spike_dgl.nn.graphs.interactions import InteractionGraph


@register("item-text-cosine", NoOptions)
class ItemTextCosine(RecommenderModel):
    """Text similarity: a score is the sum of cosines of an item's text vector with those of the user's items."""

    def __init__(self, inputs: ModelInputs, _options: NoOptions) -> None:
        super().__init__()
        if inputs.entity_vectors is None:
            raise ConfigError(
                "model.name: item-text-cosine needs the texts of items, and this run has no profiles\n"
                "  Set profiles.source=auto or template."
            )
        vectors = functional.normalize(inputs.entity_vectors[: inputs.num_items]).to(inputs.device)
        interactions = InteractionGraph.from_graph(inputs.graph, inputs.device)
        of_items = torch.cat([vectors.new_zeros(inputs.num_users, vectors.shape[1]), vectors])
        users = interactions.sum_of_neighbours(of_items)[: inputs.num_users]
        self.texts = Embeddings(users, vectors)

    def score_function(self) -> ScoreFunction:
        """Return the inner products of item vectors with the sum of the user's item vectors."""
        return self.texts.scores
