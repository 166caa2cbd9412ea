"""From a data set to a profile text and vector of every node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spike_dgl.data.dataset import Dataset, NodeVectors
from spike_dgl.profiles.bottom_up import Sources
from spike_dgl.profiles.controls import leave_out, permute_profiles
from spike_dgl.profiles.encode import encode_profiles
from spike_dgl.profiles.encoders import Encoder
from spike_dgl.profiles.llm.pipeline import stored_texts
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.vector_files import refuse_unfit_vectors
from spike_dgl.typing import FloatArray


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


def build_profiles(dataset: Dataset, options: ProfileOptions, *, progress: bool = False) -> Profiles:
    """Collect or write the profile of every node, and encode it.

    Validation and test interactions have no influence: users are described by their training items.

    Parameters
    ----------
    dataset
        The data, with whatever profile texts or vectors it brings along.
    options
        `ProfileOptions.source` says what to use, and `without` and `permute` what to change about it.
    progress
        Whether to show a progress bar where encoding takes long.

    Raises
    ------
    SpikeError
        Where ready-made vectors do not fit the texts or the encoder that is asked for.
    """
    if options.source == "none":
        return _no_profiles(dataset)
    profiles = _collected(dataset, options, progress)
    if options.permute:
        profiles = permute_profiles(profiles, dataset.num_items, options.seed)
    return leave_out(profiles, dataset.num_items, options.without) if options.without else profiles


def _collected(dataset: Dataset, options: ProfileOptions, progress: bool) -> Profiles:
    """Ready-made vectors, or those of texts."""
    texts_are_named = options.store is not None or options.texts is not None
    if options.source == "auto" and dataset.vectors is not None and not texts_are_named:
        refuse_unfit_vectors(dataset, dataset.vectors, options)
        return _ready_made(dataset, dataset.vectors)
    return _written(dataset, options, progress)


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
        user_texts=_texts(dataset.profiles.users, dataset.num_users),
        entity_texts=_texts(dataset.profiles.entities, dataset.num_entities),
        user_sources=np.where(vectors.users.any(axis=1), "vector", "none"),
        entity_sources=np.where(vectors.entities.any(axis=1), "vector", "none"),
        user_vectors=vectors.users,
        entity_vectors=vectors.entities,
        encoder=vectors.encoder or "given",
    )


def _written(dataset: Dataset, options: ProfileOptions, progress: bool) -> Profiles:
    """Given texts, a language model's, templates for the nodes without one, and vectors of all."""
    texts = stored_texts(dataset, options)
    users, user_sources = texts.users
    entities, entity_sources = texts.entities
    encoder, vectors = encode_profiles([*users, *entities], options, progress=progress)
    return Profiles(
        user_texts=users,
        entity_texts=entities,
        user_sources=user_sources,
        entity_sources=entity_sources,
        user_vectors=vectors[: len(users)],
        entity_vectors=vectors[len(users) :],
        encoder=encoder.name,
        fitted_encoder=encoder,
    )


def _texts(given: Mapping[int, str], num_rows: int) -> tuple[str, ...]:
    return tuple(given.get(row, "").strip() for row in range(num_rows))
