"""Changed profiles for ablations and controls: removed for kinds of nodes, or permuted within each kind."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from spike_dgl.data.controls import one_cycle
from spike_dgl.profiles.records import Kind, Profiles, Sources
from spike_dgl.typing import BoolArray, FloatArray, IndexArray


def permute_profiles(profiles: Profiles, num_items: int, seed: int) -> Profiles:
    """Give each node the profile of another node of its kind (user, item or auxiliary entity).

    Texts and vectors as a whole stay the same. A gain that remains is therefore not due to what profiles say about
    their nodes. Sources become ``permuted template`` and so on.

    Parameters
    ----------
    profiles
        Profiles of all nodes.
    num_items
        I.
    seed
        Random seed of the permutations.
    """
    users = one_cycle(len(profiles.user_texts), seed)
    auxiliary = num_items + one_cycle(len(profiles.entity_texts) - num_items, seed)
    entities = np.concatenate([one_cycle(num_items, seed), auxiliary])
    return replace(
        profiles,
        user_texts=tuple(profiles.user_texts[row] for row in users),
        entity_texts=tuple(profiles.entity_texts[row] for row in entities),
        user_sources=_permuted(profiles.user_sources, users),
        entity_sources=_permuted(profiles.entity_sources, entities),
        user_vectors=None if profiles.user_vectors is None else profiles.user_vectors[users],
        entity_vectors=None if profiles.entity_vectors is None else profiles.entity_vectors[entities],
    )


def _permuted(sources: Sources, rows: IndexArray) -> Sources:
    taken = sources[rows]
    return np.where(taken == "none", taken, np.char.add("permuted ", taken))


def leave_out(profiles: Profiles, num_items: int, kinds: Collection[Kind]) -> Profiles:
    """Remove the profiles of some kinds of nodes: empty text, source ``none`` and zero vector.

    Texts of other nodes that quote them, and an encoder that was fitted on them, stay unchanged.

    Parameters
    ----------
    profiles
        Profiles of all nodes.
    num_items
        I.
    kinds
        Any of ``user``, ``item`` and ``auxiliary``.
    """
    is_item = np.arange(len(profiles.entity_texts)) < num_items
    users = np.full(len(profiles.user_texts), "user" in kinds)
    entities = np.where(is_item, "item" in kinds, "auxiliary" in kinds)
    return replace(
        profiles,
        user_texts=_texts_without(profiles.user_texts, users),
        entity_texts=_texts_without(profiles.entity_texts, entities),
        user_sources=np.where(users, "none", profiles.user_sources),
        entity_sources=np.where(entities, "none", profiles.entity_sources),
        user_vectors=_vectors_without(profiles.user_vectors, users),
        entity_vectors=_vectors_without(profiles.entity_vectors, entities),
    )


def _texts_without(texts: Sequence[str], gone: BoolArray) -> tuple[str, ...]:
    return tuple("" if left_out else text for text, left_out in zip(texts, gone, strict=True))


def _vectors_without(vectors: FloatArray | None, gone: BoolArray) -> FloatArray | None:
    return None if vectors is None else np.where(gone[:, None], np.float32(0.0), vectors)
