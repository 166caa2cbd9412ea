"""Models that train on a partitioned graph: their states are computed from fetched rows, hop by hop.

The layers are those of the models on one machine. A model is built on a graph of two nodes, which gives its layers the
right sizes; its ID embeddings are in a table over all hosts instead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from spike_dgl.config import write_yaml
from spike_dgl.dgl_import import DGLGraph, dgl
from spike_dgl.errors import ConfigError
from spike_dgl.graph import SIMILAR
from spike_dgl.models.base import EmbeddingModel, ModelInputs, model_entry, ranking_terms
from spike_dgl.models.r_gcn import Rgcn, RgcnOptions
from spike_dgl.models.spike import Spike, SpikeOptions
from spike_dgl.models.spike.injection import Texts
from spike_dgl.models.spike.states import SpikeStates
from spike_dgl.nn.graphs.neighbour_sampling import Block, MessageFlow
from spike_dgl.nn.graphs.relational import RelationalGraph
from spike_dgl.partitions.layout import Layout
from spike_dgl.runs.config import RunConfig


class PartitionedModel(ABC):
    """Model on a partitioned graph.

    Parameters
    ----------
    model
        The model, built by `build_model`.
    options
        Its options.
    layout
        Layout of the parts.
    """

    model: Any
    options: Any
    kg_dropout = interaction_dropout = 0.0
    """Dropout of sampled edges."""

    def __init__(self, model: EmbeddingModel, options: Any, layout: Layout) -> None:
        self.model, self.options, self.layout = model, options, layout
        self.num_hops: int = options.num_layers

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All parameters but the ID embeddings, by name; every process has a copy."""
        named: dict[str, nn.Parameter] = dict(self.model.named_parameters())
        return {name: parameter for name, parameter in named.items() if name != "embedding"}

    def loss(self, flow: MessageFlow, ids: Tensor, texts: Tensor | None, rows: Tensor) -> dict[str, Tensor]:
        """Return the weighted loss terms of a batch.

        Parameters
        ----------
        flow
            Sampled neighbourhood of the batch.
        ids, texts
            ID embeddings [n, D] and text vectors [n, d_t] of its input nodes; None for a model without texts.
        rows
            Users, positives and negatives of the batch, [3 B].
        """
        num_users = flow.blocks[0].messages.num_users
        state, total, profile = self.start(ids, texts, num_users)
        for hop, block in enumerate(flow.blocks):
            state = self.hop(hop, block, state)
            total = self.add(total.index_select(0, block.dst), state, hop)
        seeds = flow.seeds_among_inputs
        embedding = ids.index_select(0, seeds)
        terms = ranking_terms(total, embedding, flow.positions(rows), self.options)
        if profile is not None:
            terms |= self.profile_terms(total, embedding, profile.index_select(0, seeds), texts, seeds)
        return terms

    @abstractmethod
    def start(
        self, ids: Tensor, texts: Tensor | None, num_users: int
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return h^0, the value at which the final embeddings start, and the profiles, of n nodes, users first."""

    @abstractmethod
    def hop(self, hop: int, block: Block, state: Tensor) -> Tensor:
        """Return the next states [m, D] of the block's dst nodes from the states [n, D] of its input nodes."""

    @abstractmethod
    def add(self, total: Tensor, state: Tensor, hop: int) -> Tensor:
        """Return the final embeddings after a hop, from those before it and its states."""

    def profile_terms(
        self, final: Tensor, embedding: Tensor, profile: Tensor, texts: Tensor | None, seeds: Tensor
    ) -> dict[str, Tensor]:
        """Return the loss terms that use profiles."""
        del final, embedding, profile, texts, seeds
        return {}


class PartitionedSpike(PartitionedModel):
    """SPiKE with `fanout`."""

    model: Spike
    options: SpikeOptions

    def __init__(self, model: Spike, options: SpikeOptions, layout: Layout) -> None:
        super().__init__(model, options, layout)
        self.kg_dropout, self.interaction_dropout = options.kg_dropout, options.interaction_dropout

    def start(
        self, ids: Tensor, texts: Tensor | None, num_users: int
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Inject the profiles."""
        if texts is None:
            return self.model.start(ids, None)
        present = texts.any(dim=1, keepdim=True)
        absent = None if present.all() else ~present
        return self.model.start(ids, Texts(texts[:num_users], texts[num_users:], absent))

    def hop(self, hop: int, block: Block, state: Tensor) -> Tensor:  # noqa: ARG002  (all hops share one layer)
        """Compute one hop of `SpikeConv`."""
        return self.model.conv.hop(block.messages, state, block.dst)[0]

    def add(self, total: Tensor, state: Tensor, hop: int) -> Tensor:  # noqa: ARG002
        """Sum over all layers."""
        return total + state

    def profile_terms(
        self, final: Tensor, embedding: Tensor, profile: Tensor, texts: Tensor | None, seeds: Tensor
    ) -> dict[str, Tensor]:
        """Match the profiles of the batch's nodes."""
        if not self.options.matching_weight:
            return {}
        assert texts is not None
        present = texts.index_select(0, seeds).any(dim=1)
        profiled = None if present.all() else present.nonzero()[:, 0]
        states = SpikeStates(final, embedding, profile, profiled, (), ())
        # All processes add up the same terms, also if the nodes of one of them have no profiles.
        loss = self.model.match(states) if states.has_profiles else final.new_zeros(())
        return {"matching": self.options.matching_weight * loss}


class PartitionedRgcn(PartitionedModel):
    """R-GCN on sampled neighbours: a relation's mean is over the sampled ones."""

    model: Rgcn
    options: RgcnOptions

    def start(
        self,
        ids: Tensor,
        texts: Tensor | None,  # noqa: ARG002  (R-GCN uses no texts)
        num_users: int,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Start from the ID embeddings."""
        return ids, ids, None

    def hop(self, hop: int, block: Block, state: Tensor) -> Tensor:
        """Compute one `RelationalConvolution`."""
        graph = _relational(block, self.layout)
        received = graph.dst_pairs.of_edge
        share = 1.0 / torch.bincount(received).index_select(0, received).unsqueeze(-1)
        kept = functional.dropout(share, self.options.edge_dropout, self.model.training)
        following: Tensor = self.model.layers[hop](graph, state, kept).index_select(0, block.dst)
        return following if hop == self.num_hops - 1 else functional.relu(following)

    def add(self, total: Tensor, state: Tensor, hop: int) -> Tensor:  # noqa: ARG002
        """Sum over all layers, or take the last."""
        return total + state if self.options.readout == "sum" else state


def _relational(block: Block, layout: Layout) -> RelationalGraph:
    """Return the edges of a block with the relation ids of `Layout.edge_types`."""
    messages, types = block.messages, layout.edge_types
    pooled = next(number for number, edge_type in enumerate(types) if edge_type[2] == "user")
    relation = messages.relation + (messages.relation >= pooled).long()
    src = torch.cat([messages.src, messages.pooled.src])
    dst = torch.cat([messages.attended.dst + messages.num_users, messages.pooled.dst])
    relation = torch.cat([relation, torch.full_like(messages.pooled.src, pooled)])
    order = relation.argsort(stable=True)
    first = {"user": 0, "entity": messages.num_users}
    return RelationalGraph(src[order], dst[order], relation[order], first, messages.num_nodes, len(types))


KINDS: dict[type, type[PartitionedModel]] = {Spike: PartitionedSpike, Rgcn: PartitionedRgcn}


def build_model(config: RunConfig, layout: Layout) -> PartitionedModel:
    """Build the model of a run. Raises `ConfigError` for models and settings that need the whole graph."""
    check_config(config, layout)
    graph = template_graph(layout)
    vectors = torch.zeros(1, layout.text_dim) if layout.text_dim else None
    options = config.model
    # The graph has the edges to text neighbours already.
    own = replace(options, similar_items=0) if hasattr(options, "similar_items") else options
    model = model_entry(config.model_name).model(ModelInputs(graph, vectors, vectors), own)
    assert isinstance(model, EmbeddingModel)
    return KINDS[type(model)](model, options, layout)


def template_graph(layout: Layout) -> DGLGraph:
    """Return a graph of one user and one item with one edge of each type."""
    one = torch.zeros(1, dtype=torch.int64)
    graph = dgl.heterograph(dict.fromkeys(layout.edge_types, (one, one)), {"user": 1, "entity": 1})
    for number, edge_type in enumerate(layout.edge_types):
        graph.edges[edge_type].data["relation"] = torch.tensor([number])
    graph.nodes["entity"].data["is_item"] = torch.tensor([True])
    return graph


def check_config(config: RunConfig, layout: Layout) -> None:
    """Raise `ConfigError` for models and settings that need the whole graph or other parts."""
    model, training, options = model_entry(config.model_name).model, config.training, config.model
    if model not in KINDS:
        raise ConfigError(
            f"model.name={config.model_name} cannot train on partitions\n  Choose spike or r-gcn."
        )
    if not options.fanout:
        fanout = ",".join(["10"] * options.num_layers)
        raise ConfigError(
            f"training on partitions samples neighbours\n  Set model.fanout=[{fanout}], a number per layer."
        )
    if not hasattr(options, "similar_items") and any(name == SIMILAR for _, name, _ in layout.edge_types):
        raise ConfigError(
            f"the parts have edges between items with similar texts, which {config.model_name} does not use\n"
            f"  Partition again with model.name={config.model_name}."
        )
    needed = {
        "model.linear_weight": (getattr(options, "linear_weight", 0.0), (0.0,)),
        "training.device": (training.device, ("auto", "cpu")),
        "training.precision": (training.precision, ("float32",)),
        "training.weight_decay": (training.weight_decay, (0.0,)),
        "training.negative_popularity": (training.negative_popularity, (0.0,)),
        "training.negatives_from": (training.negatives_from, ("all",)),
        "training.recency": (training.recency, (0.0,)),
        "model.similar_items": (
            getattr(options, "similar_items", layout.similar_items),
            (layout.similar_items,),
        ),
        "model.item_neighbours": (getattr(options, "item_neighbours", "kg-and-users"), ("kg-and-users",)),
        "model.user_embedding": (getattr(options, "user_embedding", True), (True,)),
        "model.sparse_gradients": (getattr(options, "sparse_gradients", True), (True,)),
    }
    for name, (value, allowed) in needed.items():
        if value not in allowed:
            fixed = write_yaml({name: allowed[0]}).strip().replace(": ", "=")
            raise ConfigError(f"{name}: {value} is not possible on these partitions\n  Set {fixed}.")
