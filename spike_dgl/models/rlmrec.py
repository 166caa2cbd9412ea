"""RLMRec: LightGCN with a contrastive loss that aligns embeddings with profile texts."""

from __future__ import annotations

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from spike_dgl.config import STRICT
from spike_dgl.errors import ConfigError
from spike_dgl.models.base import (
    Batch,
    ModelInputs,
    ranking_terms,
    register,
)
from spike_dgl.models.lightgcn import LightGCN, LightGCNOptions
from spike_dgl.nn.losses import contrastive_loss, distinct


@dataclass(frozen=True, config=STRICT)
class RLMRecOptions(LightGCNOptions):
    """Settings of RLMRec, besides those of `LightGCNOptions`.

    Parameters
    ----------
    edge_dropout
        Share of the interactions dropped in a training step; 0.2 in the authors' settings.
    alignment_weight
        Weight of the contrastive loss with the texts; 0.01 in the authors' settings on Amazon-Book and Yelp.
    temperature
        Temperature tau of that loss; 0.2 in the authors' settings.
    """

    edge_dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    alignment_weight: float = Field(default=0.01, ge=0.0)
    temperature: float = Field(default=0.2, gt=0.0)
    # The authors' 1e-7 is for the squared norm of all parameters; for Amazon-Book's 20,000 nodes, that is 1e-3 here.
    l2_weight: float = Field(default=1e-3, ge=0.0)


SEARCH = {
    "model.num_layers": (1, 2, 3),
    "model.alignment_weight": (0.001, 0.01, 0.1, 0.5),
    "model.temperature": (0.1, 0.2, 0.5),
}


@register("rlmrec", RLMRecOptions, SEARCH)
class RLMRec(LightGCN):
    """RLMRec-Con (Ren et al., "Representation Learning with Large Language Models for Recommendation", WWW 2024).

    z is LightGCN's mean of layers. The text vector t of a user's or item's profile is projected by a network shared by
    users and items. A node's z should be closer to its own projected text than to those of other nodes:

        s = W2 leaky_relu(W1 t + b1) + b2        W1: (d_t + D) / 2 x d_t
        L = L_rank + alpha (InfoNCE(z_u, s_u) + InfoNCE(z_i, s_i)) + L2
        InfoNCE(z, s) = -mean_v log(exp(cos(z_v, s_v) / tau) / sum_w exp(cos(z_v, s_w) / tau))

    The texts affect the loss only; scores are inner products of z.

    Differences from the authors' code: the sum over w is over the distinct users of the batch instead of all users,
    and the batch's positive and negative items are contrasted together, each once, instead of separately. The cosines,
    at most 2 B x 2 B, are computed in blocks (with several processes, over each process's share of the batch). After
    edge dropout the graph is normalised by its new degrees. The texts are the profiles of the run, not those of
    RLMRec's prompts.

    Parameters
    ----------
    inputs
        Graph and text vectors; KG relations are not used.
    options
        See `RLMRecOptions`.

    Raises
    ------
    ConfigError
        If the run has no profiles.
    """

    options: RLMRecOptions
    vectors: Tensor

    def __init__(self, inputs: ModelInputs, options: RLMRecOptions) -> None:
        super().__init__(inputs, options)
        if inputs.user_vectors is None or inputs.entity_vectors is None:
            raise ConfigError(
                "model.name: rlmrec aligns embeddings with profile texts, and this run has no profiles\n"
                "  Set profiles.source=auto or template, or model.name=lightgcn, which is rlmrec without texts."
            )
        vectors = torch.cat([inputs.user_vectors, inputs.entity_vectors[: inputs.num_items]])
        self.register_buffer("vectors", vectors, persistent=False)
        vector_dim, hidden_dim = vectors.shape[1], (vectors.shape[1] + options.embedding_dim) // 2
        self.projection = nn.Sequential(
            nn.Linear(vector_dim, hidden_dim), nn.LeakyReLU(), nn.Linear(hidden_dim, options.embedding_dim)
        )

    def propagate(self) -> Tensor:
        """Return z, the mean over layers, [U + I, D], users first; in training mode with edge dropout."""
        graph = self.interactions
        if self.training and self.options.edge_dropout:
            graph = graph.drop(self.options.edge_dropout)
        return graph.mean_of_hops(self.embedding, self.options.num_layers)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted ranking, L2 and alignment losses; terms of weight 0 are omitted."""
        final = self.propagate()
        terms = ranking_terms(final, self.embedding, batch.rows(self.num_users), self.options)
        if self.options.alignment_weight:
            terms["alignment"] = self.options.alignment_weight * self.alignment(batch, final)
        return terms

    def alignment(self, batch: Batch, final: Tensor) -> Tensor:
        """Return the unweighted contrastive loss of z [U + I, D] and projected texts, over users and items."""
        items = torch.cat([batch.positives, batch.negatives]) + self.num_users
        temperature = self.options.temperature
        contrasts = [
            contrastive_loss(final[rows], self.projection(self.vectors[rows]), temperature, counted)
            for rows, counted in (distinct(batch.users), distinct(items))
        ]
        return torch.stack(contrasts).sum()
