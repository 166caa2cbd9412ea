"""LightGCN: the collaborative baseline that uses neither knowledge graph nor text."""

from __future__ import annotations

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from spike_dgl.config import STRICT
from spike_dgl.dgl_import import dgl, fn, require_dgl_on
from spike_dgl.graph import INTERACTS
from spike_dgl.models.base import Batch, Embeddings, ModelInputs, RecommenderModel, register
from spike_dgl.nn.losses import RankingLoss, l2_loss, ranking_loss


@dataclass(frozen=True, config=STRICT)
class LightGCNOptions:
    """Settings of LightGCN.

    Parameters
    ----------
    embedding_dim
        D.
    num_layers
        Hops between users and items; 3 in the paper's main tables.
    ranking_loss
        ``bpr`` (the paper) or ``softmax``, which compares with the negatives of the whole batch.
    softmax_negatives
        So many of the batch's negatives, at most, are in the softmax.
    l2_weight
        Weight of the L2 loss on the batch's ID embeddings; 1e-4 in the paper.
    """

    embedding_dim: int = Field(default=64, gt=0)
    num_layers: int = Field(default=3, ge=1)
    ranking_loss: RankingLoss = "bpr"
    softmax_negatives: int = Field(default=2048, ge=1)
    l2_weight: float = Field(default=1e-4, ge=0.0)


@register("lightgcn", LightGCNOptions)
class LightGCN(RecommenderModel):
    """LightGCN (He et al., SIGIR 2020): e^{l+1} = D^{-1/2} A D^{-1/2} e^l, and the mean of all layers scores.

    A is the user-item adjacency matrix of the training interactions.

    Parameters
    ----------
    inputs
        The graph; text vectors and KG relations are not used.
    options
        See `LightGCNOptions`.
    """

    scale: Tensor

    def __init__(self, inputs: ModelInputs, options: LightGCNOptions) -> None:
        super().__init__()
        self.options, self.num_users = options, inputs.num_users
        num_nodes = inputs.num_users + inputs.num_items
        users, items = inputs.graph.edges(etype=INTERACTS)
        items = items + inputs.num_users
        require_dgl_on(inputs.device)
        graph = dgl.graph((torch.cat([users, items]), torch.cat([items, users])), num_nodes=num_nodes)
        self.graph = graph.to(inputs.device)
        scale = self.graph.in_degrees().clamp(min=1).float().rsqrt()
        self.register_buffer("scale", scale.unsqueeze(-1), persistent=False)
        self.embedding = nn.Parameter(torch.empty(num_nodes, options.embedding_dim))
        nn.init.normal_(self.embedding, std=0.1)

    def propagate(self) -> Tensor:
        """Mean over layers, [U + I, D], users first."""
        state: Tensor = self.embedding
        layers = [state]
        for _ in range(self.options.num_layers):
            state = self._hop(state)
            layers.append(state)
        return torch.stack(layers).mean(0)

    def _hop(self, state: Tensor) -> Tensor:
        with self.graph.local_scope():
            self.graph.ndata["state"] = state * self.scale
            self.graph.update_all(fn.copy_u("state", "message"), fn.sum("message", "sum"))
            summed: Tensor = self.graph.ndata["sum"]
            return summed * self.scale

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Ranking on the propagated embeddings, and L2 on the ID embeddings of the batch."""
        rows = (batch.users, batch.positives + self.num_users, batch.negatives + self.num_users)
        final = self.propagate()
        users, positives, negatives = (final.index_select(0, row) for row in rows)
        name, shared = self.options.ranking_loss, self.options.softmax_negatives
        terms: dict[str, Tensor] = {name: ranking_loss(name, users, positives, negatives, shared)}
        if self.options.l2_weight:
            terms["l2"] = self.options.l2_weight * l2_loss(
                *(self.embedding.index_select(0, row) for row in rows)
            )
        return terms

    def embeddings(self) -> Embeddings:
        """Propagated embeddings of users [U, D] and items [I, D]."""
        final = self.propagate()
        return Embeddings(final[: self.num_users], final[self.num_users :])
