"""Nodes without interactions, triples or profiles, and numbers that no node should have."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from spike_dgl.data.dataset import Dataset, Vocabulary
from spike_dgl.data.findings import Finding, Level, finding, skipped
from spike_dgl.data.statistics import entities_with_triples
from spike_dgl.typing import BoolArray, IndexArray

NEARLY_ALL = 0.99
"""Share of items without a triple from which on the graph is about something else."""
MOSTLY = 0.5
"""Share of rows that are unused, or next to each other so, from which on a number is a mistake."""
FEWEST_ROWS = 10
"""With fewer rows, most may be unused."""


def nodes(dataset: Dataset) -> Iterator[Finding]:
    """Nodes that the interactions or the graph say nothing of."""
    yield from _without_interactions(dataset)
    yield from _without_triples(dataset)
    yield finding(
        "self loops",
        (dataset.triples.heads == dataset.triples.tails).sum(),
        "warn",
        "A triple from an entity to itself states no fact; it only weighs in that entity's attention.",
    )


def _without_interactions(dataset: Dataset) -> Iterator[Finding]:
    """Users and items that are asked for in validation or test, or not at all, but have no training pair."""
    users, entities = (
        rows_with({*getattr(dataset.profiles, side), *getattr(dataset.descriptions, side)}, size)
        for side, size in (("users", dataset.num_users), ("entities", dataset.num_entities))
    )
    known_items = (entities | entities_with_triples(dataset))[: dataset.num_items]
    for kind, vocabulary, known in (("users", dataset.users, users), ("items", dataset.items, known_items)):
        in_train, in_valid, in_test = parts_with(dataset, kind)
        in_held_out = in_valid | in_test
        cold, unused = in_held_out & ~in_train, ~in_held_out & ~in_train
        message = "Nothing but text and knowledge graph tells about them; look at their metrics apart."
        if kind == "users":
            message = "They have no history: only a profile can tell what they like."
        yield finding(f"{kind} in validation or test only", cold.sum(), "warn", message)
        message = f"They are part of the graph{' and of every ranking' if kind == 'items' else ''}."
        yield _unused(
            dataset, f"{kind} without any interaction", vocabulary, unused, unused & ~known, message
        )


def _without_triples(dataset: Dataset) -> Iterator[Finding]:
    joined, num_items = entities_with_triples(dataset), dataset.num_items
    bare = ~joined[:num_items]
    message = "The knowledge graph says nothing about them: only interactions and text do."
    level: Level = "warn"
    if num_items and bare.mean() >= NEARLY_ALL and not dataset.altered:
        level = "fail"
        message = "The graph is about other things: is an item's number its number as an entity?"
    yield finding("items without a triple", bare.sum(), level, message)
    bare = ~joined
    bare[:num_items] = False
    message = "They take part in nothing and can be removed."
    yield _unused(dataset, "auxiliary entities without a triple", dataset.entities, bare, bare, message)
    bare = ~rows_with(dataset.triples.relations, dataset.num_relations)
    message = "Each takes memory and time as two types of edges."
    yield _unused(dataset, "relations without a triple", dataset.relations, bare, bare, message)


def _unused(
    dataset: Dataset, check: str, vocabulary: Vocabulary, found: BoolArray, unnamed: BoolArray, message: str
) -> Finding:
    """A warning about rows; it fails if most are there only since a number is far too large: no list has them."""
    are_numbers = vocabulary.names == vocabulary.ids == tuple(map(str, range(len(vocabulary))))
    used = np.flatnonzero(~found)
    gap = int(np.diff(used, prepend=-1).max(initial=1)) - 1
    are_many = unnamed.sum() > MOSTLY * len(unnamed) or gap > MOSTLY * len(used)
    if len(unnamed) >= FEWEST_ROWS and are_many and are_numbers and not dataset.altered:
        last = len(vocabulary) - 1
        message = f"Most are there only since {last} is taken for a row number: renumber from 0 without gaps."
        return finding(check, found.sum(), "fail", message)
    return finding(check, found.sum(), "warn", message)


def parts_with(dataset: Dataset, kind: str) -> list[BoolArray]:
    """The "users" or "items" of the training, validation and test part [U] or [I]."""
    size = dataset.num_users if kind == "users" else dataset.num_items
    return [rows_with(getattr(part, kind), size) for part in (dataset.train, dataset.valid, dataset.test)]


def rows_with(rows: IndexArray | Collection[int], size: int) -> BoolArray:
    """True at some rows [size]."""
    present = np.zeros(size, dtype=bool)
    present[rows if isinstance(rows, np.ndarray) else list(rows)] = True
    return present


def coverage(dataset: Dataset) -> Iterator[Finding]:
    """Nodes without a profile in a data set that brings profiles of others of their kind."""
    if dataset.vectors is not None:
        yield skipped(
            "nodes without a profile among others with one", "The data brings a vector of every node."
        )
        return
    entities = np.array(sorted(dataset.profiles.entities), dtype=np.int64)
    items = int((entities < dataset.num_items).sum())
    for kind, given, size in (
        ("users", len(dataset.profiles.users), dataset.num_users),
        ("items", items, dataset.num_items),
        ("auxiliary entities", len(entities) - items, dataset.num_entities - dataset.num_items),
    ):
        check = f"{kind} without a profile among others with one"
        message = f"{given:,} of {size:,} have one; the others get one written by a template."
        none = skipped(check, "The data brings no profile of any.")
        yield finding(check, size - given, "warn", message) if given else none
