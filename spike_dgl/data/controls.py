"""Controls: a thinned or permuted knowledge graph, and items without training interactions.

They show what a result depends on. All are reproducible, and none turns a relevant pair into a wrong recommendation.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spike_dgl.data.dataset import Dataset, Interactions, Triples
from spike_dgl.data.splits import random_priorities
from spike_dgl.typing import IndexArray


def thin_knowledge(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    """Keep a random share of the triples.

    All entities and relations stay, even those without any triple left.

    Parameters
    ----------
    dataset
        The data set.
    fraction
        Share of the triples to keep, from 0 to 1. For one seed, those kept at a smaller share are a subset of those
        kept at a larger one.
    seed
        Random seed of the choice.
    """
    triples = dataset.triples
    kept = chosen_share(len(triples), fraction, seed)
    note = f"{len(kept):,} of {len(triples):,} triples are kept, chosen at random (data.kg_fraction={fraction:g})"
    thinned = Triples(triples.heads[kept], triples.relations[kept], triples.tails[kept])
    return dataset.replace(triples=thinned, altered=(*dataset.altered, note))


def permute_knowledge(dataset: Dataset, seed: int) -> Dataset:
    """Give every item the triples of another item, as a control.

    The graph keeps its structure, but its facts about items are wrong. Items are relabelled, so the number of triples
    per relation, the degrees of auxiliary entities and the distribution of item degrees stay the same.

    Parameters
    ----------
    dataset
        The data set.
    seed
        Random seed of the permutation.
    """
    entities = np.arange(dataset.num_entities)
    entities[: dataset.num_items] = one_cycle(dataset.num_items, seed)
    triples = dataset.triples
    rows = np.stack([entities[triples.heads], triples.relations, entities[triples.tails]], axis=1)
    note = "every item has the triples of another item (data.permute_kg=true)"
    return dataset.replace(triples=Triples.from_rows(rows), altered=(*dataset.altered, note))


def make_items_cold(dataset: Dataset, share: float, seed: int) -> Dataset:
    """Move all interactions of a random share of the items to the test split.

    They are moved, not removed, so that an item that a user interacted with never counts as a wrong recommendation.

    Parameters
    ----------
    dataset
        The data set.
    share
        Share of the items, from 0 to 1. For one seed, those of a smaller share are a subset of those of a larger one.
    seed
        Random seed of the choice.
    """
    is_cold = np.zeros(dataset.num_items, dtype=bool)
    is_cold[chosen_share(dataset.num_items, share, seed)] = True
    train, valid = (part.select(~is_cold[part.items]) for part in (dataset.train, dataset.valid))
    moved = Interactions.empty()
    for part in (dataset.train, dataset.valid):
        moved = moved.union(part.select(is_cold[part.items]))
    note = (
        f"all interactions of {int(is_cold.sum()):,} random items are test pairs, {len(moved):,} of them taken "
        f"from training and validation (data.cold_items={share:g})"
    )
    test = dataset.test.union(moved)
    changed = dataset.replace(train=train, valid=valid, test=test, altered=(*dataset.altered, note))
    return without_user_profiles(changed)


def without_user_profiles(dataset: Dataset) -> Dataset:
    """Remove the profiles and text vectors of users that come with the data.

    They were written from the original training split. Where some of its interactions are held out for evaluation, the
    texts describe the answers. Users get template profiles instead, which are written from what is left.
    """
    vectors = dataset.vectors
    if not dataset.profiles.users and (vectors is None or not vectors.users.any()):
        return dataset
    if vectors is not None:
        vectors = replace(vectors, users=np.zeros_like(vectors.users), user_hashes=None)
    note = "profiles of users are removed, since they were written from interactions that are held out now"
    profiles = replace(dataset.profiles, users={})
    return dataset.replace(profiles=profiles, vectors=vectors, altered=(*dataset.altered, note))


def one_cycle(size: int, seed: int) -> IndexArray:
    """Return a random permutation [n] that is a single cycle, so that every row moves if there are at least two."""
    order = np.argsort(random_priorities(size, seed), kind="stable")
    permutation = np.empty(size, dtype=np.int64)
    permutation[order] = np.roll(order, -1)
    return permutation


def chosen_share(size: int, share: float, seed: int) -> IndexArray:
    """Return ascending positions of a random share of `size` rows.

    For one seed, the positions of a smaller share are a subset of those of a larger one.
    """
    number = int(np.floor(size * share + 0.5))
    chosen: IndexArray = np.sort(np.argsort(random_priorities(size, seed), kind="stable")[:number])
    return chosen
