"""Item-text cosine: untrained baseline on texts."""

from __future__ import annotations

import torch
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.nn import functional

from spike_dgl.errors import ConfigError
from spike_dgl.models.base import ModelInputs, NoOptions, RecommenderModel, ScoreFunction, register
from spike_dgl.nn.graphs.interactions import interaction_matrix


@register("item-text-cosine", NoOptions)
class ItemTextCosine(RecommenderModel):
    """Text similarity: a score is the sum of cosines of an item's text vector with those of the user's items."""

    def __init__(self, inputs: ModelInputs, _options: NoOptions) -> None:
        super().__init__()
        texts = inputs.compared_texts
        if texts is None:
            raise ConfigError(
                "model.name: item-text-cosine needs the texts of items, and this run has no profiles\n"
                "  Set profiles.source=auto or template."
            )
        self.items = (
            csr_matrix(functional.normalize(texts).cpu().numpy()) if isinstance(texts, Tensor) else texts
        )
        self.users = interaction_matrix(inputs.graph) @ self.items
        self.device = inputs.device

    def score_function(self) -> ScoreFunction:
        """Return the inner products of item vectors with the sum of the user's item vectors."""
        return lambda users: torch.from_numpy((self.users[users.numpy()] @ self.items.T).toarray()).to(
            self.device
        )
