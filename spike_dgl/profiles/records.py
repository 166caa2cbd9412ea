"""Profiles of all nodes, and where they come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from spike_dgl.data.dataset import HasVocabularies, Vocabulary
from spike_dgl.profiles.encoders import Encoder
from spike_dgl.typing import FloatArray

NodeType: TypeAlias = Literal["item", "entity", "user"]
STAGES: tuple[NodeType, ...] = ("item", "entity", "user")
"""Items first: entities and users are described by their profiles."""
Kind: TypeAlias = Literal["user", "item", "auxiliary"]
"""Nodes that a setting names: users, items, and auxiliary entities, which are no items."""

Sources: TypeAlias = NDArray[np.str_]
"""Where the profile of each node comes from; see `Profiles`."""


def vocabulary_of(node_type: NodeType, data: HasVocabularies) -> Vocabulary:
    """The vocabulary that holds a node type; auxiliary entities share that of all entities."""
    return {"item": data.items, "entity": data.entities, "user": data.users}[node_type]


def rows_of(node_type: NodeType, data: HasVocabularies) -> range:
    """Rows of a node type in its vocabulary; auxiliary entities follow the items."""
    return range(data.num_items if node_type == "entity" else 0, len(vocabulary_of(node_type, data)))


@dataclass(frozen=True)
class Profiles:
    """What is known in words about every node, and the vectors that models read.

    Parameters
    ----------
    user_texts, entity_texts
        Paragraphs of all users [U] and entities [N], items first; empty where there is none.
    user_sources, entity_sources
        Where each node's vector comes from: ``given`` (a ready-made text), ``llm:<model>``, ``template``, ``vector``
        (a ready-made vector of the data set), or ``none`` (no text: a zero vector, or no vectors at all); with
        ``permuted`` before it where it is that of another node.
    user_vectors, entity_vectors
        Text vectors [U, d_t] and [N, d_t]; None where profiles are switched off.
    encoder
        Name of what made the vectors; ``given`` where the data set brought them without saying, ``none`` where there
        are none.
    fitted_encoder
        Encodes further texts into the same space; None where the vectors were ready-made.
    """

    user_texts: tuple[str, ...]
    entity_texts: tuple[str, ...]
    user_sources: Sources
    entity_sources: Sources
    user_vectors: FloatArray | None
    entity_vectors: FloatArray | None
    encoder: str
    fitted_encoder: Encoder | None = None


@dataclass(frozen=True)
class ProfileSources:
    """Where the profiles of all `users` [U] and `entities` [N], items first, come from."""

    users: Sources
    entities: Sources


def counted(sources: Sources) -> dict[str, int]:
    """How many nodes have each source."""
    names, counts = np.unique(sources, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))
