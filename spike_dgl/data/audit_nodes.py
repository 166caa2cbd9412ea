"""Checks for nodes without interactions, triples or profiles, and for row numbers that are far too large."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from spike_dgl.data.dataset import Dataset, Vocabulary
from spike_dgl.data.findings import Finding, Level, finding, skipped
from spike_dgl.data.statistics import entities_with_triples
from spike_dgl.typing import BoolArray, IndexArray

NEARLY_ALL = 0.99
"""Share of items without a triple from which the graph is taken to describe something else."""
MAX_UNUSED = 0.5
"""Share of unused rows, or size of a gap relative to the used rows, above which a row number is a mistake."""
MIN_ROWS = 10
"""Minimum number of rows for that check: with fewer rows, most may be unused."""


def nodes(dataset: Dataset) -> Iterator[Finding]:
    """Check for nodes without interactions or triples, and for self loops."""
    yield from _without_interactions(dataset)
    yield from _without_triples(dataset)
    yield finding(
        "self loops",
        (dataset.triples.heads == dataset.triples.tails).sum(),
        "warn",
        "A triple from an entity to itself states no fact and only takes attention weight: remove it.",
    )


def _without_interactions(dataset: Dataset) -> Iterator[Finding]:
    """Check for users and items without training pairs."""
    users, entities = (
        rows_with({*getattr(dataset.profiles, side), *getattr(dataset.descriptions, side)}, size)
        for side, size in (("users", dataset.num_users), ("entities", dataset.num_entities))
    )
    known_items = (entities | entities_with_triples(dataset))[: dataset.num_items]
    for kind, vocabulary, known in (("users", dataset.users, users), ("items", dataset.items, known_items)):
        in_train, in_valid, in_test = parts_with(dataset, kind)
        in_held_out = in_valid | in_test
        cold, unused = in_held_out & ~in_train, ~in_held_out & ~in_train
        message = "Cold items: only text and knowledge graph describe them. Check their metrics separately."
        if kind == "users":
            message = "Cold users: only a profile describes their taste. Check their metrics separately."
        yield finding(f"{kind} in validation or test only", cold.sum(), "warn", message)
        message = f"They are still in the graph{' and in every ranking' if kind == 'items' else ''}."
        yield _unused(
            dataset, f"{kind} without any interaction", vocabulary, unused, unused & ~known, message
        )


def _without_triples(dataset: Dataset) -> Iterator[Finding]:
    joined, num_items = entities_with_triples(dataset), dataset.num_items
    bare = ~joined[:num_items]
    message = "The knowledge graph has nothing about them; only interactions and text describe them."
    level: Level = "warn"
    if num_items and bare.mean() >= NEARLY_ALL and not dataset.altered:
        level = "fail"
        message = "The graph is about other things: check that items have the same row numbers as entities."
    yield finding("items without a triple", bare.sum(), level, message)
    bare = ~joined
    bare[:num_items] = False
    message = "They have no effect and can be removed."
    yield _unused(dataset, "auxiliary entities without a triple", dataset.entities, bare, bare, message)
    bare = ~rows_with(dataset.triples.relations, dataset.num_relations)
    message = "They can be removed: each costs memory and time as two edge types."
    yield _unused(dataset, "relations without a triple", dataset.relations, bare, bare, message)


def _unused(
    dataset: Dataset, check: str, vocabulary: Vocabulary, found: BoolArray, unnamed: BoolArray, message: str
) -> Finding:
    """Return a warning about unused rows; a failure if most exist only because one row number is far too large.

    A row number can only be at fault for rows that no id list and no file of names lists.
    """
    are_numbers = vocabulary.names == vocabulary.ids == tuple(map(str, range(len(vocabulary))))
    used = np.flatnonzero(~found)
    gap = int(np.diff(used, prepend=-1).max(initial=1)) - 1
    are_many = unnamed.sum() > MAX_UNUSED * len(unnamed) or gap > MAX_UNUSED * len(used)
    if len(unnamed) >= MIN_ROWS and are_many and are_numbers and not dataset.altered:
        last = len(vocabulary) - 1
        message = f"Most exist only because {last} is used as a row number: renumber from 0 without gaps."
        return finding(check, found.sum(), "fail", message)
    return finding(check, found.sum(), "warn", message)


def parts_with(dataset: Dataset, kind: str) -> list[BoolArray]:
    """Return masks of the "users" or "items" in the training, validation and test splits, each [U] or [I]."""
    size = dataset.num_users if kind == "users" else dataset.num_items
    return [rows_with(getattr(part, kind), size) for part in (dataset.train, dataset.valid, dataset.test)]


def rows_with(rows: IndexArray | Collection[int], size: int) -> BoolArray:
    """Return a mask [size] that is true at `rows`."""
    present = np.zeros(size, dtype=bool)
    present[rows if isinstance(rows, np.ndarray) else list(rows)] = True
    return present


def coverage(dataset: Dataset) -> Iterator[Finding]:
    """Check for nodes without a profile in a data set that has profiles of other nodes of their kind."""
    if dataset.vectors is not None:
        yield skipped(
            "nodes without a profile among others with one", "The data has a profile vector for every node."
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
        message = f"{given:,} of {size:,} have one; the others get a template profile."
        none = skipped(check, "The data has no profiles of this kind.")
        yield finding(check, size - given, "warn", message) if given else none
