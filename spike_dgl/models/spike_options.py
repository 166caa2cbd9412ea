"""Settings of SPiKE, with what the paper and the authors' code have in their place."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from spike_dgl.config import STRICT
from spike_dgl.models.base import RankingOptions
from spike_dgl.nn.attention import RelationInit, require_whole_heads
from spike_dgl.nn.kernels import Kernels
from spike_dgl.nn.losses import RankingLoss
from spike_dgl.nn.neighbour_sampling import ALL

Share = Annotated[float, Field(ge=0.0, lt=1.0)]


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
    user_embedding
        Whether users have ID embeddings, as in both. Without, a user is what they hear of their items: nothing that was
        learned of them can age, and someone new is served as everyone is.
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
    num_layers: int = Field(default=2, ge=1, le=64)
    num_heads: int = Field(default=2, ge=1, le=1024)
    profile_gate: Literal["constant", "learned"] = "learned"
    profile_scale: float = Field(default=0.25, ge=0.0)
    injection: Literal["inject-and-remove", "inject", "none"] = "inject-and-remove"
    item_neighbours: Literal["kg", "kg-and-users"] = "kg-and-users"
    similar_items: int = Field(default=10, ge=0)
    newest_interactions: int = Field(default=0, ge=0)
    user_embedding: bool = True
    user_transform: bool = False
    relation_init: RelationInit = "identity"
    matching_target: Literal["final", "input"] = "final"
    matching_weight: float = Field(default=5.0, ge=0.0)
    matching_sample_ratio: float = Field(default=1.0, gt=0.0, le=1.0)
    matching_samples: int = Field(default=8, ge=1, le=10_000)
    message_dropout: Share = 0.1
    projection_dropout: Share = 0.1
    kg_dropout: Share = 0.5
    interaction_dropout: Share = 0.5
    item_dropout: Share = 0.0
    shared_projection: bool = True
    idle_relations: int = Field(default=0, ge=0, le=1_000_000)
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
