"""SASRec: self-attention over each user's interactions in the order of time."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from spike_dgl.config import STRICT
from spike_dgl.dgl_import import DGLGraph
from spike_dgl.errors import ConfigError
from spike_dgl.graph import INTERACTS
from spike_dgl.models.base import Batch, EmbeddingModel, ModelInputs, RankingOptions, ranking_terms, register
from spike_dgl.nn.graphs.positions import row_pointer
from spike_dgl.nn.layers.spike_conv import require_whole_heads
from spike_dgl.nn.losses import RankingLoss

USERS_PER_BLOCK = 1024
"""Number of users whose histories are encoded at a time, outside of training."""


@dataclass(frozen=True, config=STRICT)
class SasRecOptions(RankingOptions):
    """Settings of SASRec, besides those of `RankingOptions`.

    Parameters
    ----------
    max_length
        Maximum number L of a user's newest interactions that are attended to; 200 in the paper for MovieLens-1M, 50
        for its other data.
    num_layers
        Number of self-attention blocks; 2 in the paper.
    num_heads
        Number of attention heads; 1 in the paper.
    dropout
        Probability of dropout; 0.2 in the paper for MovieLens-1M, 0.5 for its other data.
    """

    max_length: int = Field(default=50, ge=1)
    num_layers: int = Field(default=2, ge=1, le=64)
    num_heads: int = Field(default=1, ge=1)
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    # With binary cross-entropy, as in the paper, SASRec trails other models; with softmax it does not (Klenitskiy and
    # Vasilev, RecSys 2023).
    ranking_loss: RankingLoss = "softmax"

    def __post_init__(self) -> None:
        """Check that the heads divide the dimension."""
        require_whole_heads(self.embedding_dim, self.num_heads)


SEARCH = {
    "training.learning_rate": (1e-3, 3e-3),
    "model.max_length": (20, 50, 100),
    "model.num_layers": (1, 2),
    "model.dropout": (0.2, 0.5),
}


class Sequences:
    """Items of each user in the order of time.

    Parameters
    ----------
    graph
        The heterograph of `spike_dgl.graph.build_graph`.
    device
        Device of the windows.

    Raises
    ------
    ConfigError
        If the interactions have no times.
    """

    def __init__(self, graph: DGLGraph, device: torch.device) -> None:
        if "place" not in graph.edges[INTERACTS].data:
            raise ConfigError(
                "model.name: sas-rec needs the order of interactions, and this data does not say when they happened\n"
                "  Add times to the data (docs/data.md), or choose another model, such as model.name=lightgcn."
            )
        users, items = graph.edges(etype=INTERACTS, order="eid")
        num_users, self.num_items = graph.num_nodes("user"), int(graph.nodes["entity"].data["is_item"].sum())
        place = graph.edges[INTERACTS].data["place"]
        start = row_pointer(users.sort()[0], num_users)
        self.start, self.count = start[:-1].to(device), start.diff().to(device)
        self._items = torch.empty_like(items)
        self._items[start[users] + place] = items
        self._items = self._items.to(device)
        self._key, by_key = (users * self.num_items + items).to(device).sort()
        self._place_by_key = place.to(device)[by_key]

    def places(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the number of the user's earlier interactions [B], for training interactions."""
        places: Tensor = self._place_by_key[torch.searchsorted(self._key, users * self.num_items + items)]
        return places

    def windows(self, users: Tensor, end: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Return the items [n, length] of each user at the places before `end` [n], right-aligned, and which are real.

        Positions before a user's first interaction have item 0.
        """
        places = end[:, None] + torch.arange(-length, 0, device=end.device)
        real = places >= 0
        rows = torch.where(real, self.start[users][:, None] + places, 0)
        return self._items[rows] * real, real


@register("sas-rec", SasRecOptions, SEARCH)
class SasRec(EmbeddingModel):
    """SASRec (Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018).

    The state of a user after their newest L items is the last output of causal self-attention blocks over item and
    position embeddings, and a score is its inner product with an item's embedding. In training, every item of a window
    is predicted from those before it.

    Differences from the paper: a window ends at a random interaction rather than at the newest, so that all of a long
    history is trained on, and a batch of B interactions gives B / L windows. Negatives are those of the batch, with the
    ranking loss of `RankingOptions`. Layers normalise before attention, and use GELU. A user without interactions has
    the state of a window without items, from which first items are predicted in training.

    Parameters
    ----------
    inputs
        The graph, of data with times; KG relations and text vectors are not used.
    options
        See `SasRecOptions`.

    Raises
    ------
    ConfigError
        If the interactions have no times.
    """

    def __init__(self, inputs: ModelInputs, options: SasRecOptions) -> None:
        super().__init__()
        self.options, self.num_users, self.num_items = options, inputs.num_users, inputs.num_items
        self.sequences = Sequences(inputs.graph, inputs.device)
        dim = options.embedding_dim
        self.embedding = nn.Parameter(torch.empty(inputs.num_items, dim))
        self.position = nn.Parameter(torch.empty(options.max_length, dim))
        for table in (self.embedding, self.position):
            nn.init.normal_(table, std=0.02)
        block = nn.TransformerEncoderLayer(
            dim, options.num_heads, dim, options.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(
            block, options.num_layers, nn.LayerNorm(dim), enable_nested_tensor=False
        )
        self.dropout = nn.Dropout(options.dropout)

    def encode(self, items: Tensor, real: Tensor) -> Tensor:
        """Return the state after each item of windows [n, l], [n, l, D]; `real` [n, l] is false for padding."""
        length = items.shape[1]
        rows = self.embedding[items] * math.sqrt(self.options.embedding_dim) + self.position[-length:]
        rows = self.dropout(rows * real[:, :, None])
        # Padding attends to itself, because attention to nothing is not a number.
        causal = torch.ones(length, length, dtype=torch.bool, device=items.device).tril()
        attends = causal & real[:, None] | torch.eye(length, dtype=torch.bool, device=items.device)
        mask = (~attends).repeat_interleave(self.options.num_heads, 0)
        states: Tensor = self.blocks(rows, mask)
        return states

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the ranking loss of the next items in windows that end with interactions of the batch."""
        length = self.options.max_length
        chosen = batch.select(slice(-(-len(batch.users) // length)))
        end = self.sequences.places(chosen.users, chosen.positives)
        items, real = self.sequences.windows(chosen.users, end + 1, length + 1)
        # A user's first item is predicted from padding: what people begin with.
        states, positives = self.encode(items[:, :-1], real[:, :-1])[real[:, 1:]], items[:, 1:][real[:, 1:]]
        negatives = batch.negatives[
            torch.arange(len(positives), device=positives.device) % len(batch.negatives)
        ]
        return self._terms(states, positives, negatives)

    def _terms(self, states: Tensor, positives: Tensor, negatives: Tensor) -> dict[str, Tensor]:
        number = len(states)
        rows = torch.cat([torch.arange(number, device=states.device), number + positives, number + negatives])
        final, ids = torch.cat([states, self.embedding]), torch.cat([states.detach(), self.embedding])
        return ranking_terms(final, ids, rows, self.options)

    def propagate(self) -> Tensor:
        """Return the states of users after their newest items, and the embeddings of items, [U + I, D]."""
        users = torch.arange(self.num_users, device=self.embedding.device)
        states = [self._states(block) for block in torch.split(users, USERS_PER_BLOCK)]
        return torch.cat([*states, self.embedding])

    def _states(self, users: Tensor) -> Tensor:
        end = self.sequences.count[users]
        return self.encode(*self.sequences.windows(users, end, self.options.max_length))[:, -1]
