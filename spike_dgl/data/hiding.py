"""Removal of users and items from a data set, to measure cold start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from spike_dgl.data.controls import chosen_share, without_user_profiles
from spike_dgl.data.dataset import Dataset, Interactions, NodeTexts, NodeVectors, Triples, Vocabulary
from spike_dgl.typing import BoolArray, IndexArray

Value = TypeVar("Value")


def hide(dataset: Dataset, users: float, items: float, seed: int) -> Dataset:
    """Remove random users and items with all their data: ids, interactions, triples, texts and vectors.

    Auxiliary entities and relations stay, even those without any triple left. The remaining rows are renumbered
    without gaps, in their order. All reviews are removed.

    Parameters
    ----------
    dataset
        The data set.
    users, items
        Shares to remove, from 0 to 1. For one seed, those of a smaller share are a subset of those of a larger one.
    seed
        Random seed of the choice.
    """
    user_is_kept, entity_is_kept = np.ones(dataset.num_users, bool), np.ones(dataset.num_entities, bool)
    user_is_kept[chosen_share(dataset.num_users, users, seed)] = False
    entity_is_kept[chosen_share(dataset.num_items, items, seed)] = False
    note = (
        f"{int((~user_is_kept).sum()):,} random users and {int((~entity_is_kept).sum()):,} random items are removed "
        f"with all their data (data.hidden_users={users:g}, data.hidden_items={items:g})"
    )
    kept = _kept(dataset, user_is_kept, entity_is_kept).replace(altered=(*dataset.altered, note))
    return kept if entity_is_kept.all() else without_user_profiles(kept)


def _kept(dataset: Dataset, user_is_kept: BoolArray, entity_is_kept: BoolArray) -> Dataset:
    item_is_kept = entity_is_kept[: dataset.num_items]
    new_user, new_entity = (np.cumsum(kept) - 1 for kept in (user_is_kept, entity_is_kept))

    def pairs(part: Interactions) -> Interactions:
        part = part.select(user_is_kept[part.users] & item_is_kept[part.items])
        return replace(part, users=new_user[part.users], items=new_entity[part.items])

    def texts(nodes: NodeTexts) -> NodeTexts:
        return NodeTexts(
            _by_new_row(nodes.users, new_user, user_is_kept),
            _by_new_row(nodes.entities, new_entity, entity_is_kept),
        )

    return dataset.replace(
        users=_kept_ids(dataset.users, user_is_kept),
        items=_kept_ids(dataset.items, item_is_kept),
        entities=_kept_ids(dataset.entities, entity_is_kept),
        train=pairs(dataset.train),
        valid=pairs(dataset.valid),
        test=pairs(dataset.test),
        triples=_triples(dataset.triples, new_entity, entity_is_kept),
        profiles=texts(dataset.profiles),
        descriptions=texts(dataset.descriptions),
        vectors=_vectors(dataset.vectors, user_is_kept, entity_is_kept),
        linked_names=_by_new_row(dataset.linked_names, new_entity, entity_is_kept),
        review_file=None,  # the file has the old row numbers
    )


def _kept_ids(vocabulary: Vocabulary, kept: BoolArray) -> Vocabulary:
    rows = np.flatnonzero(kept).tolist()
    ids, names = (tuple(words[row] for row in rows) for words in (vocabulary.ids, vocabulary.names))
    return Vocabulary(vocabulary.kind, ids, names)


def _by_new_row(values: Mapping[int, Value], new_row: IndexArray, kept: BoolArray) -> dict[int, Value]:
    return {int(new_row[row]): value for row, value in values.items() if kept[row]}


def _triples(triples: Triples, new_entity: IndexArray, kept: BoolArray) -> Triples:
    stay = kept[triples.heads] & kept[triples.tails]
    heads, relations, tails = (part[stay] for part in (triples.heads, triples.relations, triples.tails))
    return Triples(new_entity[heads], relations, new_entity[tails])


def _vectors(
    vectors: NodeVectors | None, user_is_kept: BoolArray, entity_is_kept: BoolArray
) -> NodeVectors | None:
    if vectors is None:
        return None
    hashes = (
        None if of_all is None else of_all[kept]
        for of_all, kept in ((vectors.user_hashes, user_is_kept), (vectors.entity_hashes, entity_is_kept))
    )
    return NodeVectors(
        vectors.users[user_is_kept], vectors.entities[entity_is_kept], vectors.encoder, *hashes
    )
