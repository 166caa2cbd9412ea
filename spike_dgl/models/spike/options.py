"""Settings of SPiKE, with what the paper and the authors' code have in their place.

"Paper" and "code" name the two sides where the authors' paper and code differ. Settings that exclude each other stand
in one group, which checks them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.models.base import RankingOptions
from spike_dgl.nn.graphs.neighbour_sampling import ALL
from spike_dgl.nn.kernels import Backend
from spike_dgl.nn.layers.spike_conv import RelationInit, require_whole_heads
from spike_dgl.nn.losses import RankingLoss

Share = Annotated[float, Field(ge=0.0, lt=1.0)]


@dataclass(frozen=True, config=STRICT)
class SpikeQuirks:
    """Faults of the authors' code, to reproduce its numbers. All are off by default.

    Parameters
    ----------
    shared_projection
        Project the profiles once a step. With false, as in the code, they are projected three times with different
        dropout masks, so that what is removed is not quite what was injected.
    idle_relations
        Relation rows, from the last of the data, that training never uses; 1 in the code (an off-by-one).
    masked_edges
        Further KG edges left out of a training step; 512 in the code, for a loss whose weight is 0.
    """

    shared_projection: bool = True
    idle_relations: int = Field(default=0, ge=0, le=1_000_000)
    masked_edges: int = Field(default=0, ge=0)


@dataclass(frozen=True, config=STRICT)
class InjectionOptions:
    """How profiles enter the states, and leave them.

    Parameters
    ----------
    profile_gate
        How much of a profile enters a node: ``constant`` (both: `profile_scale` everywhere) or ``learned`` (ours: a
        sigmoid gate per node type computed from ID and profile embedding, which starts at `profile_scale`).
    profile_scale
        lambda_p; 0.25 in both.
    injection
        ``inject-and-remove`` (both: profiles steer the attention and are taken out of the result),
        ``inject`` (profiles stay in the result), or ``none`` (profiles act through the matching loss only).
    projection_dropout
        Dropout inside the profile projection; 0.1 in both.
    """

    profile_gate: Literal["constant", "learned"] = "learned"
    profile_scale: float = Field(default=0.25, ge=0.0)
    injection: Literal["inject-and-remove", "inject", "none"] = "inject-and-remove"
    projection_dropout: Share = 0.1

    def check_injection(self) -> None:
        """Raise `ValueError` where settings of this group do not fit together."""
        if self.profile_gate == "learned" and not 0.0 < self.profile_scale < 1.0:
            raise ValueError("a learned profile_gate needs a profile_scale between 0 and 1 to start from")


@dataclass(frozen=True, config=STRICT)
class MatchingOptions:
    """Pairwise profile matching.

    Parameters
    ----------
    matching_weight
        Weight of the matching loss; 5 in both. 0 switches it off.
    matching_target
        What profiles are matched with: ``final`` (code: the representations that score) or ``input`` (paper, as
        Figure 1 seems to draw it: the ID embeddings).
    matching_sample_ratio
        gamma: the share of all nodes in a sample; 0.1 in both. 1 matches all nodes, without sampling noise.
    matching_samples
        Fresh samples a step; 8 in the code. With all nodes in it one sample says everything.
    """

    matching_weight: float = Field(default=5.0, ge=0.0)
    matching_target: Literal["final", "input"] = "final"
    matching_sample_ratio: float = Field(default=1.0, gt=0.0, le=1.0)
    matching_samples: int = Field(default=8, ge=1, le=10_000)


@dataclass(frozen=True, config=STRICT)
class ViewOptions:
    """Which edges a propagation reads, in training and after it.

    Parameters
    ----------
    item_neighbours
        ``kg`` (code: KG neighbours only, so user states are read by no hop) or ``kg-and-users`` (paper, Figure 1:
        items also attend to their users, by a relation of its own in the same softmax).
    similar_items
        Number of text neighbours, at most, that send messages to each item, by a relation of its own in the same
        softmax; 0 in both. Ours, after CoLaKG (Cui et al., SIGIR 2025): an item that few users or facts say
        anything about has neighbours by its text. Finding them, whenever the model is built, takes time
        with the square of the items: 2 s for 20,000 on one core.
    kg_dropout, interaction_dropout
        Share of each relation's edges and of the interactions left out of a training step; 0.5 in both. See
        `newest_interactions` for another reading of the latter.
    newest_interactions
        0 (both): all interactions send messages. n > 0: only each user's n latest do, and a training step cuts each
        history at a random time, with at most `interaction_dropout` of it after the cut, and predicts what came after
        it from what came before, as evaluation does where held-out interactions are later ones. Ours; needs data with
        times.
    item_dropout
        Share of the items that a training step treats as cold: without an ID embedding, and with no message from a
        user. Items without training interactions then have no ID embedding either. 0 in both; ours, after DropoutNet
        (Volkovs et al., NeurIPS 2017).
    fanout
        Empty propagates over the whole graph. Else a training step computes on a sampled neighbourhood of its users
        and items: one number of neighbours a layer, the last for these nodes themselves, -1 for all; edge dropout
        takes its share of what was drawn. Matching then runs on the users and items of the step, and the
        sample ratio is a share of those. Ours, for graphs whose propagation does not fit in memory.
    """

    item_neighbours: Literal["kg", "kg-and-users"] = "kg-and-users"
    similar_items: int = Field(default=10, ge=0)
    kg_dropout: Share = 0.5
    interaction_dropout: Share = 0.5
    newest_interactions: int = Field(default=0, ge=0)
    item_dropout: Share = 0.0
    fanout: tuple[int, ...] = ()

    def check_views(self, num_layers: int, quirks: SpikeQuirks) -> None:
        """Raise `ValueError` where settings of this group do not fit together, or with others."""
        if quirks.idle_relations and self.similar_items:
            raise ValueError(
                "quirks.idle_relations counts back from the last relation of the data; set similar_items to 0"
            )
        if not self.fanout:
            return
        if len(self.fanout) != num_layers:
            raise ValueError(f"fanout needs one number a layer, and num_layers is {num_layers}")
        if any(number < 1 and number != ALL for number in self.fanout):
            raise ValueError("a fanout counts neighbours: at least 1, or -1 for all")
        if quirks.idle_relations or quirks.masked_edges or self.newest_interactions or self.item_dropout:
            raise ValueError(
                "quirks.idle_relations, quirks.masked_edges, newest_interactions and item_dropout are about the whole "
                "graph; leave out fanout"
            )


@dataclass(frozen=True, config=STRICT)
class SpikeOptions(MatchingOptions, ViewOptions, InjectionOptions, RankingOptions):
    """Settings of SPiKE, besides those of `InjectionOptions`, `ViewOptions`, `MatchingOptions` and `RankingOptions`.

    Both paper and code train 64 dimensions with BPR; the default here is the softmax loss, which validates better. The
    code logs an L2 loss but leaves it out of the sum that is minimised.

    Parameters
    ----------
    num_layers
        Hops over the graph; 2 in both.
    num_heads
        Attention heads; 2 in both.
    user_embedding
        Whether users have ID embeddings, as in both. If false, users are inductive: their state is aggregated from
        their items, and a new user is treated as any other.
    user_transform
        Whether users take the mean of their items' states times a learned matrix, which starts as the identity: items
        liked next need not be like those liked before. False in both.
    relation_init
        How relation embeddings begin: ``random`` (code) or ``identity`` (ours: around one, so that a message is at
        first the state it comes from).
    message_dropout
        Dropout on what a hop aggregated; 0.1 in both.
    backend
        What computes the hops: ``compiled`` (on the CPU), ``torch`` (any device), ``dgl`` (DGL's message passing)
        or ``auto``, the first that fits the device. Same numbers.
    quirks
        Faults of the authors' code.
    """

    ranking_loss: RankingLoss = "softmax"
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
