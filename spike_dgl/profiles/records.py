"""Profiles of all nodes, and their sources."""

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
"""Order in which profiles are written: those of entities and users are based on those of items."""
Kind: TypeAlias = Literal["user", "item", "auxiliary"]
"""Kinds of nodes in settings: users, items, and auxiliary entities, which are not items."""

Sources: TypeAlias = NDArray[np.str_]
"""Source of the profile of each node; see `Profiles`."""


def vocabulary_of(node_type: NodeType, data: HasVocabularies) -> Vocabulary:
    """Return the vocabulary of a node type; that of auxiliary entities contains all entities."""
    return {"item": data.items, "entity": data.entities, "user": data.users}[node_type]


def rows_of(node_type: NodeType, data: HasVocabularies) -> range:
    """Return the rows of a node type in its vocabulary; auxiliary entities follow the items."""
    return range(data.num_items if node_type == "entity" else 0, len(vocabulary_of(node_type, data)))


@dataclass(frozen=True)
class Profiles:
    """Profile texts of all nodes, and their vectors.

    Parameters
    ----------
    user_texts, entity_texts
        Paragraphs of all users [U] and entities [N], items first; empty if there is none.
    user_sources, entity_sources
        Source of each node's vector: ``given`` (a ready-made text), ``llm:<model>``, ``template``, ``vector`` (a
        ready-made vector of the data set), or ``none`` (no text: a zero vector, or no vectors at all). The prefix
        ``permuted`` marks the vector of another node.
    user_vectors, entity_vectors
        Text vectors [U, d_t] and [N, d_t]; None without profiles.
    encoder
        Name of the encoder; ``given`` if the data set's vectors do not name theirs, ``none`` if there are no vectors.
    fitted_encoder
        Encoder for further texts in the same space; None if the vectors are ready-made.
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
    """Sources of the profiles of all `users` [U] and `entities` [N], items first."""

    users: Sources
    entities: Sources


def counted(sources: Sources) -> dict[str, int]:
    """Count the nodes by source."""
    names, counts = np.unique(sources, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))
