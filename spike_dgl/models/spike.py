"""SPiKE: LLM-written profiles of every node inside relation-aware attention over the knowledge graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from spike_dgl.config import STRICT
from spike_dgl.dgl_import import DGLGraph
from spike_dgl.graph import num_relation_rows, with_similar_items
from spike_dgl.models.base import (
    Batch,
    EmbeddingModel,
    Embeddings,
    ModelInputs,
    RankingOptions,
    ranking_terms,
    register,
)
from spike_dgl.models.fold_in import FoldIn
from spike_dgl.models.spike_fold_in import SpikeFoldIn
from spike_dgl.nn.attention import RelationalAttention, RelationInit, require_whole_heads
from spike_dgl.nn.edge_dropout import EdgeDropout
from spike_dgl.nn.interaction_history import InteractionHistory
from spike_dgl.nn.kernels import Kernels, mean_of_sources, require_kernels_on
from spike_dgl.nn.losses import RankingLoss, matching_loss
from spike_dgl.nn.message_graph import MessageGraph, message_graph
from spike_dgl.nn.neighbour_sampling import ALL, Block, MessageFlow, NeighbourSampler
from spike_dgl.nn.projection import ConstantGate, LearnedGate, ProfileProjection
from spike_dgl.nn.rows import normalise
from spike_dgl.nn.text_neighbours import text_neighbours

Share = Annotated[float, Field(ge=0.0, lt=1.0)]

NODES_PER_PROJECTION = 8192
"""Profiles projected at a time where the whole graph is computed in parts: 50 MB at d_t = 1,536."""


@dataclass(frozen=True, config=STRICT)
class SpikeOptions(RankingOptions):
    """Settings of SPiKE, besides those of `RankingOptions`.

    "Paper" and "code" name the two sides where the authors' paper and code differ. Both train 64 dimensions with BPR;
    the default here is the softmax loss, which validates better. The code logs an L2 loss but leaves it out of the sum
    that is minimised.

    Parameters
    ----------
    num_layers
        Hops over the graph; 2 in both.
    num_heads
        Attention heads; 2 in both.
    profile_gate
        How much of a profile enters a node: ``constant`` (both: `profile_scale` everywhere) or ``learned`` (ours: a
        sigmoid gate per node type computed from ID and profile embedding, which starts at `profile_scale`).
    profile_scale
        lambda_p; 0.25 in both.
    injection
        ``inject-and-remove`` (both: profiles steer the attention and are taken out of the result),
        ``inject`` (profiles stay in the result), or ``none`` (profiles act through the matching loss only).
    item_neighbours
        ``kg`` (code: KG neighbours only, so user states are read by no hop) or ``kg-and-users`` (paper, Figure 1:
        items also gather from their users, by a relation of its own in the same softmax).
    similar_items
        So many items with the most similar texts, at most, send messages to each item as well, by a relation of its own
        in the same softmax; 0 in both. Ours, after CoLaKG (Cui et al., SIGIR 2025): an item that few users or facts say
        anything about has neighbours by what is written of it. Finding them, whenever the model is built, takes time
        with the square of the items: 2 s for 20,000 on one core.
    newest_interactions
        0 (both): all interactions pass messages. So many of each user's newest pass messages else, and a training step
        takes a random moment in each user's history, with at most `interaction_dropout` of it still to come, and tells
        what came after from what came before, as is asked of the model where held-out interactions are later ones.
        Ours; needs data that says when interactions happened.
    user_transform
        Whether users take the mean of their items' states times a learned matrix, which starts as the identity: what is
        liked next need not look like what was liked before. False in both.
    relation_init
        How relation embeddings begin: ``random`` (code) or ``identity`` (ours: around one, so that a message is at
        first the state it comes from).
    matching_target
        What profiles are matched with: ``final`` (code: the representations that score) or ``input`` (paper, as
        Figure 1 seems to draw it: the ID embeddings).
    matching_weight
        Weight of the matching loss; 5 in both. 0 switches it off.
    matching_sample_ratio
        gamma: the share of all nodes in a sample; 0.1 in both. 1 matches all nodes, without sampling noise.
    matching_samples
        Fresh samples a step; 8 in the code. With all nodes in it one sample says everything.
    message_dropout, projection_dropout
        Dropout on what a hop gathered and inside the profile projection; 0.1 in both.
    kg_dropout, interaction_dropout
        Share of each relation's edges and of the interactions left out of a training step; 0.5 in both. See
        `newest_interactions` for another reading of the latter.
    fanout
        Empty propagates over the whole graph. Else a training step computes on a sampled neighbourhood of its users
        and items: one number of neighbours a layer, the last for these nodes themselves, -1 for all; edge dropout
        takes its share of what was drawn. Matching then runs on the users and items of the step, and the
        sample ratio is a share of those. Ours, for graphs whose propagation does not fit in memory.
    item_dropout
        Share of the items that a training step takes for new ones, as items are that came after training: without an ID
        embedding and with no message from a user. Items without training interactions then have no ID embedding
        either. 0 in both; ours, after DropoutNet (Volkovs et al., NeurIPS 2017).
    shared_projection
        Project the profiles once a step. The code does so three times with different dropout masks, so that what it
        removes is not quite what it injected.
    idle_relations
        Relation rows, from the last, that training never uses; 1 in the code (an off-by-one), 0 in the paper.
    masked_edges
        Further KG edges left out of a training step; 512 in the code, for a loss whose weight is 0.
    kernels
        What computes the attention: ``compiled`` (on the CPU), ``torch`` (any device), ``dgl`` (DGL's message passing)
        or ``auto``, the first that fits the device. Same numbers.
    """

    ranking_loss: RankingLoss = "softmax"
    num_layers: int = Field(default=2, ge=1)
    num_heads: int = Field(default=2, ge=1)
    profile_gate: Literal["constant", "learned"] = "learned"
    profile_scale: float = Field(default=0.25, ge=0.0)
    injection: Literal["inject-and-remove", "inject", "none"] = "inject-and-remove"
    item_neighbours: Literal["kg", "kg-and-users"] = "kg-and-users"
    similar_items: int = Field(default=10, ge=0)
    newest_interactions: int = Field(default=0, ge=0)
    user_transform: bool = False
    relation_init: RelationInit = "identity"
    matching_target: Literal["final", "input"] = "final"
    matching_weight: float = Field(default=5.0, ge=0.0)
    matching_sample_ratio: float = Field(default=1.0, gt=0.0, le=1.0)
    matching_samples: int = Field(default=8, ge=1)
    message_dropout: Share = 0.1
    projection_dropout: Share = 0.1
    kg_dropout: Share = 0.5
    interaction_dropout: Share = 0.5
    item_dropout: Share = 0.0
    shared_projection: bool = True
    idle_relations: int = Field(default=0, ge=0)
    masked_edges: int = Field(default=0, ge=0)
    fanout: tuple[int, ...] = ()
    kernels: Kernels = "auto"

    def __post_init__(self) -> None:
        require_whole_heads(self.embedding_dim, self.num_heads)
        if self.profile_gate == "learned" and not 0.0 < self.profile_scale < 1.0:
            raise ValueError("a learned profile_gate needs a profile_scale between 0 and 1 to start from")
        if self.fanout:
            self._check_fanout()
        if self.idle_relations and self.similar_items:
            raise ValueError(
                "idle_relations counts back from the last relation of the data; set similar_items to 0"
            )

    def _check_fanout(self) -> None:
        if len(self.fanout) != self.num_layers:
            raise ValueError(f"fanout needs one number a layer, and num_layers is {self.num_layers}")
        if any(number < 1 and number != ALL for number in self.fanout):
            raise ValueError("a fanout counts neighbours: at least 1, or -1 for all")
        if self.idle_relations or self.masked_edges or self.newest_interactions or self.item_dropout:
            raise ValueError(
                "idle_relations, masked_edges, newest_interactions and item_dropout are about the whole graph; "
                "leave out fanout"
            )


SEARCH = {
    "model.num_layers": (1, 2, 3),
    "model.profile_scale": (0.1, 0.25, 0.5),
    "model.matching_weight": (0.0, 0.5, 5.0),
    "model.similar_items": (0, 10),
    "model.relation_init": ("random", "identity"),
}


@plain_dataclass(frozen=True)
class SpikeStates:
    """Result of one propagation over the whole graph, or over a sampled neighbourhood of fewer nodes.

    Parameters
    ----------
    final
        z, [U + N, D], users first: what scores.
    embedding
        e, [U + N, D], the ID embeddings of the same nodes.
    profile
        s, [U + N, D], the projected profiles the matching loss compares with; None without profiles.
    profiled
        Rows of the nodes that have a profile; None where all have. The others are not matched.
    attention
        One [E, H] tensor a layer, in the order of the propagated `MessageGraph.edges`.
    layers
        h^0 to h^L, each of the nodes that its hop gave: over the whole graph [U + N, D].
    """

    final: Tensor
    embedding: Tensor
    profile: Tensor | None
    profiled: Tensor | None
    attention: tuple[Tensor, ...]
    layers: tuple[Tensor, ...]

    @property
    def has_profiles(self) -> bool:
        """Whether any of the nodes has a profile."""
        return self.profile is not None and (self.profiled is None or len(self.profiled) > 0)


@register("spike", SpikeOptions, SEARCH)
class Spike(EmbeddingModel):
    """SPiKE (Ahn, Shin, Seo: "Semantic Profiles into Knowledge Graphs for Enhanced Recommendation", KDD 2026).

    Profiles are injected into the ID embeddings, ``h^0 = e + lambda_p s``; entities gather from their KG neighbours
    by `RelationalAttention` and users average their training items, L times; the layers are summed and the
    injected profile is removed again, ``z = sum_l h^l - lambda_p s``. The loss is BPR plus pairwise profile
    matching.

    Parameters
    ----------
    inputs
        Graph and text vectors. Without vectors nothing is injected and nothing matched; the same holds for a node
        whose vector is zero.
    options
        See `SpikeOptions`.
    """

    user_vectors: Tensor
    entity_vectors: Tensor
    absent: Tensor | None
    profiled: Tensor | None
    unmet: Tensor | None

    def __init__(self, inputs: ModelInputs, options: SpikeOptions) -> None:
        super().__init__()
        self.options, self.num_users, self.num_items = options, inputs.num_users, inputs.num_items
        require_kernels_on(inputs.device, options.kernels)
        graph = _graph_with_similar_items(inputs, options.similar_items)
        messages = message_graph(graph, users_among_neighbours=options.item_neighbours == "kg-and-users")
        self.messages = messages.to(inputs.device)
        self.history: InteractionHistory | None = None
        # A training step leaves out edges of the whole graph, or of the neighbourhood that it draws.
        self.edge_dropout: EdgeDropout | None = None
        self.sampler: NeighbourSampler | None = None
        if options.fanout:
            self.sampler = NeighbourSampler(
                messages,
                options.fanout,
                kg_dropout=options.kg_dropout,
                interaction_dropout=options.interaction_dropout,
                device=inputs.device,
            )
        else:
            self.edge_dropout = EdgeDropout(
                self.messages,
                kg_dropout=options.kg_dropout,
                interaction_dropout=options.interaction_dropout,
                idle_relations=options.idle_relations,
                masked_edges=options.masked_edges,
            )
        self.register_buffer("unmet", self._nobodys() if options.item_dropout else None, persistent=False)
        if options.newest_interactions:
            self.history = InteractionHistory(
                graph, options.newest_interactions, options.interaction_dropout, inputs.device
            )
            of_all = EdgeDropout(self.messages, kg_dropout=0.0, interaction_dropout=0.0)
            self.messages = of_all.draw(self.history.passing(self.history.count))
        self.embedding = nn.Parameter(
            torch.empty(inputs.num_users + inputs.num_entities, options.embedding_dim)
        )
        nn.init.xavier_uniform_(self.embedding)
        self.attention = RelationalAttention(
            num_relation_rows(graph),
            options.embedding_dim,
            options.num_heads,
            options.kernels,
            options.relation_init,
        )
        self.user_transform = (
            nn.Parameter(torch.eye(options.embedding_dim)) if options.user_transform else None
        )
        self.has_profiles = inputs.user_vectors is not None and inputs.entity_vectors is not None
        if self.has_profiles:
            self._add_profiles(inputs)

    def _add_profiles(self, inputs: ModelInputs) -> None:
        assert inputs.user_vectors is not None
        assert inputs.entity_vectors is not None
        options = self.options
        # Not part of the state: a run folder holds the vectors once, not in every checkpoint.
        self.register_buffer("user_vectors", inputs.user_vectors, persistent=False)
        self.register_buffer("entity_vectors", inputs.entity_vectors, persistent=False)
        present = torch.cat([inputs.user_vectors.any(dim=1), inputs.entity_vectors.any(dim=1)])
        some_are_absent = not present.all()
        self.register_buffer("absent", ~present[:, None] if some_are_absent else None, persistent=False)
        self.register_buffer(
            "profiled", present.nonzero()[:, 0] if some_are_absent else None, persistent=False
        )
        sizes = (inputs.user_vectors.shape[1], options.embedding_dim, options.projection_dropout)
        self.user_projection, self.entity_projection = ProfileProjection(*sizes), ProfileProjection(*sizes)
        self.user_gate, self.entity_gate = self._gate(), self._gate()

    def _nobodys(self) -> Tensor:
        """True [U + N] for items without a training interaction."""
        unmet = torch.zeros(self.num_users + self.messages.edges.num_targets, dtype=torch.bool)
        unmet[self.num_users : self.num_users + self.num_items] = True
        unmet[self.messages.pooling.source.cpu() + self.num_users] = False
        return unmet.to(self.messages.pooling.source.device)

    def _gate(self) -> nn.Module:
        if self.options.profile_gate == "constant":
            return ConstantGate(self.options.profile_scale)
        return LearnedGate(self.options.embedding_dim, self.options.profile_scale)

    def project_profiles(self, nodes: Tensor | None = None) -> Tensor | None:
        """s, [U + N, D]: the profiles in the space of the ID embeddings; None without profiles.

        Of some nodes only, where their rows are given, ascending. A node without a profile has zeros: the
        projection has biases, and would give all such nodes the same profile.
        """
        if not self.has_profiles:
            return None
        users, entities = self.user_vectors, self.entity_vectors
        if nodes is not None:
            first_entity = self._num_users_among(nodes)
            users = users.index_select(0, nodes[:first_entity])
            entities = entities.index_select(0, nodes[first_entity:] - self.num_users)
        projected = torch.cat([self.user_projection(users), self.entity_projection(entities)])
        return projected if self.absent is None else projected.masked_fill(_select(self.absent, nodes), 0.0)

    def _num_users_among(self, nodes: Tensor | None) -> int:
        return self.num_users if nodes is None else int((nodes < self.num_users).sum())

    def propagate(
        self, flow: MessageFlow | None = None, *, inject: bool = True, before: Tensor | None = None
    ) -> SpikeStates:
        """Inject, hop `num_layers` times, sum, remove.

        Over the whole graph, in training mode over a random part of its edges; or along a sampled flow, for
        the results of its seeds. Without `inject` the same weights compute as if no node had a profile, which shows
        what the profiles change. In training mode `before` [U] says how many interactions of each user have happened,
        where the model has a `history`.
        """
        new = self._new_items()
        ids = self.embedding if new is None else self.embedding.masked_fill(new[:, None], 0.0)
        state, total, matched = self._start(ids, None if flow is None else flow.input_nodes, inject)
        layers, attention = [state], []
        for messages, receivers in self._hops_of_one_pass(flow, before, new):
            state, weights = self.hop(messages, state, receivers)
            total = _select(total, receivers) + state
            layers.append(state)
            attention.append(weights)
        weights_and_states = tuple(attention), tuple(layers)
        if flow is None:
            profiled = self.profiled if matched is not None else None
            return SpikeStates(total, ids, matched, profiled, *weights_and_states)
        profiled = None
        if matched is not None:
            matched = _select(matched, flow.seeds_among_inputs)
            profiled = None if self.absent is None else (~self.absent[flow.seeds, 0]).nonzero()[:, 0]
        ids = _select(ids, flow.seeds)
        return SpikeStates(total, ids, matched, profiled, *weights_and_states)

    def _new_items(self) -> Tensor | None:
        """True [U + N] for items that a pass takes for new: all without users, and in training a share of the others."""
        if self.unmet is None or not self.training:
            return self.unmet
        drawn = torch.zeros_like(self.unmet)
        lots = torch.rand(self.num_items, device=drawn.device)
        drawn[self.num_users : self.num_users + self.num_items] = lots < self.options.item_dropout
        return drawn | self.unmet

    def _start(
        self, ids: Tensor, nodes: Tensor | None, inject: bool = True
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """h^0 of some or all nodes, the sum of layers so far less what is removed from it, and what is matched."""
        embedding = _select(ids, nodes)
        if not inject:
            return embedding, embedding, None
        injected, removed, matched = self._profiles_of_one_pass(embedding, nodes)
        state = embedding if injected is None else embedding + injected
        return state, state if removed is None else state - removed, matched

    def _profiles_of_one_pass(
        self, embedding: Tensor, nodes: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """What is injected, what is removed, and what the matching loss sees: three times s, the first two scaled."""
        shared = self.project_profiles(nodes)
        if shared is None:
            return None, None, None

        def profile() -> Tensor:
            fresh = shared if self.options.shared_projection else self.project_profiles(nodes)
            assert fresh is not None
            return fresh

        injected = removed = None
        if self.options.injection != "none":
            gate = self.gate(embedding, shared, self._num_users_among(nodes))
            injected = gate * shared
            if self.options.injection == "inject-and-remove":
                removed = injected if self.options.shared_projection else gate * profile()
        return injected, removed, profile()

    def gate(self, embedding: Tensor, profile: Tensor, num_users: int) -> Tensor:
        """[n, 1] how much of each node's profile enters its state; inputs [n, D], users first."""
        sizes = [num_users, len(embedding) - num_users]
        users, entities = zip(embedding.split_with_sizes(sizes), profile.split_with_sizes(sizes), strict=True)
        return torch.cat([self.user_gate(*users), self.entity_gate(*entities)])

    def _hops_of_one_pass(
        self, flow: MessageFlow | None, before: Tensor | None, new: Tensor | None
    ) -> Iterable[tuple[MessageGraph, Tensor | None]]:
        if flow is not None:
            return [(block.messages, block.receivers) for block in flow.blocks]
        messages = self.messages
        if self.training and self.edge_dropout is not None:
            passing = None if self.history is None or before is None else self.history.passing(before)
            messages = self.edge_dropout.draw(passing, None if new is None else new[self.num_users :])
        return [(messages, None)] * self.options.num_layers

    def hop(
        self, messages: MessageGraph, state: Tensor, receivers: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Next states of all nodes of `messages`, or of the receivers among them, and the attention [E, H]."""
        heard, attention = self.hear(messages, state)
        dropout = self.options.message_dropout if self.training else 0.0
        return normalise(_select(heard, receivers), dropout), attention

    def hear(self, messages: MessageGraph, state: Tensor) -> tuple[Tensor, Tensor]:
        """What all nodes of `messages` hear from their neighbours, [n, D], and the attention [E, H] to it."""
        gathered, attention = self.attention(messages, state)
        pooled = mean_of_sources(messages.pooling, state[messages.num_users :], self.options.kernels)
        return torch.cat([self.heard_by_users(pooled), gathered]), attention

    def heard_by_users(self, states: Tensor) -> Tensor:
        """What users hear of states of items [n, D], or of means of them."""
        return states if self.user_transform is None else states @ self.user_transform

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Ranking, matching and L2, weighted; a term whose weight is 0 is left out."""
        before = None
        if self.history is not None and self.training:
            before = self.history.cut()
            batch = self._to_come(batch, before)
        rows = batch.rows(self.num_users)
        flow = self.sampler.draw(rows) if self.sampler is not None and self.training else None
        states = self.propagate(flow, before=before)
        positions = None if flow is None else flow.positions(rows)
        terms = ranking_terms(states.final, self.embedding, rows, self.options, positions)
        if self.options.matching_weight and states.has_profiles:
            nodes = self._sample_profiled(states)
            terms["matching"] = self.options.matching_weight * self.matching(states, nodes)
        return terms

    def _to_come(self, batch: Batch, before: Tensor) -> Batch:
        """The part of a batch that came after the cut; all of it in the rare case that nothing did."""
        assert self.history is not None
        rows = self.history.came_after(batch.users, batch.positives, before).nonzero()[:, 0]
        return batch.select(rows) if len(rows) else batch

    def _sample_profiled(self, states: SpikeStates) -> Tensor | None:
        """Fresh samples [S, k] of the nodes that have a profile; None for all nodes."""
        if states.profiled is None:
            return self.sample_nodes(len(states.final))
        nodes = self.sample_nodes(len(states.profiled))
        return states.profiled[None] if nodes is None else states.profiled[nodes]

    def matching(self, states: SpikeStates, nodes: Tensor | None) -> Tensor:
        """Unweighted matching loss over samples [S, k] of the nodes in `states`, or over all of them."""
        assert states.profile is not None
        target = states.final if self.options.matching_target == "final" else states.embedding
        return matching_loss(target, states.profile, nodes)

    def sample_nodes(self, num_nodes: int | None = None) -> Tensor | None:
        """Fresh samples [S, k] of so many nodes, U + N by default; None where all are matched."""
        total, ratio = num_nodes or len(self.embedding), self.options.matching_sample_ratio
        if ratio == 1.0:
            return None
        size = min(total, max(2, int(ratio * total)))
        samples = range(self.options.matching_samples)
        return torch.stack([torch.randperm(total, device=self.embedding.device)[:size] for _ in samples])

    def embeddings(self) -> Embeddings:
        """z of all users [U, D] and items [I, D], over the whole graph."""
        final = self.propagate().final if self.sampler is None else self.propagate_in_parts(self.sampler)
        return self.part(final)

    @torch.no_grad()
    def project_new_entities(self, vectors: Tensor) -> Tensor:
        """s, [n, D], of entities that came after training, from text vectors [n, d_t]; a zero vector gives zeros."""
        projected: Tensor = self.entity_projection(vectors)
        return projected.masked_fill(~vectors.any(dim=1, keepdim=True), 0.0)

    def fold_in(self, linear: FoldIn) -> FoldIn:
        """Newcomers by the model's own layers."""
        return SpikeFoldIn.of(self, linear)

    @torch.no_grad()
    def propagate_in_parts(self, sampler: NeighbourSampler) -> Tensor:
        """z as `propagate` computes it, [U + N, D], hop by hop and part by part; never more than four such tensors."""
        state, total = torch.empty_like(self.embedding), torch.empty_like(self.embedding)
        for nodes in torch.split(torch.arange(len(state), device=state.device), NODES_PER_PROJECTION):
            state[nodes], total[nodes], _ = self._start(self.embedding, nodes)
        for _ in range(self.options.num_layers):
            # Each part's result follows the one before: their receivers are consecutive nodes.
            state = torch.cat([self._hop_of_part(block, state) for block in sampler.parts()])
            total += state
        return total

    def _hop_of_part(self, block: Block, state: Tensor) -> Tensor:
        return self.hop(block.messages, _select(state, block.nodes), block.receivers)[0]


def _graph_with_similar_items(inputs: ModelInputs, number: int) -> DGLGraph:
    """The heterograph, in which each item has edges to so many that read alike; as it is without texts."""
    if not number or inputs.entity_vectors is None:
        return inputs.graph
    texts = inputs.entity_vectors[: inputs.num_items].to(inputs.device)
    items, neighbours = (rows.cpu() for rows in text_neighbours(texts, number))
    return with_similar_items(inputs.graph, items, neighbours)


def _select(table: Tensor, rows: Tensor | None) -> Tensor:
    """The chosen rows, or all where none are chosen."""
    return table if rows is None else table.index_select(0, rows)
