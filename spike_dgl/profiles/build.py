"""From a data set to a profile text and vector of every node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spike_dgl.data.dataset import Dataset, NodeTexts, NodeVectors
from spike_dgl.profiles.encode import Encoder, TfidfSvdEncoder
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.templates import TemplateWriter
from spike_dgl.typing import BoolArray, FloatArray

Sources = NDArray[np.str_]


@dataclass(frozen=True)
class Profiles:
    """What is known in words about every node, and the vectors that models read.

    Parameters
    ----------
    user_texts, entity_texts
        Paragraphs of all users [U] and entities [N], items first; empty where there is none.
    user_sources, entity_sources
        Where each node's vector comes from: ``given`` (a text of the data set), ``template``, ``vector`` (a
        ready-made vector of the data set), or ``none`` (no text: a zero vector, or no vectors at all).
    user_vectors, entity_vectors
        Text vectors [U, d_t] and [N, d_t]; None where profiles are switched off.
    encoder
        Name of what made the vectors; ``given`` where the data set brought them, ``none`` where there are none.
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


def build_profiles(dataset: Dataset, options: ProfileOptions) -> Profiles:
    """Collect or write the profile of every node, and encode it.

    Validation and test interactions have no influence: users are described by their training items.

    Parameters
    ----------
    dataset
        The data, with whatever profile texts or vectors it brings along.
    options
        `ProfileOptions.source` says what to use.
    """
    if options.source == "none":
        return _no_profiles(dataset)
    if options.source == "auto" and dataset.vectors is not None:
        return _ready_made(dataset, dataset.vectors)
    given = dataset.profiles if options.source == "auto" else NodeTexts()
    return _written(dataset, given, options)


def _no_profiles(dataset: Dataset) -> Profiles:
    users, entities = dataset.num_users, dataset.num_entities
    return Profiles(
        user_texts=("",) * users,
        entity_texts=("",) * entities,
        user_sources=np.full(users, "none"),
        entity_sources=np.full(entities, "none"),
        user_vectors=None,
        entity_vectors=None,
        encoder="none",
    )


def _ready_made(dataset: Dataset, vectors: NodeVectors) -> Profiles:
    return Profiles(
        user_texts=_texts(dataset.profiles.users, [""] * dataset.num_users),
        entity_texts=_texts(dataset.profiles.entities, [""] * dataset.num_entities),
        user_sources=np.where(vectors.users.any(axis=1), "vector", "none"),
        entity_sources=np.where(vectors.entities.any(axis=1), "vector", "none"),
        user_vectors=vectors.users,
        entity_vectors=vectors.entities,
        encoder="given",
    )


def _written(dataset: Dataset, given: NodeTexts, options: ProfileOptions) -> Profiles:
    """Given texts, templates for the nodes without one, and vectors of all."""
    writer = TemplateWriter(dataset, options)
    items = _texts(given.entities, writer.items())
    entities = _texts(given.entities, [*items, *writer.auxiliary_entities(items)])
    users = _texts(given.users, writer.users(items))
    encoder, vectors = TfidfSvdEncoder.fit([*users, *entities], options.vector_dim, options.seed)
    return Profiles(
        user_texts=users,
        entity_texts=entities,
        user_sources=_sources(given.users, users),
        entity_sources=_sources(given.entities, entities),
        user_vectors=vectors[: len(users)],
        entity_vectors=vectors[len(users) :],
        encoder=encoder.name,
        fitted_encoder=encoder,
    )


def _texts(given: Mapping[int, str], otherwise: Sequence[str]) -> tuple[str, ...]:
    """Each row's given text, or else the other one; a given text of blanks only counts as absent."""
    return tuple(given.get(row, "").strip() or text for row, text in enumerate(otherwise))


def _sources(given: Mapping[int, str], texts: Sequence[str]) -> Sources:
    is_given: BoolArray = np.array(
        [bool(given.get(row, "").strip()) for row in range(len(texts))], dtype=bool
    )
    is_empty: BoolArray = np.array([not text for text in texts], dtype=bool)
    return np.select([is_given, is_empty], ["given", "none"], "template")
