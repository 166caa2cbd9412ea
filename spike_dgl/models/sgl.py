"""SGL: LightGCN with a contrastive loss between two views of the graph with random edge dropout."""

from __future__ import annotations

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from spike_dgl.config import STRICT
from spike_dgl.models.base import (
    Batch,
    ModelInputs,
    contrast_of_batch,
    register,
)
from spike_dgl.models.lightgcn import LightGCN, LightGCNOptions


@dataclass(frozen=True, config=STRICT)
class SGLOptions(LightGCNOptions):
    """Settings of SGL, besides those of `LightGCNOptions`, whose defaults are also the paper's for SGL.

    Parameters
    ----------
    edge_dropout
        rho, share of the interactions dropped in each view; 0.1 in the paper.
    contrastive_weight
        lambda_1, weight of the contrastive loss; 0.02, 0.1 and 0.5 in the paper, on Alibaba-iFashion, Yelp2018 and
        Amazon-Book. On the small datasets here 0.02 and 0.1 have equal validation metrics; larger weights push similar
        nodes apart.
    temperature
        Temperature tau of the contrastive loss; 0.2 in the paper.
    """

    edge_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    contrastive_weight: float = Field(default=0.02, ge=0.0)
    temperature: float = Field(default=0.2, gt=0.0)


SEARCH = {
    "model.num_layers": (1, 2, 3),
    "model.contrastive_weight": (0.02, 0.1, 0.5),
    "model.temperature": (0.1, 0.2, 0.5),
    "model.edge_dropout": (0.1, 0.3),
}


@register("sgl", SGLOptions, SEARCH)
class SGL(LightGCN):
    """SGL-ED (Wu et al., "Self-supervised Graph Learning for Recommendation", SIGIR 2021).

    The main task is LightGCN's, z = mean of the layers of e. Two views z' and z'' use the same embeddings on graphs
    without a random share rho of the edges, normalised by their new degrees. A node should be closer to itself in the
    other view than to other nodes, separately for users and items:

        L = L_rank + lambda_1 (InfoNCE(z'_u, z''_u) + InfoNCE(z'_i, z''_i)) + L2
        InfoNCE(a, b) = -mean_i log(exp(cos(a_i, b_i) / tau) / sum_j exp(cos(a_i, b_j) / tau))

    Differences from the paper: its sum over j is over all users or items, ours over the distinct ones of the batch
    (with several processes, of each process's share), so that time does not grow with batch times nodes; the cosines,
    at most B x B, are computed in blocks. New views are drawn in each step, not each epoch, so that resuming needs
    random states only.

    Parameters
    ----------
    inputs
        The graph; text vectors and KG relations are not used.
    options
        See `SGLOptions`.
    """

    options: SGLOptions

    def __init__(self, inputs: ModelInputs, options: SGLOptions) -> None:
        super().__init__(inputs, options)

    def view(self) -> Tensor:
        """Return a view z' [U + I, D], with newly drawn edge dropout in each call."""
        part = self.interactions.drop(self.options.edge_dropout)
        return part.mean_of_hops(self.embedding, self.options.num_layers)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted ranking, L2 and contrastive losses; terms of weight 0 are omitted."""
        terms, options = super().loss(batch), self.options
        if not options.contrastive_weight:
            return terms
        contrast = contrast_of_batch(self.view(), self.view(), batch, self.num_users, options.temperature)
        terms["contrastive"] = options.contrastive_weight * contrast
        return terms
