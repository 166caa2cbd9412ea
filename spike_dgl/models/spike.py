"""SPiKE: LLM-written profiles of every node inside relation-aware attention over the knowledge graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spike_dgl.dgl_import import DGLGraph
from spike_dgl.graph import num_relation_rows, with_similar_items
from spike_dgl.models.base import (
    Batch,
    EmbeddingModel,
    Embeddings,
    ModelInputs,
    ranking_terms,
    register,
)
from spike_dgl.models.fold_in import FoldIn
from spike_dgl.models.spike_fold_in import SpikeFoldIn
from spike_dgl.models.spike_options import SpikeOptions
from spike_dgl.nn.attention import RelationalAttention
from spike_dgl.nn.edge_dropout import EdgeDropout
from spike_dgl.nn.interaction_history import InteractionHistory
from spike_dgl.nn.kernels import mean_of_sources, require_kernels_on
from spike_dgl.nn.losses import matching_loss
from spike_dgl.nn.message_graph import MessageGraph, message_graph
from spike_dgl.nn.neighbour_sampling import Block, MessageFlow, NeighbourSampler
from spike_dgl.nn.projection import ConstantGate, LearnedGate, ProfileProjection
from spike_dgl.nn.rows import normalise
from spike_dgl.nn.text_neighbours import text_neighbours

NODES_PER_PROJECTION = 8192
"""Profiles projected at a time where the whole graph is computed in parts: 50 MB at d_t = 1,536."""


SEARCH = {
    "model.num_layers": (1, 2, 3),
    "model.profile_scale": (0.1, 0.25, 0.5),
    "model.matching_weight": (0.0, 0.5, 5.0),
    "model.similar_items": (0, 10),
    "model.relation_init": ("random", "identity"),
}


@dataclass(frozen=True)
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
        self._add_messages(graph, inputs.device)
        self.num_nodes = inputs.num_users + inputs.num_entities
        num_ids = self.num_nodes if options.user_embedding else inputs.num_entities
        self.embedding = nn.Parameter(torch.empty(num_ids, options.embedding_dim))
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

    def _add_messages(self, graph: DGLGraph, device: torch.device) -> None:
        options = self.options
        messages = message_graph(graph, users_among_neighbours=options.item_neighbours == "kg-and-users")
        self.messages = messages.to(device)
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
                device=device,
            )
        else:
            self.edge_dropout = EdgeDropout(
                self.messages,
                kg_dropout=options.kg_dropout,
                interaction_dropout=options.interaction_dropout,
                idle_relations=options.idle_relations,
                masked_edges=options.masked_edges,
            )
        unmet = _items_without_users(self.messages, self.num_items) if options.item_dropout else None
        self.register_buffer("unmet", unmet, persistent=False)
        if options.newest_interactions:
            newest, largest_cut = options.newest_interactions, options.interaction_dropout
            self.history = InteractionHistory(graph, newest, largest_cut, device)
            of_all = EdgeDropout(self.messages, kg_dropout=0.0, interaction_dropout=0.0)
            self.messages = of_all.draw(self.history.passing(self.history.count))

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
        self, flow: MessageFlow | None = None, *, inject: bool = True, passing: Tensor | None = None
    ) -> SpikeStates:
        """Inject, hop `num_layers` times, sum, remove.

        Over the whole graph, in training mode over a random part of its edges; or along a sampled flow, for
        the results of its seeds. Without `inject` the same weights compute as if no node had a profile, which shows
        what the profiles change. In training mode `passing` are the interactions that pass messages, positions as of
        `InteractionHistory.passing`; a random part where not given.
        """
        new = self._new_items()
        ids = self.ids(new)
        state, total, matched = self._start(ids, None if flow is None else flow.input_nodes, inject)
        layers, attention = [state], []
        for messages, receivers in self._hops_of_one_pass(flow, passing, new):
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

    def ids(self, new: Tensor | None = None) -> Tensor:
        """e, [U + N, D]; zeros for users without ID embeddings, and where `new` [U + N] is true."""
        ids: Tensor = self.embedding
        if not self.options.user_embedding:
            ids = nn.functional.pad(ids, (0, 0, self.num_users, 0))
        return ids if new is None else ids.masked_fill(new[:, None], 0.0)

    def _new_items(self) -> Tensor | None:
        """True [U + N] for items taken for new: those without users, and in training a share of the others."""
        if self.unmet is None or not self.training:
            return self.unmet
        drawn = torch.zeros_like(self.unmet)
        lots = torch.rand(self.num_items, device=drawn.device)
        drawn[self.num_users : self.num_users + self.num_items] = lots < self.options.item_dropout
        return drawn | self.unmet

    def _start(
        self, ids: Tensor, nodes: Tensor | None = None, inject: bool = True
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
        self, flow: MessageFlow | None, passing: Tensor | None, new: Tensor | None
    ) -> Iterable[tuple[MessageGraph, Tensor | None]]:
        if flow is not None:
            return [(block.messages, block.receivers) for block in flow.blocks]
        messages = self.messages
        if self.training and self.edge_dropout is not None:
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
        passing = None
        if self.history is not None and self.training:
            before = self.history.cut()
            passing = self.history.passing(before)
            batch = _to_come(self.history, batch, before)
        rows = batch.rows(self.num_users)
        flow = self.sampler.draw(rows) if self.sampler is not None and self.training else None
        states = self.propagate(flow, passing=passing)
        positions = None if flow is None else flow.positions(rows)
        terms = ranking_terms(states.final, self.ids(), rows, self.options, positions)
        if self.options.matching_weight and states.has_profiles:
            nodes = self._sample_profiled(states)
            terms["matching"] = self.options.matching_weight * self.matching(states, nodes)
        return terms

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
        total, ratio = num_nodes or self.num_nodes, self.options.matching_sample_ratio
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
        ids = self.ids()
        state, total = torch.empty_like(ids), torch.empty_like(ids)
        for nodes in torch.split(torch.arange(len(state), device=state.device), NODES_PER_PROJECTION):
            state[nodes], total[nodes], _ = self._start(ids, nodes)
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


def _to_come(history: InteractionHistory, batch: Batch, before: Tensor) -> Batch:
    """The part of a batch that came after the cut; all of it in the rare case that nothing did."""
    rows = history.came_after(batch.users, batch.positives, before).nonzero()[:, 0]
    return batch.select(rows) if len(rows) else batch


def _items_without_users(messages: MessageGraph, num_items: int) -> Tensor:
    """True [U + N] for items that nobody interacted with."""
    pooling = messages.pooling
    met = torch.zeros(pooling.num_sources, dtype=torch.bool, device=pooling.source.device)
    met[pooling.source] = True
    unmet = ~met[:num_items]
    return nn.functional.pad(unmet, (pooling.num_targets, pooling.num_sources - num_items))


def _select(table: Tensor, rows: Tensor | None) -> Tensor:
    """The chosen rows, or all where none are chosen."""
    return table if rows is None else table.index_select(0, rows)
