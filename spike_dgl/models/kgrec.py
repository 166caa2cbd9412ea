"""KGRec: self-supervised rationales of the knowledge graph, by masked reconstruction and contrastive learning."""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from spike_dgl.config import STRICT
from spike_dgl.graph import entity_edge_types, num_knowledge_relations
from spike_dgl.models.base import (
    Batch,
    EmbeddingModel,
    ModelInputs,
    RankingOptions,
    ranking_terms,
    register,
)
from spike_dgl.nn.graphs.edge_dropout import EdgeDropout
from spike_dgl.nn.graphs.interactions import InteractionGraph
from spike_dgl.nn.graphs.messages import MessageGraph, message_graph
from spike_dgl.nn.graphs.positions import row_pointer, true_positions
from spike_dgl.nn.kernels import mean_of_sources
from spike_dgl.nn.kernels.rows import normalise
from spike_dgl.nn.kernels.with_torch import of_pairs
from spike_dgl.nn.layers.spike_conv import RelationInit, SpikeConv, require_whole_heads


@dataclass(frozen=True, config=STRICT)
class KGRecOptions(RankingOptions):
    """Settings of KGRec, besides those of `RankingOptions`; the defaults are those for Last-FM in the authors' code.

    Parameters
    ----------
    num_layers
        Number of hops over the graph, and in each of the two contrasted views.
    num_heads
        Number of attention heads.
    relation_init
        Initial relation embeddings: ``random``, or ``identity`` (ours, as in SPiKE: near one, so that a message is at
        first nearly the state of its src node).
    kg_dropout, interaction_dropout
        Share of each relation's edges and of the interactions dropped in a training step.
    message_dropout
        Dropout on the aggregated messages of a hop.
    mask_size
        k_m, number of edges with the highest rationale scores to mask and reconstruct; at most half of the step's.
    reconstruction_weight
        Weight of the reconstruction loss.
    contrastive_weight
        Weight of the contrastive loss between the two views of items.
    contrastive_temperature
        Temperature tau of the contrastive loss.
    pruned_share
        rho, share of edges and interactions with the lowest rationale scores, which the views leave out as noise.
    """

    num_layers: int = Field(default=2, ge=1, le=64)
    num_heads: int = Field(default=2, ge=1, le=1024)
    relation_init: RelationInit = "random"
    kg_dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    interaction_dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    message_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    mask_size: int = Field(default=256, ge=0)
    reconstruction_weight: float = Field(default=0.1, ge=0.0)
    contrastive_weight: float = Field(default=0.01, ge=0.0)
    contrastive_temperature: float = Field(default=1.0, gt=0.0)
    pruned_share: float = Field(default=0.5, ge=0.0, lt=1.0)
    l2_weight: float = Field(default=1e-5, ge=0.0)

    def __post_init__(self) -> None:
        require_whole_heads(self.embedding_dim, self.num_heads)


SEARCH = {
    "model.num_layers": (1, 2, 3),
    "model.reconstruction_weight": (0.01, 0.1, 1.0),
    "model.contrastive_weight": (0.001, 0.01, 0.1),
    "model.relation_init": ("random", "identity"),
}


@plain_dataclass(frozen=True)
class RationaleMask:
    """Masked edges of a step, and the graph without them.

    Parameters
    ----------
    kept
        Message graph without the masked edges, for propagation.
    heads, relations, tails
        Masked edges [k] to reconstruct: ends as rows of U + N, and relation rows.
    """

    kept: MessageGraph
    heads: Tensor
    relations: Tensor
    tails: Tensor


@register("kgrec", KGRecOptions, SEARCH)
class KGRec(EmbeddingModel):
    """KGRec (Yang, Huang, Xia, Huang: "Knowledge Graph Self-Supervised Rationalization for Recommendation", KDD 2023).

    Entities attend to their KG neighbours and users average their items, as in SPiKE, whose propagation is derived
    from KGRec's: `SpikeConv` computes both. The rationale score of an edge is its attention omega relative to the
    other edges of its head h:

    ``gamma(h, r, t) = |N_h| mean_m omega_m(h, r, t)``

    Two self-supervised tasks use these scores, with new Gumbel noise in each step.

    - Reconstruction: the k_m edges of highest score are masked, that is, left out of the propagation, and predicted
      from its result z: mean of ``-log sigmoid <z_h, z_t * e_r>``.
    - Contrast of two views of the items. The knowledge view ``x^k`` is the mean aggregation of ``e_t * e_r`` without
      the share rho of edges of lowest score. The interaction view ``x^u`` is LightGCN without the same share of
      interactions, scored by the mean gamma of the edges with the item as head or tail (the mean over its edges as
      head is always one). With z a two-layer perceptron of each view and s the cosine, the loss of item v is, for one
      random item w,
      ``-log f(z^u_v, z^k_v) / (2 f(z^u_v, z^k_v) + f(z^u_v, z^k_w) + f(z^u_w, z^k_v))``, f = exp(s / tau).

    Time and memory are linear in nodes and edges. In evaluation mode `loss` is the ranking loss only.

    As in the authors' code, not the paper: one matrix for query and key, several heads, edge dropout, the mean instead
    of the sum over masked edges. Different from both: no additional random edges are masked (the code masks another
    k_m), interactions are sampled without replacement by one Gumbel perturbation (the code perturbs, then samples),
    gamma averages attention over heads (the code: logits), and L2 is on the ID embeddings, as in all models here (the
    code: on z).

    Parameters
    ----------
    inputs
        The graph; text vectors are not used.
    options
        See `KGRecOptions`.
    """

    former_names = (("attention.", "conv."),)

    def __init__(self, inputs: ModelInputs, options: KGRecOptions) -> None:
        super().__init__()
        self.options, self.num_users, self.num_items = options, inputs.num_users, inputs.num_items
        self.messages = message_graph(inputs.graph, users_among_neighbours=False).to(inputs.device)
        self.edge_dropout = EdgeDropout(
            self.messages, kg_dropout=options.kg_dropout, interaction_dropout=options.interaction_dropout
        )
        dim = options.embedding_dim
        self.embedding = nn.Parameter(torch.empty(inputs.num_users + inputs.num_entities, dim))
        nn.init.xavier_uniform_(self.embedding)
        self.conv = SpikeConv(
            dim,
            options.num_heads,
            entity_edge_types(inputs.graph)[: num_knowledge_relations(inputs.graph)],
            feat_drop=options.message_dropout,
            relation_init=options.relation_init,
        )
        if options.contrastive_weight:
            self.of_interactions, self.of_knowledge = _perceptron(dim), _perceptron(dim)

    def propagate(self, messages: MessageGraph | None = None) -> Tensor:
        """Return z [U + N, D], users first: the sum of ID embeddings and all hops, over all edges or `messages`."""
        messages = self.messages if messages is None else messages
        state: Tensor = self.embedding
        final = state
        for _ in range(self.options.num_layers):
            state, _ = self.conv.hop(messages, state)
            final = final + state
        return final

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted ranking, L2, reconstruction and contrastive losses; terms of weight 0 are omitted."""
        rows = batch.rows(self.num_users)
        if not self.training:
            return ranking_terms(self.propagate(), self.embedding, rows, self.options)
        messages = self.edge_dropout.draw()
        scores = self.rationale_scores(messages)
        noisy = scores + _gumbel(scores)
        mask = self.mask(messages, noisy)
        final = self.propagate(mask.kept)
        terms = ranking_terms(final, self.embedding, rows, self.options)
        if self.options.reconstruction_weight and len(mask.heads):
            terms["reconstruction"] = self.options.reconstruction_weight * self.reconstruction(final, mask)
        if self.options.contrastive_weight:
            views = self.interaction_view(messages, scores), self.knowledge_view(messages, noisy)
            terms["contrastive"] = self.options.contrastive_weight * self.contrast(*views)
        return terms

    @torch.no_grad()
    def rationale_scores(self, messages: MessageGraph) -> Tensor:
        """Return gamma [E] in the order of ``messages.attended``; its mean over the edges of a head is one."""
        _, attention = self.conv.aggregate(messages, self.embedding)
        return attention.mean(-1) * messages.attended.csc_start.diff()[messages.attended.dst]

    def mask(self, messages: MessageGraph, scores: Tensor) -> RationaleMask:
        """Mask the edges with the highest scores [E]."""
        masked = scores.topk(min(self.options.mask_size, len(scores) // 2), sorted=False).indices
        return RationaleMask(
            _of_edges(messages, _all_but(masked, len(scores))),
            messages.attended.dst[masked] + self.num_users,
            messages.relation[masked],
            messages.src[masked],
        )

    def reconstruction(self, final: Tensor, mask: RationaleMask) -> Tensor:
        """Return the unweighted mean of -log sigmoid <z_h, z_t * e_r> over the masked edges, from z [U + N, D]."""
        heads, tails = final.index_select(0, mask.heads), final.index_select(0, mask.tails)
        relations = self.conv.relation_embedding.index_select(0, mask.relations)
        return functional.softplus(-(heads * tails * relations).sum(-1)).mean()

    def knowledge_view(self, messages: MessageGraph, scores: Tensor) -> Tensor:
        """Return x^k of the items [I, D]: mean aggregation without the edges of lowest scores [E]."""
        messages = _of_edges(messages, self._without_lowest(scores))
        state: Tensor = self.embedding
        view = state
        relations, pairs_to_heads = self.conv.relation_embedding, messages.attended
        for _ in range(self.options.num_layers):
            gathered = mean_of_sources(pairs_to_heads, of_pairs(messages, state, relations))
            state = torch.cat([state[: self.num_users], self._normalised(gathered)])
            view = view + state
        return view[self.num_users :][: self.num_items]

    def interaction_view(self, messages: MessageGraph, scores: Tensor) -> Tensor:
        """Return x^u of the items [I, D]: LightGCN's hops on interactions sampled by the edge scores [E] of items."""
        users, items = messages.pooled.dst, messages.pooled.src - self.num_users
        of_items = _mean_of_edges(messages, scores)[items]
        kept = self._without_lowest(of_items + _gumbel(of_items))
        users, items = users[kept], items[kept]
        graph = InteractionGraph(users, items, self.num_users, self.num_items, kept.device)
        state = view = self.embedding[: self.num_users + self.num_items]
        for _ in range(self.options.num_layers):
            state = self._normalised(graph.hop(state))
            view = view + state
        return view[self.num_users :]

    def contrast(self, interactions: Tensor, knowledge: Tensor) -> Tensor:
        """Return the unweighted contrastive loss of two views of the items [I, D], with one random negative each."""
        a, b = self.of_interactions(interactions), self.of_knowledge(knowledge)
        other = torch.randperm(len(a), device=a.device)
        same, ab, ba = (
            functional.cosine_similarity(one, two) / self.options.contrastive_temperature
            for one, two in ((a, b), (a, b[other]), (b, a[other]))
        )
        return (torch.stack([same, same, ab, ba]).logsumexp(0) - same).mean()

    def _normalised(self, gathered: Tensor) -> Tensor:
        return normalise(gathered, self.options.message_dropout if self.training else 0.0)

    def _without_lowest(self, scores: Tensor) -> Tensor:
        """Return the ascending positions of the scores [n] without the share of lowest ones to prune."""
        number = int(self.options.pruned_share * len(scores))
        return _all_but(scores.topk(number, largest=False, sorted=False).indices, len(scores))


def _perceptron(dim: int) -> nn.Module:
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))


def _gumbel(like: Tensor) -> Tensor:
    """Draw Gumbel noise: the top k of scores plus noise are a sample without replacement by their softmax."""
    return -torch.empty_like(like).exponential_().log()


def _all_but(left_out: Tensor, size: int) -> Tensor:
    """Return the ascending positions 0 to size - 1 without the distinct ones in `left_out`."""
    kept = torch.ones(size, dtype=torch.bool, device=left_out.device).index_fill_(0, left_out, False)
    return true_positions(kept, size - len(left_out))


def _of_edges(messages: MessageGraph, kept: Tensor) -> MessageGraph:
    """Return the same nodes and interactions with the edges at ascending positions `kept`."""
    every = torch.arange(len(messages.pooled), device=kept.device)
    return messages.keep(kept, every)


def _mean_of_edges(messages: MessageGraph, numbers: Tensor) -> Tensor:
    """Return the mean [N] of edge values [E] over the edges at either end of each entity; one if it has none."""
    ends = torch.cat([messages.attended.dst, messages.src - messages.num_users])
    count = row_pointer(ends, messages.attended.num_dst).diff()
    total = numbers.new_zeros(len(count)).index_add_(0, ends, numbers.repeat(2))
    return torch.where(count > 0, total / count.clamp(min=1), 1.0)
