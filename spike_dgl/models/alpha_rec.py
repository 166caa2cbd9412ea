"""AlphaRec: collaborative filtering on texts alone, without ID embeddings and without a knowledge graph."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from spike_dgl.config import STRICT
from spike_dgl.errors import ConfigError
from spike_dgl.models.base import EmbeddingModel, ModelInputs, RankingOptions, register
from spike_dgl.nn.graphs.interactions import InteractionGraph
from spike_dgl.nn.losses import RankingLoss

Mapping: TypeAlias = Literal["linear", "mlp"]


@dataclass(frozen=True, config=STRICT)
class AlphaRecOptions(RankingOptions):
    """Settings of AlphaRec, besides those of `RankingOptions`.

    Parameters
    ----------
    mapping
        Map from text vectors to embeddings: ``mlp`` (one hidden layer, as in the paper) or ``linear``.
    num_layers
        Number of hops between users and items; 2 in the paper.
    l2_weight
        Always 0: there are no ID embeddings.
    """

    mapping: Mapping = "mlp"
    num_layers: int = Field(default=2, ge=0, le=64)
    # The paper's InfoNCE is the softmax loss on cosines.
    ranking_loss: RankingLoss = "softmax"
    score_temperature: float | None = Field(default=0.15, gt=0.0)
    l2_weight: float = Field(default=0.0, ge=0.0, le=0.0)


SEARCH = {
    "model.mapping": ("linear", "mlp"),
    "model.num_layers": (1, 2, 3),
    "model.score_temperature": (0.1, 0.15, 0.2),
    "model.l2_weight": (),
}


@register("alpha-rec", AlphaRecOptions, SEARCH)
class AlphaRec(EmbeddingModel):
    """AlphaRec (Sheng et al., "Language Representations Can be What Recommenders Need", ICLR 2025).

    A user's text vector is the mean of their items'. A map f shared by users and items gives the first layer of
    LightGCN, and embeddings are the mean over layers:

        f(t) = W2 leaky_relu(W1 t + b1) + b2        W1: d_t / 2 x d_t; or f(t) = W t + b if linear
        L = InfoNCE of cosines / tau, with sampled negatives

    Differences from the paper: text vectors are those of the run's profiles, of unit length, and the negatives are
    shared by the users of a batch.

    Parameters
    ----------
    inputs
        Graph and text vectors of items; KG relations and texts of users are not used.
    options
        See `AlphaRecOptions`.

    Raises
    ------
    ConfigError
        If the run has no profiles.
    """

    embedding: Tensor

    def __init__(self, inputs: ModelInputs, options: AlphaRecOptions) -> None:
        super().__init__()
        self.options, self.num_users, self.num_items = options, inputs.num_users, inputs.num_items
        if inputs.entity_vectors is None:
            raise ConfigError(
                "model.name: alpha-rec knows items by their texts only, and this run has no profiles\n"
                "  Set profiles.source=auto or template, or model.name=lightgcn, which learns an embedding per item."
            )
        self.interactions = InteractionGraph.from_graph(inputs.graph, inputs.device)
        items = functional.normalize(inputs.entity_vectors[: inputs.num_items]).to(inputs.device)
        texts = torch.cat([self._means(items), items])
        # In place of the ID embeddings of other models: nothing of it is trained.
        self.register_buffer("embedding", texts, persistent=False)
        self.mapping = _mapping(options.mapping, texts.shape[1], options.embedding_dim)

    def _means(self, items: Tensor) -> Tensor:
        """Return the mean text vector of each user's items [U, d_t]; zero for a user without any."""
        below = torch.cat([items.new_zeros(self.num_users, items.shape[1]), items])
        sums = self.interactions.sum_of_neighbours(below)[: self.num_users]
        means: Tensor = sums * self.interactions.scale[: self.num_users].square()
        return means

    def propagate(self) -> Tensor:
        """Return the mean over layers [U + I, D], users first."""
        return self.interactions.mean_of_hops(self.mapping(self.embedding), self.options.num_layers)


def _mapping(kind: Mapping, text_dim: int, embedding_dim: int) -> nn.Module:
    if kind == "linear":
        return nn.Linear(text_dim, embedding_dim)
    hidden = max(1, text_dim // 2)
    return nn.Sequential(nn.Linear(text_dim, hidden), nn.LeakyReLU(), nn.Linear(hidden, embedding_dim))
