"""Settings of SPiKE, with the values of the paper and of the authors' code.

Where these differ, the docstrings name them "paper" and "code"; "both" means that they agree, and "ours" that neither
has it. Settings that constrain each other are in one group, which checks them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.models.base import PopularityWeight, RankingOptions
from spike_dgl.nn.graphs.neighbour_sampling import check_fanout
from spike_dgl.nn.kernels import Backend
from spike_dgl.nn.layers.spike_conv import RelationInit, require_whole_heads
from spike_dgl.nn.losses import RankingLoss

Share = Annotated[float, Field(ge=0.0, lt=1.0)]


@dataclass(frozen=True, config=STRICT)
class SpikeQuirks:
    """Bugs of the authors' code, to reproduce its numbers. All are off by default.

    Parameters
    ----------
    shared_projection
        Project the profiles once per step. If false, as in the code, they are projected three times with different
        dropout masks, so that the removed profile differs from the injected one.
    idle_relations
        Number of relations, counted from the last, that training never uses; 1 in the code (an off-by-one).
    masked_edges
        Number of further KG edges dropped in each training step; 512 in the code, for a loss of weight 0.
    """

    shared_projection: bool = True
    idle_relations: int = Field(default=0, ge=0, le=1_000_000)
    masked_edges: int = Field(default=0, ge=0)


@dataclass(frozen=True, config=STRICT)
class InjectionOptions:
    """Settings of profile injection and removal.

    Parameters
    ----------
    profile_gate
        Weight of the profile in the state of a node: ``constant`` (both: `profile_scale`) or ``learned`` (ours: a
        sigmoid gate per node type, computed from ID and profile embedding and initialised to `profile_scale`).
    profile_scale
        lambda_p; 0.25 in both.
    injection
        ``inject-and-remove`` (both: profiles affect the attention and are subtracted from the result),
        ``inject`` (profiles stay in the result), or ``none`` (profiles act through the matching loss only).
    projection_dropout
        Dropout inside the profile projection; 0.1 in both.
    """

    profile_gate: Literal["constant", "learned"] = "learned"
    profile_scale: float = Field(default=0.25, ge=0.0)
    injection: Literal["inject-and-remove", "inject", "none"] = "inject-and-remove"
    projection_dropout: Share = 0.1

    def check_injection(self) -> None:
        """Raise `ValueError` if settings of this group contradict each other."""
        if self.profile_gate == "learned" and not 0.0 < self.profile_scale < 1.0:
            raise ValueError("a learned profile_gate needs a profile_scale between 0 and 1 to start from")


@dataclass(frozen=True, config=STRICT)
class MatchingOptions:
    """Settings of pairwise profile matching.

    Parameters
    ----------
    matching_weight
        Weight of the matching loss; 5 in both. 0 switches it off.
    matching_target
        Embeddings that are matched with the profiles: ``final`` (code: the final embeddings) or ``input`` (paper, as
        Figure 1 seems to show: the ID embeddings).
    matching_sample_ratio
        gamma: share of all nodes in a sample; 0.1 in both. 1 matches all nodes, without sampling noise.
    matching_samples
        Number of samples per step; 8 in the code. Not used if `matching_sample_ratio` is 1.
    """

    matching_weight: float = Field(default=5.0, ge=0.0)
    matching_target: Literal["final", "input"] = "final"
    matching_sample_ratio: float = Field(default=1.0, gt=0.0, le=1.0)
    matching_samples: int = Field(default=8, ge=1, le=10_000)


@dataclass(frozen=True, config=STRICT)
class ViewOptions:
    """Settings of the edges that messages are sent along, in training and in evaluation.

    Parameters
    ----------
    item_neighbours
        ``kg`` (code: items attend to KG neighbours only, so that user states send no messages) or ``kg-and-users``
        (paper, Figure 1: items also attend to their users, as one more relation in the same softmax).
    similar_items
        Maximum number of text neighbours that each item attends to, as one more relation in the same softmax; 0 in
        both. Ours, after CoLaKG (Cui et al., SIGIR 2025): it gives neighbours to items with few users or triples.
        Texts are compared by TF-IDF, whatever the encoder of the profiles (see `ModelInputs.compared_texts`), when the
        model is built, in time quadratic in the number of items.
    kg_dropout, interaction_dropout
        Share of each relation's edges and of the interactions dropped in a training step; 0.5 in both. With
        `newest_interactions`, `interaction_dropout` limits the cut instead.
    newest_interactions
        0 (both): all interactions send messages. n > 0: only each user's n latest do. A training step then cuts each
        history at a random time, with at most a share of `interaction_dropout` after the cut, and predicts the
        interactions after the cut from those before it, as in evaluation on a split by time. Ours; needs data with
        times.
    item_dropout
        Share of the items that a training step treats as cold: they have no ID embedding and receive no messages
        from users. Items without training interactions then have no ID embedding either. 0 in both; ours, after
        DropoutNet (Volkovs et al., NeurIPS 2017).
    fanout
        Numbers of neighbours to sample, one per layer, the last for the users and items of the batch; -1 samples
        all. Empty: no sampling, a training step propagates over the whole graph. Edge dropout applies to the sampled
        edges. Matching applies to the users and items of the batch, and `matching_sample_ratio` is a share of these.
        Ours, for graphs whose propagation does not fit in memory.
    sparse_gradients
        With `fanout`: whether a step has gradients only of the ID embeddings that it reads, and Adam updates only
        these and their moments, as `torch.optim.SparseAdam`. If false, Adam updates all rows in every step.
    """

    item_neighbours: Literal["kg", "kg-and-users"] = "kg-and-users"
    similar_items: int = Field(default=10, ge=0)
    kg_dropout: Share = 0.5
    interaction_dropout: Share = 0.5
    newest_interactions: int = Field(default=0, ge=0)
    item_dropout: Share = 0.0
    fanout: tuple[int, ...] = ()
    sparse_gradients: bool = True

    def check_views(self, num_layers: int, quirks: SpikeQuirks) -> None:
        """Raise `ValueError` if settings of this group contradict each other, or others."""
        if quirks.idle_relations and self.similar_items:
            raise ValueError(
                "quirks.idle_relations counts from the last relation of the data; set similar_items to 0"
            )
        if not self.fanout:
            return
        check_fanout(self.fanout, num_layers)
        if quirks.idle_relations or quirks.masked_edges or self.newest_interactions or self.item_dropout:
            raise ValueError(
                "quirks.idle_relations, quirks.masked_edges, newest_interactions and item_dropout need the whole "
                "graph; leave out fanout"
            )


@dataclass(frozen=True, config=STRICT)
class SpikeOptions(MatchingOptions, ViewOptions, InjectionOptions, RankingOptions):
    """Settings of SPiKE, besides those of `InjectionOptions`, `ViewOptions`, `MatchingOptions` and `RankingOptions`.

    Paper and code use 64 dimensions and the BPR loss; the default here is the softmax loss, which has better
    validation metrics. Neither has a popularity term (`RankingOptions.popularity_weight`), which is on by default here.
    The code logs an L2 loss but does not add it to the loss that is minimised.

    Parameters
    ----------
    num_layers
        Number of hops over the graph; 2 in both.
    num_heads
        Number of attention heads; 2 in both.
    user_embedding
        Whether users have ID embeddings, as in both. If false, users are inductive: their state is aggregated from
        their items, for new users as for others.
    user_transform
        Whether a user's state is the mean of their items' states times a learned matrix, initialised to the identity:
        the next items may differ from those in the history. False in both.
    relation_init
        Initial relation embeddings: ``random`` (code) or ``identity`` (ours: near one, so that a message is at first
        nearly the state of its src node).
    message_dropout
        Dropout on the aggregated messages of a hop; 0.1 in both.
    backend
        Implementation of the hops: ``compiled`` (CPU), ``triton`` (GPU), ``torch`` (any device), ``dgl`` (DGL's message
        passing) or ``auto`` (compiled on the CPU; on a GPU triton, or torch without Triton). All give the same numbers.
    quirks
        Bugs of the authors' code.
    """

    ranking_loss: RankingLoss = "softmax"
    popularity_weight: PopularityWeight = "auto"
    num_layers: int = Field(default=2, ge=1, le=64)
    num_heads: int = Field(default=2, ge=1, le=1024)
    user_embedding: bool = True
    user_transform: bool = False
    relation_init: RelationInit = "identity"
    message_dropout: Share = 0.1
    backend: Backend = "auto"
    quirks: SpikeQuirks = Field(default_factory=SpikeQuirks)

    def __post_init__(self) -> None:
        require_whole_heads(self.embedding_dim, self.num_heads)
        self.check_injection()
        self.check_views(self.num_layers, self.quirks)
