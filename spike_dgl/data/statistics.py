"""Statistics of a data set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spike_dgl.data.dataset import Dataset
from spike_dgl.typing import BoolArray


def statistics(dataset: Dataset) -> dict[str, int | float]:
    """Compute the statistics of a data set.

    Returns
    -------
    dict
        Counts ``users``, ``items``, ``interactions``, ``train``, ``valid``, ``test``, ``entities`` (items included),
        ``relations``, ``triples`` and ``items_without_kg``; ``density``, the share of all user-item pairs that are
        interactions; and ``profile_coverage_users``, ``_items`` and ``_auxiliary``, the share of nodes that have a
        profile text or vector in the data (1 if there is no such node).
    """
    interactions = len(dataset.train) + len(dataset.valid) + len(dataset.test)
    return {
        "users": dataset.num_users,
        "items": dataset.num_items,
        "interactions": interactions,
        "train": len(dataset.train),
        "valid": len(dataset.valid),
        "test": len(dataset.test),
        "density": interactions / max(dataset.num_users * dataset.num_items, 1),
        "entities": dataset.num_entities,
        "relations": dataset.num_relations,
        "triples": len(dataset.triples),
        "items_without_kg": int((~entities_with_triples(dataset)[: dataset.num_items]).sum()),
        **_profile_coverage(dataset),
    }


def entities_with_triples(dataset: Dataset) -> BoolArray:
    """True [N] where an entity has a triple with another entity; self loops do not count."""
    triples = dataset.triples
    proper = triples.heads != triples.tails
    joined = np.zeros(dataset.num_entities, dtype=bool)
    joined[triples.heads[proper]] = True
    joined[triples.tails[proper]] = True
    return joined


def _profile_coverage(dataset: Dataset) -> dict[str, float]:
    users = _has_profile(dataset.profiles.users, dataset.num_users)
    entities = _has_profile(dataset.profiles.entities, dataset.num_entities)
    if dataset.vectors is not None:
        users[:], entities[:] = True, True
    groups = {
        "users": users,
        "items": entities[: dataset.num_items],
        "auxiliary": entities[dataset.num_items :],
    }
    return {
        f"profile_coverage_{group}": float(has.mean()) if has.size else 1.0 for group, has in groups.items()
    }


def _has_profile(texts: Mapping[int, str], size: int) -> BoolArray:
    has = np.zeros(size, dtype=bool)
    has[np.fromiter(texts, dtype=np.int64, count=len(texts))] = True
    return has
