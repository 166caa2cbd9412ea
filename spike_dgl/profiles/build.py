"""Profile text and vector of each node of a data set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spike_dgl.data.dataset import Dataset, NodeVectors
from spike_dgl.profiles.controls import leave_out, permute_profiles
from spike_dgl.profiles.encode import encode_profiles
from spike_dgl.profiles.encoders.cache import NewTable, in_memory
from spike_dgl.profiles.llm.pipeline import stored_texts
from spike_dgl.profiles.options import ProfileOptions
from spike_dgl.profiles.records import Profiles
from spike_dgl.profiles.vector_files import refuse_unfit_vectors


def build_profiles(
    dataset: Dataset,
    options: ProfileOptions,
    *,
    progress: bool = False,
    new_table: NewTable = in_memory,
) -> Profiles:
    """Collect or write the profile of every node, and encode it.

    Validation and test interactions have no influence: users are described by their training items.

    Parameters
    ----------
    dataset
        Data set, which may contain profile texts or vectors.
    options
        Settings: `source` selects texts or vectors, `without` and `permute` change them.
    progress
        Show a progress bar for encoders that can be slow.
    new_table
        Creates the table that the vectors of pretrained encoders are written to.

    Raises
    ------
    SpikeError
        If ready-made vectors do not match the texts or the requested encoder.
    """
    if options.source == "none":
        return _no_profiles(dataset)
    profiles = _collected(dataset, options, progress, new_table)
    if options.permute:
        profiles = permute_profiles(profiles, dataset.num_items, options.seed)
    return leave_out(profiles, dataset.num_items, options.without) if options.without else profiles


def _collected(dataset: Dataset, options: ProfileOptions, progress: bool, new_table: NewTable) -> Profiles:
    """Use ready-made vectors, or collect texts and encode them."""
    texts_are_named = options.store is not None or options.texts is not None
    if options.source == "auto" and dataset.vectors is not None and not texts_are_named:
        refuse_unfit_vectors(dataset, dataset.vectors, options)
        return _ready_made(dataset, dataset.vectors)
    return _written(dataset, options, progress, new_table)


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


def _written(dataset: Dataset, options: ProfileOptions, progress: bool, new_table: NewTable) -> Profiles:
    """Collect ready-made texts, a language model's texts and templates, and encode them."""
    texts = stored_texts(dataset, options)
    users, user_sources = texts.users
    entities, entity_sources = texts.entities
    encoded = [*users, *entities]
    if options.encode_facts:
        encoded = [f"{text} {facts}".strip() for text, facts in zip(encoded, texts.facts, strict=True)]
    encoder, vectors = encode_profiles(encoded, options, progress=progress, new_table=new_table)
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
