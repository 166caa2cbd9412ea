"""LightGCL: LightGCN with a contrastive loss against a low-rank approximation of the graph."""

from __future__ import annotations

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from spike_dgl.config import STRICT
from spike_dgl.models.base import (
    Batch,
    ModelInputs,
    contrast_of_batch,
    ranking_terms,
    register,
)
from spike_dgl.models.lightgcn import LightGCN, LightGCNOptions
from spike_dgl.nn.graphs.interactions import InteractionGraph

OVERSAMPLING = 10
"""Additional dimensions of the randomised decomposition, which are dropped afterwards, for precision."""


@dataclass(frozen=True, config=STRICT)
class LightGCLOptions(LightGCNOptions):
    """Settings of LightGCL, besides those of `LightGCNOptions`.

    Parameters
    ----------
    num_layers
        Number of hops between users and items; 2 in the paper.
    rank
        q, number of singular values; 5 in the paper. At most the number of users or items.
    contrastive_weight
        lambda_1, weight of the contrastive loss; 0.2 in the authors' code, which uses inner products of small
        embeddings. With cosines, 0.2 pushes similar nodes apart, and 0.02 has far better validation metrics.
    temperature
        Temperature tau of the contrastive loss; 0.2 in the authors' code.
    """

    num_layers: int = Field(default=2, ge=1, le=64)
    rank: int = Field(default=5, ge=1)
    contrastive_weight: float = Field(default=0.02, ge=0.0)
    temperature: float = Field(default=0.2, gt=0.0)
    # The authors' 1e-7 is for the squared norm of all parameters. For Yelp's 54,000 nodes it corresponds to 4e-3 here.
    l2_weight: float = Field(default=4e-3, ge=0.0)


SEARCH = {
    "model.num_layers": (1, 2, 3),
    "model.contrastive_weight": (0.005, 0.02, 0.1, 0.2),
    "model.temperature": (0.2, 0.5),
    "model.l2_weight": (0.0, 1e-4, 4e-3),
}


@register("lightgcl", LightGCLOptions, SEARCH)
class LightGCL(LightGCN):
    """LightGCL (Cai et al., "LightGCL: Simple Yet Effective Graph Contrastive Learning for Recommendation", ICLR 2023).

    With M = D^{-1/2} A D^{-1/2} the normalised user-item matrix and P S Q^T its rank-q singular value decomposition,
    a layer is a hop along M and, in a second view, along P S Q^T, which connects all users and items:

        e^l = M e^{l-1},   g^l = P S Q^T e^{l-1},   g^0 = e^0     (for users; with Q S P^T for items)
        z = sum_l e^l,   g = sum_l g^l
        L = L_rank + lambda_1 (InfoNCE(g_u, z_u) + InfoNCE(g_i, z_i)) + L2

    g takes O((U + I) q D) time, since P S Q^T is never formed. As in the released code, not the paper: no activations,
    residuals and edge dropout, and contrast of the sums of layers instead of each layer. As in the paper, not the
    code: cosines. Ours are: the mean of the layers instead of the sum, which scales all scores by a constant; the
    distinct nodes of the batch as negatives instead of all nodes (at most B x B cosines, in blocks; with several
    processes, of each process's share of the batch); and `OVERSAMPLING` in the decomposition.

    Parameters
    ----------
    inputs
        The graph; text vectors and KG relations are not used.
    options
        See `LightGCLOptions`.
    """

    options: LightGCLOptions
    left: Tensor
    right: Tensor

    def __init__(self, inputs: ModelInputs, options: LightGCLOptions) -> None:
        super().__init__(inputs, options)
        # Saved in checkpoints, because it is random, and a resumed run must use the same one.
        left, right = low_rank(self.interactions, options.rank)
        self.register_buffer("left", left)
        self.register_buffer("right", right)

    def global_view(self, layers: list[Tensor]) -> Tensor:
        """Return g / (L + 1) [U + I, D] from e^0 to e^L, with one product for all layers."""
        aggregated = torch.stack(layers[:-1]).sum(0)
        users, items = aggregated[: self.num_users], aggregated[self.num_users :]
        passed = torch.cat([self.left @ (self.right.T @ items), self.right @ (self.left.T @ users)])
        return (layers[0] + passed) / len(layers)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted ranking, L2 and contrastive losses; terms of weight 0 are omitted."""
        options = self.options
        layers = self.interactions.hops(self.embedding, options.num_layers)
        final = torch.stack(layers).mean(0)
        terms = ranking_terms(final, self.embedding, batch.rows(self.num_users), options)
        if not options.contrastive_weight:
            return terms
        contrast = contrast_of_batch(
            self.global_view(layers), final, batch, self.num_users, options.temperature
        )
        terms["contrastive"] = options.contrastive_weight * contrast
        return terms


def low_rank(interactions: InteractionGraph, rank: int) -> tuple[Tensor, Tensor]:
    """Return P sqrt(S) [U, q] and Q sqrt(S) [I, q] of the normalised user-item matrix.

    Randomised SVD: Halko et al., "Finding Structure with Randomness", SIAM Review 2011. Memory is linear in nodes and
    interactions.
    """
    num_users, num_items = interactions.num_users, interactions.num_items
    users, items = interactions.users.cpu(), interactions.items.cpu()
    scale = interactions.scale.flatten().cpu()
    matrix = torch.sparse_coo_tensor(
        torch.stack([users, items]),
        scale[users] * scale[items + num_users],
        (num_users, num_items),
        check_invariants=True,
    )
    size = min(rank + OVERSAMPLING, num_users, num_items)
    left, values, right = torch.svd_lowrank(matrix, size)
    root = values[:rank].sqrt()
    return (left[:, :rank] * root).to(interactions.device), (right[:, :rank] * root).to(interactions.device)
