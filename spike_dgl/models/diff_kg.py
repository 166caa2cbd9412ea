"""DiffKG: the knowledge graph is contrasted with one of the links that a diffusion model expects."""

from __future__ import annotations

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from spike_dgl.config import STRICT
from spike_dgl.dgl_import import require_dgl_on
from spike_dgl.graph import num_knowledge_relations
from spike_dgl.models.base import (
    Batch,
    EmbeddingModel,
    ModelInputs,
    RankingOptions,
    contrast_of_batch,
    ranking_terms,
    register,
)
from spike_dgl.nn.graphs.interactions import InteractionGraph
from spike_dgl.nn.graphs.messages import message_graph
from spike_dgl.nn.layers.knowledge_attention import KnowledgeAttention
from spike_dgl.nn.layers.knowledge_diffusion import KnowledgeDiffusion

SMALLEST_NOISE = 1e-6
"""Variance of the first step that float32 still tells from none."""


@dataclass(frozen=True, config=STRICT)
class DiffKGOptions(RankingOptions):
    """Settings of DiffKG, besides those of `RankingOptions`; the defaults are those for Last-FM in the authors' code.

    Parameters
    ----------
    num_layers
        Hops between users and items.
    num_kg_layers
        Hops over the knowledge graph, which come before.
    message_dropout
        Dropout on what a hop over the knowledge graph gives.
    residual_weight
        How much of the hop before is added to the last one over the knowledge graph.
    contrastive_weight
        Weight of the contrast between the whole graph's embeddings and the generated graph's.
    contrastive_temperature
        tau, what cosine similarities are divided by.
    denoiser_dim
        h, hidden units of the denoiser. The paper has 1,000, which is 2,000 numbers an entity; ours are 2 h.
    diffusion_steps
        T.
    noise_scale, noise_min, noise_max
        The variance of the noise grows from `noise_scale` times `noise_min` to `noise_scale` times `noise_max`.
    diffusion_batch
        Entities whose rows the denoiser learns from in a training step.
    collaborative_share
        lambda: this much of the denoiser's loss is the collaborative term, the rest the diffusion.
    generated_links
        k, links of each entity in the generated graph; their reverses are added.
    """

    num_layers: int = Field(default=2, ge=1, le=64)
    num_kg_layers: int = Field(default=2, ge=1, le=64)
    message_dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    residual_weight: float = Field(default=0.0, ge=0.0)
    contrastive_weight: float = Field(default=0.1, ge=0.0)
    contrastive_temperature: float = Field(default=0.1, gt=0.0)
    denoiser_dim: int = Field(default=64, ge=1, le=4096)
    diffusion_steps: int = Field(default=5, ge=2, le=1000)
    noise_scale: float = Field(default=0.1, gt=0.0)
    noise_min: float = Field(default=1e-3, gt=0.0)
    noise_max: float = Field(default=0.02, gt=0.0)
    diffusion_batch: int = Field(default=1024, ge=1)
    collaborative_share: float = Field(default=0.01, gt=0.0, lt=1.0)
    generated_links: int = Field(default=1, ge=1)
    l2_weight: float = Field(default=0.03, ge=0.0)

    def __post_init__(self) -> None:
        if not self.noise_min < self.noise_max < 1.0 / self.noise_scale:
            raise ValueError("noise_min must be below noise_max, and noise_scale times noise_max below 1")
        if self.noise_scale * self.noise_min < SMALLEST_NOISE:
            raise ValueError(f"noise_scale times noise_min must be at least {SMALLEST_NOISE}")


SEARCH = {
    "model.num_layers": (1, 2, 3),
    "model.residual_weight": (0.0, 0.5, 1.0),
    "model.contrastive_weight": (0.01, 0.1, 1.0),
    "model.contrastive_temperature": (0.1, 0.2, 1.0),
    "model.l2_weight": (0.0, 1e-4, 1e-3, 1e-2, 0.03),
}


@register("diff-kg", DiffKGOptions, SEARCH)
class DiffKG(EmbeddingModel):
    """DiffKG (Jiang, Yang, Xia, Huang: "DiffKG: Knowledge Graph Diffusion Model for Recommendation", WSDM 2024).

    Entities gather from their KG neighbours by `KnowledgeAttention`, and what items have gathered goes, with the
    users' ID embeddings, through LightGCN's hops, whose sum scores. Beside the whole graph there is a generated one,
    of the k links of each entity that a diffusion model of its row (`KnowledgeDiffusion`) expects most. Terms:

    - ranking on the whole graph, and L2 on the batch's ID embeddings;
    - contrastive: InfoNCE between the two graphs' embeddings of the batch's users, and of its positive items, each
      compared with the batch's others of its kind, in blocks (the paper: with all nodes);
    - denoising: (1 - lambda) times the diffusion's loss on sampled rows;
    - collaborative: lambda times the squared distance of an entity's ID embedding from what its denoised row x^ and
      the users say of it, ``sum_i x^_i sum_{u in N_i} e_u`` over the items i, a mean over dimensions. ID embeddings
      are constants here: the last two terms train the denoiser, and no other term does.

    The paper trains the denoiser for an epoch, generates a graph, and trains the recommender on it for an epoch. Here
    each step does all three: nothing outlives a step but parameters, and each step's graph is of the newest denoiser.
    Both have one optimiser and learning rate.

    What else is not the paper's: the adjacency matrix is never formed, so that memory is linear in triples, and the
    denoiser is narrow; `KnowledgeDiffusion` says how. A link that the KG lacks has no relation and cannot be
    generated, so only existing ones are ranked (the code ranks all and discards such). The generated graph is the
    augmentation, as in the code's settings for Last-FM, not what ranks. The L2 is on the batch; 0.03 is for some 5,000
    users and items about what the code's 1e-5 on all parameters is. Left out, from the code: dropout on rows,
    a random part missing in the generated graph, self-loops in the user-item graph, and sinusoids of the diffusion
    step (a learned vector instead). v_1 is 1e-4, to which the code, too, raises what its settings give.

    Parameters
    ----------
    inputs
        The graph; text vectors are not used.
    options
        See `DiffKGOptions`.
    """

    def __init__(self, inputs: ModelInputs, options: DiffKGOptions) -> None:
        super().__init__()
        require_dgl_on(inputs.device)
        self.options, self.num_users, self.num_items = options, inputs.num_users, inputs.num_items
        self.interactions = InteractionGraph.from_graph(inputs.graph, inputs.device)
        self.embedding = nn.Parameter(
            torch.empty(inputs.num_users + inputs.num_entities, options.embedding_dim)
        )
        nn.init.xavier_uniform_(self.embedding)
        messages = message_graph(inputs.graph, users_among_neighbours=False)
        heads, tails = messages.attended.dst, messages.src - inputs.num_users
        self.attention = KnowledgeAttention(
            heads,
            tails,
            messages.relation,
            num_entities=inputs.num_entities,
            num_relations=num_knowledge_relations(inputs.graph),
            embedding_dim=options.embedding_dim,
            num_layers=options.num_kg_layers,
            dropout=options.message_dropout,
            residual_weight=options.residual_weight,
            device=inputs.device,
        )
        self.has_generated_graph = options.contrastive_weight > 0 and len(heads) > 0
        if self.has_generated_graph:
            self.diffusion = KnowledgeDiffusion(
                heads,
                tails,
                inputs.num_entities,
                hidden_dim=options.denoiser_dim,
                noise_variances=options.noise_scale
                * torch.linspace(options.noise_min, options.noise_max, options.diffusion_steps),
                device=inputs.device,
            )

    def propagate(self, edges: Tensor | None = None) -> Tensor:
        """[U + I, D] users first, over the whole KG or over its edges at ascending positions `edges`."""
        entities = self.attention(self.embedding[self.num_users :], edges)
        start = torch.cat([self.embedding[: self.num_users], entities[: self.num_items]])
        hops = self.options.num_layers
        # The sum of all layers, as the paper has it.
        return (hops + 1) * self.interactions.mean_of_hops(start, hops)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Ranking and L2, and in training mode contrast and the denoiser's two terms, all weighted."""
        final = self.propagate()
        terms = ranking_terms(final, self.embedding, batch.rows(self.num_users), self.options)
        if self.training and self.has_generated_graph:
            generated = self.propagate(self.generated_edges())
            contrast = contrast_of_batch(
                final, generated, batch, self.num_users, self.options.contrastive_temperature
            )
            terms["contrastive"] = self.options.contrastive_weight * contrast
            terms |= self.denoiser_terms()
        return terms

    def generated_edges(self) -> Tensor:
        """Ascending positions of the edges of the generated graph."""
        scores = self.diffusion.scores()
        return self.diffusion.highest_edges(scores, self.options.generated_links).nonzero().squeeze(-1)

    def denoiser_terms(self) -> dict[str, Tensor]:
        """The diffusion's loss on freshly sampled rows, and the collaborative one, both weighted."""
        embedding, share = self.embedding.detach(), self.options.collaborative_share
        rows = self.diffusion.sample_rows(self.options.diffusion_batch)
        error, hidden = self.diffusion.denoise(rows)
        of_users = self.interactions.sum_of_neighbours(embedding[: self.num_users + self.num_items])
        expected = self.diffusion.written(hidden, of_users[self.num_users :])
        distance = (expected - embedding[self.num_users :].index_select(0, rows)).square()
        return {"denoising": (1.0 - share) * error.mean(), "collaborative": share * distance.mean()}
