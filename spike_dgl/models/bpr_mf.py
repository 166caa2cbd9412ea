"""BPR-MF: matrix factorisation, a baseline without a graph."""

from __future__ import annotations

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from spike_dgl.config import STRICT
from spike_dgl.models.base import EmbeddingModel, ModelInputs, RankingOptions, register


@dataclass(frozen=True, config=STRICT)
class BprMfOptions(RankingOptions):
    """Settings of BPR-MF: those of `RankingOptions`.

    The paper tunes its L2 weight and gives no value; 1e-3 is ours.
    """

    l2_weight: float = Field(default=1e-3, ge=0.0)


SEARCH = {
    "training.learning_rate": (3e-4, 1e-3, 3e-3, 1e-2),
    "model.l2_weight": (0.0, 1e-4, 1e-3, 1e-2, 3e-2),
}


@register("bpr-mf", BprMfOptions, SEARCH)
class BprMf(EmbeddingModel):
    """Matrix factorisation (Rendle et al., "BPR", UAI 2009): a user's score of an item is <e_u, e_i>.

    Parameters
    ----------
    inputs
        Only the numbers of users and items are used.
    options
        See `BprMfOptions`.
    """

    def __init__(self, inputs: ModelInputs, options: BprMfOptions) -> None:
        super().__init__()
        self.options, self.num_users, self.num_items = options, inputs.num_users, inputs.num_items
        self.embedding = nn.Parameter(torch.empty(inputs.num_users + inputs.num_items, options.embedding_dim))
        nn.init.normal_(self.embedding, std=0.1)

    def propagate(self) -> Tensor:
        """Return the ID embeddings [U + I, D], users first."""
        return self.embedding
