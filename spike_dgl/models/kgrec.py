"""KGRec: rationales of the knowledge graph found by masking and rebuilding them, and contrasted with interactions."""

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
        Hops over the graph, and in each of the two contrasted views.
    num_heads
        Attention heads.
    relation_init
        How relation embeddings begin: ``random``, or ``identity``, around one (ours, as in SPiKE: a message is at first
        the state it comes from).
    kg_dropout, interaction_dropout
        Share of each relation's edges and of the interactions left out of a training step.
    message_dropout
        Dropout on what a hop gathered.
    mask_size
        k_m, so many edges of the highest rationale scores are masked and rebuilt; at most half of those in the step.
    reconstruction_weight
        Weight of the loss on rebuilt edges.
    contrastive_weight
        Weight of the contrast between the two views of items.
    contrastive_temperature
        tau, what cosine similarities are divided by.
    pruned_share
        rho, the part of edges and of interactions that a view leaves out as noise, by their rationale scores.
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
    """A step's edges parted by their rationale scores.

    Parameters
    ----------
    kept
        The message graph without the masked edges: what is propagated over.
    heads, relations, tails
        [k] ends, as rows of U + N, and relation rows of the masked edges: what is rebuilt.
    """

    kept: MessageGraph
    heads: Tensor
    relations: Tensor
    tails: Tensor


@register("kgrec", KGRecOptions, SEARCH)
class KGRec(EmbeddingModel):
    """KGRec (Yang, Huang, Xia, Huang: "Knowledge Graph Self-Supervised Rationalization for Recommendation", KDD 2023).

    Entities gather from their KG neighbours by relation-aware attention and users average their items, as in SPiKE,
    whose propagation grew out of this one: `SpikeConv` computes both. The attention omega of an edge says
    how much of a rationale it is, compared with the other edges of its head h:

    ``gamma(h, r, t) = |N_h| mean_m omega_m(h, r, t)``

    With Gumbel noise, each step anew, these scores steer both self-supervised tasks.

    - Reconstruction: the k_m highest edges are left out of the propagation, and rebuilt from its result z:
      the mean of ``-log sigmoid <z_h, z_t * e_r>``.
    - Contrast: the share rho of lowest edges is pruned, and ``x^k`` of an item is what mean aggregation of
      ``e_t * e_r`` makes of it on the rest. The same share of interactions is pruned, by the mean gamma of the edges
      that the item is head or tail of (as head alone that mean is one, whatever the attention), and ``x^u`` is what
      LightGCN's hops make of the rest. With z a two-layer perceptron of each and s the cosine, the loss of item v is,
      for one random item w,
      ``-log f(z^u_v, z^k_v) / (2 f(z^u_v, z^k_v) + f(z^u_v, z^k_w) + f(z^u_w, z^k_v))``, f = exp(s / tau).

    Everything is linear in nodes and edges. Outside training `loss` is the ranking loss alone.

    Where we follow the authors' code rather than the paper: one matrix for query and key, several heads, edge
    dropout, the average rather than the sum over masked edges. Where we leave both: no further random edges are
    masked beside the k_m (the code masks as many again), interactions are drawn without replacement by one Gumbel
    perturbation (the code perturbs, then draws), gamma averages attention over heads (the code, logits), and L2 is
    on the ID embeddings, as in all models here (the code, on z).

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
        """z, [U + N, D] users first: the sum of the ID embeddings and of every hop over all edges, or over some."""
        messages = self.messages if messages is None else messages
        state: Tensor = self.embedding
        final = state
        for _ in range(self.options.num_layers):
            state, _ = self.conv.hop(messages, state)
            final = final + state
        return final

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Ranking, L2, reconstruction and contrast, weighted; a term whose weight is 0 is left out."""
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
        """Return gamma [E] in the order of ``messages.attended``; one is the average of each head's edges."""
        _, attention = self.conv.aggregate(messages, self.embedding)
        return attention.mean(-1) * messages.attended.csc_start.diff()[messages.attended.dst]

    def mask(self, messages: MessageGraph, scores: Tensor) -> RationaleMask:
        """Leave out the highest edges by their scores [E]."""
        masked = scores.topk(min(self.options.mask_size, len(scores) // 2), sorted=False).indices
        kept = torch.ones_like(scores, dtype=torch.bool).index_fill_(0, masked, False)
        return RationaleMask(
            _of_edges(messages, kept),
            messages.attended.dst[masked] + self.num_users,
            messages.relation[masked],
            messages.src[masked],
        )

    def reconstruction(self, final: Tensor, mask: RationaleMask) -> Tensor:
        """Unweighted mean of -log sigmoid <z_h, z_t * e_r> over the masked edges, with z [U + N, D]."""
        heads, tails = final.index_select(0, mask.heads), final.index_select(0, mask.tails)
        relations = self.conv.relation_embedding.index_select(0, mask.relations)
        return functional.softplus(-(heads * tails * relations).sum(-1)).mean()

    def knowledge_view(self, messages: MessageGraph, scores: Tensor) -> Tensor:
        """x^k of the items [I, D]: mean aggregation over the edges whose scores [E] are not the lowest."""
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
        """x^u of the items [I, D]: LightGCN's hops over interactions drawn by the scores [E] of the edges of items."""
        users, items = messages.pooled.dst, messages.pooled.src - self.num_users
        of_items = _mean_of_edges(messages, scores)[items]
        kept = self._without_lowest(of_items + _gumbel(of_items))
        users, items = users[kept].cpu(), items[kept].cpu()
        graph = InteractionGraph(users, items, self.num_users, self.num_items, kept.device)
        state = view = self.embedding[: self.num_users + self.num_items]
        for _ in range(self.options.num_layers):
            state = self._normalised(graph.hop(state))
            view = view + state
        return view[self.num_users :]

    def contrast(self, interactions: Tensor, knowledge: Tensor) -> Tensor:
        """Unweighted contrastive loss of two views of the items [I, D], with one random other item each."""
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
        """Mask [n] of what is left when the lowest are pruned."""
        pruned = scores.topk(
            int(self.options.pruned_share * len(scores)), largest=False, sorted=False
        ).indices
        return torch.ones_like(scores, dtype=torch.bool).index_fill_(0, pruned, False)


def _perceptron(dim: int) -> nn.Module:
    return nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))


def _gumbel(like: Tensor) -> Tensor:
    """Noise that makes the highest of perturbed scores a draw without replacement, by their softmax."""
    return -torch.empty_like(like).exponential_().log()


def _of_edges(messages: MessageGraph, kept: Tensor) -> MessageGraph:
    """The same nodes and interactions with only those edges that the mask [E] keeps."""
    every = torch.arange(len(messages.pooled), device=kept.device)
    return messages.keep(kept.nonzero().squeeze(-1), every)


def _mean_of_edges(messages: MessageGraph, numbers: Tensor) -> Tensor:
    """[N] mean of edge values [E] over the edges with that entity at either end; one, the average, where none has."""
    ends = torch.cat([messages.attended.dst, messages.src - messages.num_users])
    count = ends.bincount(minlength=messages.attended.num_dst)
    total = numbers.new_zeros(len(count)).index_add_(0, ends, numbers.repeat(2))
    return torch.where(count > 0, total / count.clamp(min=1), 1.0)
