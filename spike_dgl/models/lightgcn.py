"""LightGCN: graph-based collaborative filtering without knowledge graph or texts."""

from __future__ import annotations

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from spike_dgl.config import STRICT
from spike_dgl.models.base import EmbeddingModel, ModelInputs, RankingOptions, register
from spike_dgl.nn.graphs.interactions import InteractionGraph


@dataclass(frozen=True, config=STRICT)
class LightGCNOptions(RankingOptions):
    """Settings of LightGCN, besides those of `RankingOptions`.

    Parameters
    ----------
    num_layers
        Number of hops between users and items; 3 in the paper's main tables.
    """

    num_layers: int = Field(default=3, ge=1, le=64)
    l2_weight: float = Field(default=1e-4, ge=0.0)


SEARCH = {
    "model.num_layers": (1, 2, 3),
}


@register("lightgcn", LightGCNOptions, SEARCH)
class LightGCN(EmbeddingModel):
    """LightGCN (He et al., SIGIR 2020): e^{l+1} = D^{-1/2} A D^{-1/2} e^l; final embeddings are the mean of all layers.

    A is the user-item adjacency matrix of the training interactions, D the degrees.

    Parameters
    ----------
    inputs
        The graph; text vectors and KG relations are not used.
    options
        See `LightGCNOptions`.
    """

    def __init__(self, inputs: ModelInputs, options: LightGCNOptions) -> None:
        super().__init__()
        self.options, self.num_users, self.num_items = options, inputs.num_users, inputs.num_items
        self.interactions = InteractionGraph.from_graph(inputs.graph, inputs.device)
        num_nodes = inputs.num_users + inputs.num_items
        self.embedding = nn.Parameter(torch.empty(num_nodes, options.embedding_dim))
        nn.init.normal_(self.embedding, std=0.1)

    def propagate(self) -> Tensor:
        """Return the mean over layers [U + I, D], users first."""
        return self.interactions.mean_of_hops(self.embedding, self.options.num_layers)
