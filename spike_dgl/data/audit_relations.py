"""Checks for redundant relations, whose facts count twice."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from spike_dgl.data.dataset import Dataset
from spike_dgl.data.findings import Finding, finding, skipped
from spike_dgl.typing import IndexArray

Pairs: TypeAlias = list[tuple[int, int]]
MIN_SHARED = 0.8
"""Minimum share of a relation's triples that another relation has too, or has reversed, for the two to be the same."""
SHOWN = 5
"""Maximum number of relation pairs listed in a message."""
MAX_PAIRS = 50_000_000
"""Maximum number of pairs of triples with the same ends to compare."""


def repeated_relations(dataset: Dataset) -> Iterator[Finding]:
    """Check for relations that repeat another, or are stored in both directions although the graph adds inverses."""
    same, reverse = (_mostly_shared(dataset, reverse=reverse) for reverse in (False, True))
    twice, inverses = "together they count each fact twice", "the graph adds inverses itself, and "
    checks = (
        ("relations that repeat another", same, "relation", twice),
        ("inverse relations stored twice", _chosen(reverse, operator.lt), "relation", inverses + twice),
        (
            "symmetric relations stored in both directions",
            _chosen(reverse, operator.eq),
            "direction",
            inverses + twice,
        ),
    )
    for check, pairs, what, advice in checks:
        if pairs is None:
            yield skipped(check, "Too many triples have the same head and tail to compare them.")
        else:
            message = f"Keep one {what} of {_listed(dataset, pairs)}: {advice}."
            yield finding(check, len(pairs), "warn", message)


def _chosen(pairs: Pairs | None, compare: Callable[[int, int], bool]) -> Pairs | None:
    return None if pairs is None else [pair for pair in pairs if compare(*pair)]


def _listed(dataset: Dataset, pairs: Pairs) -> str:
    names = dataset.relations.names
    shown = [" and ".join(f"'{names[row]}'" for row in dict.fromkeys(pair)) for pair in pairs[:SHOWN]]
    return ", ".join(shown + (["..."] if len(pairs) > SHOWN else []))


def _mostly_shared(dataset: Dataset, reverse: bool) -> Pairs | None:
    """Return relations (r, s) with r <= s (r < s unless reversed) where the other has most triples of the smaller one.

    None if that would take too much memory.
    """
    found = _shared_pairs(dataset, reverse)
    if found is None:
        return None
    first, second, shared = found
    triples = dataset.triples
    proper = triples.heads != triples.tails
    sizes = np.bincount(triples.relations[proper], minlength=dataset.num_relations)
    mostly = shared >= MIN_SHARED * np.minimum(sizes[first], sizes[second])
    if not reverse:
        # A rare relation inside a common one is a finer relation; duplicates have about the same size.
        mostly &= (shared >= MIN_SHARED * np.maximum(sizes[first], sizes[second])) & (first < second)
    return list(zip(first[mostly].tolist(), second[mostly].tolist(), strict=True))


def _shared_pairs(dataset: Dataset, reverse: bool) -> tuple[IndexArray, IndexArray, IndexArray] | None:
    """Return relations (r, s) with r <= s, and the number of entity pairs (h, t), h != t, that they share.

    A shared pair has the triples (h, r, t) and (h, s, t), or, if reversed, (h, r, t) and (t, s, h). None if there are
    more than `MAX_PAIRS`.
    """
    triples, size = dataset.triples, dataset.num_entities
    proper = triples.heads != triples.tails
    heads, relations, tails = (a[proper] for a in (triples.heads, triples.relations, triples.tails))
    forward = heads * size + tails
    other = tails * size + heads if reverse else forward
    order = np.argsort(other, kind="stable")
    start = np.searchsorted(other[order], forward, side="left")
    count = np.searchsorted(other[order], forward, side="right") - start
    if count.sum() > MAX_PAIRS:
        return None
    # A join: triple i is paired with the `count[i]` triples at positions start[i], start[i] + 1, ... of the order.
    left = np.repeat(np.arange(len(forward)), count)
    within = np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)
    first, second = relations[left], relations[order[start[left] + within]]
    codes, shared = np.unique((first * dataset.num_relations + second)[first <= second], return_counts=True)
    return codes // dataset.num_relations, codes % dataset.num_relations, shared
