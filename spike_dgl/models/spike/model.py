"""SPiKE: inject profiles, propagate over the knowledge graph with attention, remove the profiles again."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spike_dgl.dgl_import import DGLGraph
from spike_dgl.graph import entity_edge_types, with_similar_items
from spike_dgl.models.base import Batch, EmbeddingModel, Embeddings, ModelInputs, ranking_terms, register
from spike_dgl.models.fold_in import FoldIn
from spike_dgl.models.spike.fold_in import SpikeFoldIn
from spike_dgl.models.spike.injection import ProfileInjection, Texts
from spike_dgl.models.spike.matching import ProfileMatching
from spike_dgl.models.spike.options import SpikeOptions
from spike_dgl.models.spike.states import SpikeStates
from spike_dgl.models.spike.views import View, Views
from spike_dgl.nn.graphs.text_neighbours import text_neighbours
from spike_dgl.nn.kernels import require_backend_on
from spike_dgl.nn.layers.spike_conv import SpikeConv

NODES_PER_PROJECTION = 8192
"""Number of profiles projected at once when the whole graph is computed in parts: 50 MB at d_t = 1,536."""

SEARCH = {
    "model.num_layers": (1, 2, 3),
    "model.profile_scale": (0.1, 0.25, 0.5),
    "model.matching_weight": (0.0, 0.5, 5.0),
    "model.similar_items": (0, 10),
    "model.relation_init": ("random", "identity"),
}


@register("spike", SpikeOptions, SEARCH)
class Spike(EmbeddingModel):
    """SPiKE: profiles are injected into the graph, gate its attention, and are removed again.

    Source: Ahn, Shin, Seo: "Enriching Semantic Profiles into Knowledge Graph for Recommender Systems Using Large
    Language Models", KDD 2026.

    With ID embeddings e, projected profiles s and a gate g (the paper's constant lambda_p, or learned)::

        h^0     = e + g s                          injection: the profiles enter the attention
        h^{l+1} = SpikeConv(h^l), l = 0 .. L-1     entities attend to neighbours, users average their items
        z       = sum_l h^l - g s                  removal: the final embedding
        score   = <z_u, z_v>                       of user u and item v

    The loss is a ranking loss plus a matching loss: two nodes are to be as similar in z as their profiles are.

    Parameters
    ----------
    inputs
        Graph and text vectors. Without vectors there is no injection and no matching. The same holds for a single
        node whose vector is zero.
    options
        See `SpikeOptions`.

    Attributes
    ----------
    conv
        `SpikeConv`, shared by all hops.
    inject
        `ProfileInjection`: projections and gates of the profiles. None without text vectors.
    match
        `ProfileMatching`: the matching loss.
    views
        `Views`: the edges that each propagation uses.
    """

    former_names = (
        ("attention.", "conv."),
        ("user_transform", "conv.mean_transform"),
        ("user_projection.", "inject.user_projection."),
        ("entity_projection.", "inject.entity_projection."),
        ("user_gate.", "inject.user_gate."),
        ("entity_gate.", "inject.entity_gate."),
    )

    def __init__(self, inputs: ModelInputs, options: SpikeOptions) -> None:
        super().__init__()
        self.options, self.num_users, self.num_items = options, inputs.num_users, inputs.num_items
        require_backend_on(inputs.device, options.backend)
        graph = with_text_neighbours(inputs, options.similar_items)
        self.views = Views(graph, inputs.num_items, options, inputs.device)
        self.num_nodes = inputs.num_users + inputs.num_entities
        num_ids = self.num_nodes if options.user_embedding else inputs.num_entities
        self.embedding = nn.Parameter(torch.empty(num_ids, options.embedding_dim))
        nn.init.xavier_uniform_(self.embedding)
        self.conv = SpikeConv(
            options.embedding_dim,
            options.num_heads,
            entity_edge_types(graph),
            feat_drop=options.message_dropout,
            relation_init=options.relation_init,
            mean_transform=options.user_transform,
            backend=options.backend,
        )
        self.inject: ProfileInjection | None = None
        if inputs.user_vectors is not None and inputs.entity_vectors is not None:
            self.inject = ProfileInjection(
                inputs.user_vectors,
                inputs.entity_vectors,
                options.embedding_dim,
                options,
                shared_projection=options.quirks.shared_projection,
            )
        self.match = ProfileMatching(options)

    def propagate(self, view: View | None = None, *, with_profiles: bool = True) -> SpikeStates:
        """Inject profiles, compute all hops, sum their states, and remove the profiles.

        Parameters
        ----------
        view
            Edges and nodes to compute with. Default: all edges, or a random subset in training mode.
        with_profiles
            If false, compute as if no node had a profile, to show what the profiles change.
        """
        view = self._default_view() if view is None else view
        ids = self._ids_of(view)
        texts = self.inject.texts(view.nodes, view.num_users) if self.inject and with_profiles else None
        state, total, profile = self.start(ids, texts)
        layers, attention = [state], []
        for messages, dst in view.draw():
            state, weights = self.conv.hop(messages, state, dst)
            total = _select(total, dst) + state  # with neighbour sampling, each hop has fewer nodes
            layers.append(state)
            attention.append(weights)
        return SpikeStates(
            final=total,
            embedding=view.result(ids),
            profile=None if profile is None else view.result(profile),
            profiled=None if profile is None else self._profiled(view),
            attention=tuple(attention),
            layers=tuple(layers),
        )

    def start(self, embedding: Tensor, texts: Texts | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return h^0, h^0 minus the removed profiles (where the sum z starts), and the profiles s, [n, D] each.

        Parameters
        ----------
        embedding
            ID embeddings e [n, D] of the nodes, users first.
        texts
            Their text vectors; None to compute without profiles.
        """
        if self.inject is None or texts is None:
            return embedding, embedding, None
        profiles = self.inject.of_texts(embedding, texts)
        state = embedding if profiles.injected is None else embedding + profiles.injected
        return state, state if profiles.removed is None else state - profiles.removed, profiles.matched

    def ids(self, cold: Tensor | None = None) -> Tensor:
        """Return e, [U + N, D]; zeros for users without ID embeddings, and where `cold` [U + N] is true."""
        ids: Tensor = self.embedding
        if not self.options.user_embedding:
            ids = nn.functional.pad(ids, (0, 0, self.num_users, 0))
        return ids if cold is None else ids.masked_fill(cold[:, None], 0.0)

    def _ids_of(self, view: View) -> Tensor:
        """Return e [n, D] of the input nodes of a view; with sampling, one gather with a sparse gradient."""
        if view.nodes is None:
            return self.ids(view.cold)
        first = 0 if self.options.user_embedding else self.num_users
        skipped = 0 if self.options.user_embedding else view.num_users or 0
        rows = view.nodes[skipped:] - first
        ids = nn.functional.embedding(rows, self.embedding, sparse=self.options.sparse_gradients)
        return nn.functional.pad(ids, (0, 0, skipped, 0)) if skipped else ids

    def _default_view(self) -> View:
        is_step = self.training and self.views.sampler is None
        return self.views.with_edge_dropout() if is_step else self.views.whole()

    def _profiled(self, view: View) -> Tensor | None:
        assert self.inject is not None
        return self.inject.profiled if view.seeds is None else self.inject.profiled_among(view.seeds)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted ranking, matching and L2 losses; terms of weight 0 are omitted."""
        view, batch = self.views.for_step(batch) if self.training else (self.views.whole(), batch)
        states, rows = self.propagate(view), batch.rows(self.num_users)
        positions = view.positions(rows)
        if positions is None:
            terms = ranking_terms(states.final, self.ids(), rows, self.options)
        else:
            terms = ranking_terms(states.final, states.embedding, positions, self.options)
        if self.options.matching_weight and states.has_profiles:
            terms["matching"] = self.options.matching_weight * self.match(states)
        return terms

    def embeddings(self) -> Embeddings:
        """Return z of all users [U, D] and items [I, D], computed over the whole graph."""
        return self.part(self.propagate().final if self.views.sampler is None else self.propagate_in_parts())

    @torch.no_grad()
    def fold_in(self, linear: FoldIn) -> FoldIn:
        """Return the fold-in that embeds new users and items with the model's own layers."""
        entities = tuple(state[self.num_users :] for state in self.propagate().layers)
        items = tuple(state[: self.num_items] for state in entities)
        return SpikeFoldIn(self.conv, self.inject, self.options, self.num_items, entities, items, linear)

    @torch.no_grad()
    def propagate_in_parts(self) -> Tensor:
        """Return z [U + N, D] as `propagate` computes it, one part of a hop at a time.

        At most four tensors of this size are in memory.
        """
        ids = self.ids()
        state, total = torch.empty_like(ids), torch.empty_like(ids)
        for nodes in torch.split(torch.arange(len(state), device=state.device), NODES_PER_PROJECTION):
            num_users = int((nodes < self.num_users).sum())
            texts = None if self.inject is None else self.inject.texts(nodes, num_users)
            state[nodes], total[nodes], _ = self.start(ids[nodes], texts)
        for _ in range(self.options.num_layers):
            # The dst nodes of the parts are consecutive rows, so their results concatenate to the whole.
            state = torch.cat(
                [
                    self.conv.hop(block.messages, state.index_select(0, block.nodes), block.dst)[0]
                    for block in self.views.parts_of_a_hop()
                ]
            )
            total += state
        return total


def with_text_neighbours(inputs: ModelInputs, number: int) -> DGLGraph:
    """Return the heterograph with edges to each item from its `number` nearest text neighbours, if there are texts."""
    texts = inputs.compared_texts
    if not number or texts is None:
        return inputs.graph
    items, neighbours = (rows.cpu() for rows in text_neighbours(texts, number))
    return with_similar_items(inputs.graph, items, neighbours)


def _select(table: Tensor, rows: Tensor | None) -> Tensor:
    """Return the chosen rows; all if `rows` is None."""
    return table if rows is None else table.index_select(0, rows)
