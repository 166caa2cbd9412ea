"""Relations that say the same as others, so that each of their facts counts twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spike_dgl.data.dataset import Dataset
from spike_dgl.data.findings import Finding, finding
from spike_dgl.typing import IndexArray

MOSTLY = 0.8
"""Share of a relation's triples that must stand in another, as they are or reversed, before the two count as one."""


def repeated_relations(dataset: Dataset) -> Iterator[Finding]:
    """Relations that repeat another, or that stand in both directions although the graph adds every inverse."""
    same = _mostly_shared(dataset, reverse=False)
    advice = "each such fact counts twice"
    yield finding(
        "relations that repeat another",
        len(same),
        "warn",
        f"Keep one relation of {_listed(dataset, same)}: {advice}.",
    )
    reverse = _mostly_shared(dataset, reverse=True)
    inverse = [(first, second) for first, second in reverse if first < second]
    symmetric = [(first, second) for first, second in reverse if first == second]
    advice = "the graph adds inverses itself, so each such fact counts twice"
    yield finding(
        "inverse relations stored twice",
        len(inverse),
        "warn",
        f"Keep one relation of {_listed(dataset, inverse)}: {advice}.",
    )
    yield finding(
        "symmetric relations stored in both directions",
        len(symmetric),
        "warn",
        f"Keep one direction of {_listed(dataset, symmetric)}: {advice}.",
    )


def _listed(dataset: Dataset, pairs: list[tuple[int, int]]) -> str:
    names = dataset.relations.names
    return ", ".join(" and ".join(f"'{names[row]}'" for row in dict.fromkeys(pair)) for pair in pairs)


def _mostly_shared(dataset: Dataset, reverse: bool) -> list[tuple[int, int]]:
    """Relations (r, s) with r <= s (r < s unless reversed) whose smaller one mostly stands in the other as well."""
    first, second, shared = _shared_pairs(dataset, reverse)
    triples = dataset.triples
    proper = triples.heads != triples.tails
    sizes = np.bincount(triples.relations[proper], minlength=dataset.num_relations)
    mostly = shared >= MOSTLY * np.minimum(sizes[first], sizes[second])
    if not reverse:
        # A rare relation within a common one is a finer one; the same facts twice make two of one size.
        mostly &= (shared >= MOSTLY * np.maximum(sizes[first], sizes[second])) & (first < second)
    return list(zip(first[mostly].tolist(), second[mostly].tolist(), strict=True))


def _shared_pairs(dataset: Dataset, reverse: bool) -> tuple[IndexArray, IndexArray, IndexArray]:
    """Relations (r, s) with r <= s, and the number of pairs (h, t), h != t, of which both are true.

    That is (h, r, t) and (h, s, t), or, reversed, (t, s, h).
    """
    triples, size = dataset.triples, dataset.num_entities
    proper = triples.heads != triples.tails
    heads, relations, tails = (a[proper] for a in (triples.heads, triples.relations, triples.tails))
    forward = heads * size + tails
    other = tails * size + heads if reverse else forward
    order = np.argsort(other, kind="stable")
    start = np.searchsorted(other[order], forward, side="left")
    count = np.searchsorted(other[order], forward, side="right") - start
    # A join: triple i meets the `count[i]` triples at positions start[i], start[i] + 1, ... of the order.
    left = np.repeat(np.arange(len(forward)), count)
    within = np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)
    first, second = relations[left], relations[order[start[left] + within]]
    codes, shared = np.unique((first * dataset.num_relations + second)[first <= second], return_counts=True)
    return codes // dataset.num_relations, codes % dataset.num_relations, shared
